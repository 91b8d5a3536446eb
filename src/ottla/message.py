"""Plain values of calls and results: messages, partitions, offsets, reports.

First and last station of a message. A leaf of the import tree: only light modules of the standard library are imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

Header = tuple[str, bytes | None]
"""One record header: name and value. Names may repeat; their order is preserved."""


class TopicPartition(NamedTuple):
    """One partition of one topic. `str` gives "orders-3"; it equals the pair ("orders", 3)."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


Partition = TypeVar("Partition", bound=tuple[str, int])
"""One partition as callers give it, as the key of a mapping: a `TopicPartition` or a pair like ("orders", 3)."""
Partitions = tuple[str, int] | Iterable[tuple[str, int]]
"""One or several partitions as callers give them, each a `TopicPartition` or a pair like ("orders", 3)."""


class OffsetAndMetadata(NamedTuple):
    """A position to commit: the offset of the next record to read, and text to store with it."""

    offset: int
    """Offset of the next record that a reader starting here gets."""
    leader_epoch: int = -1
    """Leader epoch of the record before it, -1 if unknown (KIP-320)."""
    metadata: str = ""
    """Free text that `committed` returns."""


class OffsetAndTimestamp(NamedTuple):
    """Result of `offsets_for_times`: the first record at or after a time."""

    offset: int
    timestamp_ms: int
    """Its timestamp, milliseconds since the epoch, UTC."""
    leader_epoch: int = -1


class RecordMetadata(NamedTuple):
    """The place of a written message in its log."""

    topic: str
    partition: int
    offset: int
    """-1 if the broker does not return it: with acks=0, or if a retry found that the record was already in the log."""
    timestamp_ms: int
    """Time of the message, or of the append if the topic has LogAppendTime; milliseconds since the epoch, UTC."""


class CloseReport(NamedTuple):
    """Result of `close`: every message that was ever accepted is in exactly one of the three counts."""

    delivered: int
    """Messages that the broker acknowledged (with acks=0: that the socket took)."""
    failed: int
    """Messages that are certainly not written."""
    unknown: int
    """Messages that may be written: bytes had left and there was no answer."""


class Message:
    """One message as a value: it can be passed around, compared and printed. Its fields are the arguments of `send`.

    It is mutable and is not copied. Nothing is checked here: `send` checks the fields, and refuses the message if one is invalid.

    Args:
        topic: Name of the topic.
        value: bytes-like, str (sent as UTF-8) or None (a tombstone in a compacted topic).
        key: As value; None: no key.
        headers: A sequence of pairs of name and value, in which names may repeat, or a mapping; stored as a list.
        partition: Number of the partition; None: the partitioner chooses.
        timestamp_ms: Milliseconds since the epoch, UTC; None: the time of the call that accepts the message.
        metadata: Any object; returned with the outcome and never sent.
    """

    __slots__ = ("headers", "key", "metadata", "partition", "timestamp_ms", "topic", "value")

    def __init__(
        self,
        topic: str,
        value: bytes | bytearray | memoryview | str | None = None,
        *,
        key: bytes | bytearray | memoryview | str | None = None,
        headers: Sequence[tuple[str, bytes | str | None]]
        | Mapping[str, bytes | str | None]
        | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        metadata: Any = None,
    ) -> None:
        self.topic = topic
        self.value = value
        self.key = key
        self.headers = None if headers is None else _listed(headers)
        self.partition = partition
        self.timestamp_ms = timestamp_ms
        self.metadata = metadata

    def __repr__(self) -> str:
        return (
            f"Message({self.topic!r}, {self.value!r}, key={self.key!r}, headers={self.headers!r}, "
            f"partition={self.partition!r}, timestamp_ms={self.timestamp_ms!r}, metadata={self.metadata!r})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Message.__slots__)

    __hash__ = None  # type: ignore[assignment]  # mutable parts (headers, metadata): equal, never a key


def _listed(headers: Any) -> list[tuple[str, bytes | str | None]]:
    """Headers as a list; a list is returned as it is. Invalid headers are returned unchanged, for `send` to refuse."""
    if isinstance(headers, list):
        return headers
    if isinstance(headers, Mapping):
        return list(headers.items())
    if isinstance(headers, Sequence) and not isinstance(headers, (str, bytes, bytearray)):
        return list(headers)
    return headers  # type: ignore[no-any-return]
