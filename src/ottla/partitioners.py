"""The names of the partitioners, and the form of a partitioner of the user: the values of the option `partitioner`.

Their rules are in `crates/core/src/partitioning/partitioner.rs`. Station: partition. Leaf of the import tree, like `config`.

References: Java ProducerConfig (partitioner.class); librdkafka CONFIGURATION.md (partitioner); sarama partitioner.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.arguments import function_problem

PARTITIONERS = (
    "default",
    "murmur2",
    "murmur2_random",
    "consistent",
    "consistent_random",
    "fnv1a",
    "fnv1a_random",
    "sarama_hash",
    "round_robin",
    "random",
)
"""Names of `partitioner`."""

Partitioner = Callable[[str, bytes | None, bytes | None, int], int]
"""A partitioner of the user: (topic, key, value, number of partitions) -> number of the partition."""

_FORM = "(topic, key, value, partitions)"
_JAVA_CLASSES = {"org.apache.kafka.clients.producer.RoundRobinPartitioner": "round_robin"}


def partitioner_value(value: Any) -> str | Partitioner:
    """The partitioner that the user gave: a name, a class of Java, or a function.

    Raises:
        ValueError: It is neither, or a function with other parameters.
    """
    if callable(value):
        if (problem := function_problem(value, _FORM)) is not None:
            raise ValueError(problem)
        chosen: Partitioner = value
        return chosen
    if value is None:
        return "default"
    if isinstance(value, str):
        name = _JAVA_CLASSES.get(value.strip(), value.strip().lower())
        if name in PARTITIONERS:
            return name
    raise ValueError(f"expected one of {', '.join(PARTITIONERS)} or a function, not {value!r}")
