"""Checks of the arguments of a consumer's calls: partitions, offsets, times.

Station: cursor. Each text names the argument and the accepted values; the call that raises it has changed and requested nothing.
Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ottla.arguments import MAX_INT32, number, shown, timestamp_ms, topic
from ottla.message import OffsetAndMetadata, TopicPartition

_A_PARTITION = 'ottla.TopicPartition or a pair like ("topic", 0)'
_PARTITIONS = f"{_A_PARTITION}, or an iterable of these"


def with_deserializers(
    config: Mapping[str, Any],
    key_deserializer: Callable[[bytes], Any] | None,
    value_deserializer: Callable[[bytes], Any] | None,
) -> dict[str, Any]:
    """The options, with the deserializers that are parameters of their own because they type the class."""
    given = {"key_deserializer": key_deserializer, "value_deserializer": value_deserializer}
    return {**config, **{name: one for name, one in given.items() if one is not None}}


def topic_partition(given: Any, name: str = "partition") -> TopicPartition:
    """One partition.

    Raises:
        TypeError: The value is no partition.
        ValueError: Kafka has no such topic name or partition number.
    """
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        kind = shown(given)
        if isinstance(given, (tuple, list)):
            kind = f"a {kind} of {len(given)}"
        raise TypeError(f"{name} must be {_A_PARTITION}, not {kind}")
    named = topic(given[0], f"{name}: the topic")
    return TopicPartition(named, number(f"{name}: the number", given[1], 0, MAX_INT32))


def topic_partitions(given: tuple[Any, ...]) -> list[TopicPartition]:
    """The partitions of a call that takes one, several, or an iterable of them.

    Raises:
        TypeError: An argument is neither a partition nor an iterable of partitions.
        ValueError: Kafka has no such topic name or partition number.
    """
    found: list[TopicPartition] = []
    for place, one in enumerate(given):
        name = "partitions" if len(given) == 1 else f"partitions[{place}]"
        if _is_pair(one):
            found.append(topic_partition(one, f"partitions[{place}]"))
        elif isinstance(one, (str, bytes, Mapping)) or not hasattr(one, "__iter__"):
            raise TypeError(f"{name} must be {_PARTITIONS}, not {shown(one)}")
        else:
            found += [topic_partition(each, f"{name}[{index}]") for index, each in enumerate(one)]
    return found


def _is_pair(given: Any) -> bool:
    """Whether it is meant as one partition, right or wrong, and not as an iterable of partitions."""
    if not isinstance(given, (tuple, list)):
        return False
    return isinstance(given, TopicPartition) or (bool(given) and isinstance(given[0], str))


def topic_names(given: Any) -> list[str]:
    """Names of topics: an iterable, or a single one.

    Raises:
        TypeError: The value is neither a name nor an iterable of names.
        ValueError: Kafka does not allow a name.
    """
    if isinstance(given, str):
        return [topic(given, "topics")]
    if isinstance(given, (bytes, Mapping)) or not hasattr(given, "__iter__"):
        raise TypeError(f"topics must be an iterable of names, not {shown(given)}")
    return [topic(one, f"topics[{place}]") for place, one in enumerate(given)]


def matcher_of(pattern: Any) -> re.Pattern[str]:
    """A regular expression for names of topics, as text or compiled.

    Raises:
        TypeError: The value is neither.
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
        TypeError: The value is neither.
        ValueError: The offset is out of range.
    """
    if not isinstance(given, OffsetAndMetadata):
        if isinstance(given, tuple):
            raise TypeError(f"{name} must be an int or ottla.OffsetAndMetadata, not {shown(given)}")
        given = OffsetAndMetadata(number(name, given))
    number(f"{name}: the offset", given.offset)
    number(f"{name}: leader_epoch", given.leader_epoch, -1, MAX_INT32)
    text("metadata", given.metadata)
    checked: OffsetAndMetadata = given
    return checked._replace(metadata=metadata) if text("metadata", metadata) else checked


def optional_bool(name: str, given: Any) -> bool | None:
    """A bool, or None.

    Raises:
        TypeError: The value is neither.
    """
    if given is not None and not isinstance(given, bool):
        raise TypeError(f"{name} must be a bool or None, not {shown(given)}")
    return given


def text(name: str, given: Any) -> str:
    """A str.

    Raises:
        TypeError: The value is no str.
    """
    if not isinstance(given, str):
        raise TypeError(f"{name} must be a str, not {shown(given)}")
    return given


def offsets_to_read(given: Any) -> dict[TopicPartition, OffsetAndMetadata]:
    """Partitions with the offset of the next record to read of each.

    Raises:
        TypeError: The value is no such mapping.
        ValueError: An offset, topic or number is invalid.
    """
    return {
        tp: offset_to_read(offset, f"offsets[{tp}]")
        for tp, offset in _by_partition("offsets", given, "an offset")
    }


def offsets_to_commit(given: Any) -> dict[TopicPartition, OffsetAndMetadata]:
    """The offsets of one commit: those of a mapping, or the one after a record.

    Raises:
        TypeError: The value is neither.
        ValueError: An offset, topic or number is invalid.
    """
    if isinstance(given, Mapping):
        return offsets_to_read(given)
    try:
        tp = TopicPartition(given.topic, given.partition)
        return {tp: OffsetAndMetadata(given.offset + 1, given.leader_epoch)}
    except AttributeError:
        raise TypeError(
            f"offsets must be a Record, or a mapping from {_A_PARTITION} to an offset, as in "
            f"{{ottla.TopicPartition('topic', 0): 5}}, not {shown(given)}"
        ) from None


def times_by_partition(given: Any) -> dict[TopicPartition, int]:
    """Partitions with a time of each, milliseconds since the epoch.

    Raises:
        TypeError: The value is no such mapping.
        ValueError: A time, topic or number is invalid.
    """
    return {
        tp: timestamp_ms(f"times_ms[{tp}]", time_ms)
        for tp, time_ms in _by_partition("times_ms", given, "milliseconds since the epoch")
    }


def _by_partition(name: str, given: Any, what: str) -> Iterable[tuple[TopicPartition, Any]]:
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{name} must be a mapping from {_A_PARTITION} to {what}, as in {{ottla.TopicPartition('topic', 0): 5}}, "
            f"not {shown(given)}"
        )
    return [(topic_partition(tp, f"a key of {name}"), value) for tp, value in given.items()]
