"""The marks of a session: which records a handler has finished with, and what of that is not committed yet.

Marking is cheap and says nothing to the broker; committing sends what is marked. Any number of claims mark at once:
each key is written by the claim that owns it, and one dictionary store is atomic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ottla import errors
from ottla.message import OffsetAndMetadata, TopicPartition


class Marks:
    """Marked offsets of the partitions of one session."""

    def __init__(self, partitions: Iterable[TopicPartition]) -> None:
        self._marked: dict[tuple[str, int], OffsetAndMetadata] = {}
        self._committed: dict[tuple[str, int], OffsetAndMetadata] = {}
        self._owned = frozenset(partitions)

    def end(self) -> None:
        """The session is over: whatever still holds these marks may change nothing more."""
        self._owned = frozenset()

    def __len__(self) -> int:
        return len(self._marked)

    def forward(self, place: tuple[str, int], mark: OffsetAndMetadata) -> None:
        """Mark up to this offset; a mark that is further already stays."""
        if place not in self._owned:
            raise _not_owned(place)
        before = self._marked.get(place)
        if before is None or before.offset < mark.offset:
            self._marked[place] = mark

    def back(self, place: tuple[str, int], mark: OffsetAndMetadata) -> None:
        """Put the mark here, even if that is before what was marked or committed."""
        if place not in self._owned:
            raise _not_owned(place)
        self._marked[place] = mark

    def dirty(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What is marked and not committed."""
        return {
            TopicPartition(*place): mark
            for place, mark in list(self._marked.items())
            if self._committed.get(place) != mark
        }

    def committed(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """These were committed."""
        for place, mark in offsets.items():
            self._committed[place] = mark


def _not_owned(place: tuple[str, int]) -> errors.StateError:
    topic, partition = place
    return errors.StateError(
        "the partition is not claimed in this session: the mark is refused",
        topic=topic,
        partition=partition,
    )
