"""The arguments of a consumer's calls: partitions, offsets, times, as values of their own or as pairs.

Station: cursor. Each text names the argument and what it must be; nothing was changed or asked when one is raised.
Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ottla.arguments import MAX_INT32, number, shown, timestamp_ms, topic
from ottla.message import OffsetAndMetadata, TopicPartition

_A_PARTITION = 'ottla.TopicPartition or a pair like ("topic", 0)'
_PARTITIONS = 'an iterable of ottla.TopicPartition or of pairs like ("topic", 0)'


def topic_partition(given: Any, name: str = "partition") -> TopicPartition:
    """One partition.

    Raises:
        TypeError: It is none.
        ValueError: Its topic or number cannot be.
    """
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        told = shown(given)
        if isinstance(given, (tuple, list)):
            told = f"a {told} of {len(given)}"
        raise TypeError(f"{name} must be {_A_PARTITION}, not {told}")
    return partition_of(given[0], given[1], f"{name}: the topic", f"{name}: the number")


def partition_of(
    name: Any, partition: Any, topic_is: str = "topic", partition_is: str = "partition"
) -> TopicPartition:
    """One partition, of its parts.

    Raises:
        TypeError: They are none.
        ValueError: There is no such topic or number.
    """
    return TopicPartition(topic(name, topic_is), number(partition_is, partition, 0, MAX_INT32))


def topic_partitions(given: Any, name: str = "partitions") -> list[TopicPartition]:
    """Several partitions, of one iterable.

    Raises:
        TypeError: They are none.
        ValueError: A topic or number cannot be.
    """
    if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__iter__"):
        raise TypeError(f"{name} must be {_PARTITIONS}, not {shown(given)}")
    if isinstance(given, TopicPartition):
        raise TypeError(f"{name} must be {_PARTITIONS}, not a TopicPartition: put it into a list")
    return [topic_partition(one, f"{name}[{place}]") for place, one in enumerate(given)]


def each_partition(given: tuple[Any, ...]) -> list[TopicPartition]:
    """The partitions of a call that takes them one by one.

    Raises:
        TypeError: They are none.
        ValueError: A topic or number cannot be.
    """
    for one in given:
        several = isinstance(one, (list, set, frozenset)) and not all(
            isinstance(part, (str, int)) for part in one
        )
        if several:
            raise TypeError(
                f"partitions are given one by one, not as a {type(one).__name__}: *partitions does that"
            )
    return topic_partitions(given)


def topic_names(given: Any) -> list[str]:
    """Names of topics: an iterable, or a single one.

    Raises:
        TypeError: They are none.
        ValueError: No topic can have such a name.
    """
    if isinstance(given, str):
        return [topic(given, "topics")]
    if isinstance(given, (bytes, Mapping)) or not hasattr(given, "__iter__"):
        raise TypeError(f"topics must be an iterable of names, not {shown(given)}")
    return [topic(one, f"topics[{place}]") for place, one in enumerate(given)]


def matcher_of(pattern: Any) -> re.Pattern[str]:
    """A regular expression for names of topics, as text or compiled.

    Raises:
        TypeError: It is neither.
        ValueError: The text is no regular expression.
    """
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be a str, a regular expression, not {shown(pattern)}")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is no regular expression: {error}") from None


def offset_to_read(given: Any, name: str = "offset", metadata: str = "") -> OffsetAndMetadata:
    """The offset of the next record to read: a number, or what `committed` returned.

    Raises:
        TypeError: It is neither.
        ValueError: It is out of range.
    """
    if not isinstance(given, OffsetAndMetadata):
        if isinstance(given, tuple):
            raise TypeError(f"{name} must be an int or ottla.OffsetAndMetadata, not {shown(given)}")
        given = OffsetAndMetadata(number(name, given), -1, metadata)
    number(f"{name}: the offset", given.offset)
    number(f"{name}: leader_epoch", given.leader_epoch, -1, MAX_INT32)
    text("metadata", given.metadata)
    checked: OffsetAndMetadata = given
    return checked


def text(name: str, given: Any) -> str:
    """A str.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(given, str):
        raise TypeError(f"{name} must be a str, not {shown(given)}")
    return given


def offsets_to_read(given: Any) -> dict[TopicPartition, OffsetAndMetadata]:
    """Partitions with the offset of the next record to read of each.

    Raises:
        TypeError: It is no such mapping.
        ValueError: An offset, topic or number cannot be.
    """
    return {
        tp: offset_to_read(offset, f"offsets[{tp.topic}-{tp.partition}]")
        for tp, offset in _by_partition("offsets", given, "an offset")
    }


def times_by_partition(given: Any) -> dict[TopicPartition, int]:
    """Partitions with a time of each, milliseconds since the epoch.

    Raises:
        TypeError: It is no such mapping.
        ValueError: A time, topic or number cannot be.
    """
    return {
        tp: timestamp_ms(f"times_ms[{tp.topic}-{tp.partition}]", time_ms)
        for tp, time_ms in _by_partition("times_ms", given, "milliseconds since the epoch")
    }


def _by_partition(name: str, given: Any, what: str) -> Iterable[tuple[TopicPartition, Any]]:
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{name} must be a mapping from {_A_PARTITION} to {what}, as in {{ottla.TopicPartition('topic', 0): 5}}, "
            f"not {shown(given)}"
        )
    return [(topic_partition(tp, f"a key of {name}"), value) for tp, value in given.items()]
