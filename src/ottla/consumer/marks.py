"""The marks of a session: the offsets that a handler has finished, and those of them that are not committed yet.

Marking is cheap and sends nothing; a commit sends the marks. Any number of claims mark at once: each key is written by the
claim that owns it, and one dictionary store is atomic.
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
        """The session has ended: refuse every mark from now on."""
        self._owned = frozenset()

    def __len__(self) -> int:
        return len(self._marked)

    def advance(self, place: tuple[str, int], mark: OffsetAndMetadata) -> None:
        """Mark up to this offset, unless the mark is further already."""
        if place not in self._owned:
            raise _not_owned(place)
        before = self._marked.get(place)
        if before is None or before.offset < mark.offset:
            self._marked[place] = mark

    def rewind(self, place: tuple[str, int], mark: OffsetAndMetadata) -> None:
        """Set the mark to this offset, even if it is before the mark or the committed offset."""
        if place not in self._owned:
            raise _not_owned(place)
        self._marked[place] = mark

    def restart(self, place: tuple[str, int], offset: int) -> None:
        """The partition continues at this earlier offset, because its log was truncated or its topic recreated: a mark ahead of it
        is void, and so is the committed offset.
        """
        mark = self._marked.get(place)
        if mark is not None and mark.offset > offset:
            del self._marked[place]
            self._committed.pop(place, None)

    def uncommitted(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """Marks that are not committed yet."""
        return {
            TopicPartition(*place): mark
            for place, mark in list(self._marked.items())
            if self._committed.get(place) != mark
        }

    def set_committed(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Record that these offsets were committed."""
        for place, mark in offsets.items():
            self._committed[place] = mark


def _not_owned(place: tuple[str, int]) -> errors.StateError:
    topic, partition = place
    return errors.StateError(
        "the partition is not claimed in this session: the mark is refused",
        topic=topic,
        partition=partition,
    )
