"""What the application has finished with: the offsets that an automatic commit may say.

Rust's positions run ahead of the application, since a poll hands over many records at once. A record is finished when
the application asked for the next one or polled again, never while it is in hand. Called from the application's
threads and read by the engine thread; each assignment below is one atomic store, and the floor is set before the
records of the next take are asked for, so a reader in between sees less than is finished, never more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ottla.message import OffsetAndMetadata, TopicPartition

if TYPE_CHECKING:
    from ottla._native import Records

Positions = dict[tuple[str, int], tuple[int, int]]
"""(topic, partition) -> (offset of the next record, leader epoch of the one before)."""


class Flow(Protocol):
    """What is needed of the fetch flow."""

    def positions(self) -> Positions:
        """Where every partition stands."""


class Progress:
    """The floor under what is finished, and the records being iterated above it."""

    def __init__(self, flow: Flow, in_hand: Callable[[], tuple[str, int, int] | None]) -> None:
        self._flow = flow
        self._in_hand = in_hand
        self._floor: Positions = {}
        self._chunk: Records | None = None
        self._ended: Positions | None = None
        """What `let_go` found: the rest of the chunk is nobody's from there."""
        self._moved: frozenset[tuple[str, int]] = frozenset()
        """Partitions of the chunk whose position was set since."""

    def before_take(self) -> None:
        """All that was handed over is finished: the application asks for more."""
        self._ended = None
        self._chunk = None
        self._moved = frozenset()
        self._floor = self._flow.positions()

    def let_go(self, *, hand: bool) -> None:
        """The application asks for no more. `hand`: it has finished what is in its hands too."""
        offsets = self.handed() if hand else self.finished()
        self._ended = {tp: (place.offset, place.leader_epoch) for tp, place in offsets.items()}

    def in_hand_at_last(self, record: tuple[str, int, int] | None) -> None:
        """The application's consumer goes, with this record in its hand."""
        self._in_hand = lambda: record

    def iterating(self, chunk: Records) -> None:
        """The application gets these one by one."""
        self._chunk = chunk

    def moved(self, tp: TopicPartition, offset: int, leader_epoch: int) -> None:
        """The application itself set the position, and gets nothing more of the partition out of the chunk."""
        self._floor = {**self._floor, **self._of_chunk(hand=False), tp: (offset, leader_epoch)}
        self._moved = self._moved | {tp}

    def unread(self) -> Positions:
        """Where the iteration stands in each partition of which the chunk has more; empty where nothing is left of it."""
        chunk, current = self._chunk, self._in_hand()
        if chunk is None or current is None:
            return {}
        read = self._of_chunk(hand=True)
        result: Positions = {}
        for place, records in chunk.by_partition().items():
            start = read.get(place, (records[0].offset, self._floor.get(place, (0, -1))[1]))
            if place not in self._moved and start[0] < records.next_offsets()[place][0]:
                result[place] = start
        return result

    def finished(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What an automatic commit may say now."""
        ended = self._ended
        return _offsets({**self._floor, **self._of_chunk(hand=False)} if ended is None else ended)

    def handed(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What an explicit `commit()` says: everything handed over, the record in hand too."""
        if self._ended is not None:
            return _offsets(self._ended)
        if self._chunk is None:
            return _offsets(self._flow.positions())
        return _offsets({**self._floor, **self._of_chunk(hand=True)})

    def _of_chunk(self, *, hand: bool) -> Positions:
        """How far the iteration is in each partition of the chunk, whose records stand partition after partition."""
        chunk, current = self._chunk, self._in_hand()
        if chunk is None or current is None:
            return {}
        topic, partition, offset = current
        result: Positions = {}
        for place, records in chunk.by_partition().items():
            if place == (topic, partition):
                result[place] = (offset + 1, records[0].leader_epoch) if hand else (offset, -1)
                break
            result.update((tp, next_offset) for tp, next_offset in records.next_offsets().items())
        return {place: position for place, position in result.items() if place not in self._moved}


def _offsets(positions: Positions) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(topic, partition): OffsetAndMetadata(offset, epoch)
        for (topic, partition), (offset, epoch) in positions.items()
    }
