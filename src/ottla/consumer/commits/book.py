"""The committed offsets as far as this client knows them: from its commits, and from the answers of the coordinator.

Automatic commits send the offsets that differ from the book. An entry ends when another client may have changed the offset: the
partition was assigned or sought again, its commit failed, or the entry is old. Engine thread only; time is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ottla.message import OffsetAndMetadata, TopicPartition

TRUSTED_S = 60.0
"""Seconds for which an offset that this client committed is assumed to be still committed."""


class _Known(NamedTuple):
    offset: OffsetAndMetadata | None
    topic_id: bytes
    is_own: bool
    """Whether this client committed it, in contrast to an answer of the coordinator."""
    at: float


class CommittedBook:
    """The book of one group.

    Args:
        topic_id: Id of a topic now; a recreated topic has another one, and nothing is committed for it.
        now: The engine's clock, seconds.
    """

    def __init__(self, topic_id: Callable[[str], bytes], now: Callable[[], float]) -> None:
        self._topic_id = topic_id
        self._now = now
        self._known: dict[TopicPartition, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def write(self, tp: TopicPartition, offset: OffsetAndMetadata) -> None:
        """The coordinator has accepted this offset from this client."""
        self._known[tp] = _Known(offset, self._topic_id(tp.topic), True, self._now())

    def read(self, answer: Mapping[TopicPartition, OffsetAndMetadata | None]) -> None:
        """The coordinator answered that these offsets are committed. None: no offset."""
        now = self._now()
        for tp, offset in answer.items():
            self._known[tp] = _Known(offset, self._topic_id(tp.topic), False, now)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """The committed offsets of these partitions are not known any more."""
        for tp in partitions:
            self._known.pop(tp, None)

    def differs(self, tp: TopicPartition, offset: OffsetAndMetadata, *, is_last: bool) -> bool:
        """Whether this offset has to be committed.

        is_last: It is the last commit before the partition is given up: an offset of this client's own is committed once more, since
            another client may have put it back.
        """
        known = self._known.get(tp)
        if known is None or known.offset is None or known.offset.offset != offset.offset:
            return True
        if known.topic_id != self._topic_id(tp.topic):
            return True
        return known.is_own and (is_last or self._now() - known.at >= TRUSTED_S)
