"""Progress of the application: the offsets that automatic and explicit commits may send.

Rust's positions run ahead of the application, since a poll hands over many records at once. A record is finished when
the application asked for the next one or polled again; the current record is not finished. Called from the application's
threads and read by the engine thread; each assignment below is one atomic store, and the floor is set before the next
take, so a concurrent reader sees fewer records than are finished, never more.
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
    """The part of the fetch flow that progress reads."""

    def positions(self) -> Positions:
        """Position of every partition."""


class Progress:
    """The floor, below which every record is finished, and the records that are being iterated above it."""

    def __init__(self, flow: Flow, current: Callable[[], tuple[str, int, int] | None]) -> None:
        self._flow = flow
        self._current = current
        self._floor: Positions = {}
        self._chunk: Records | None = None
        self._ended: Positions | None = None
        """Offsets at `stop`: records after them were handed to nobody."""
        self._moved: frozenset[tuple[str, int]] = frozenset()
        """Partitions of the chunk whose position was set after the take."""

    def before_take(self) -> None:
        """The application asks for more, so every record that was handed over is finished."""
        self._ended = None
        self._chunk = None
        self._moved = frozenset()
        self._floor = self._flow.positions()

    def stop(self, *, finished: bool) -> None:
        """The application asks for no more records. finished: It has finished its current record too."""
        offsets = self.handed_offsets() if finished else self.finished_offsets()
        self._ended = {tp: (place.offset, place.leader_epoch) for tp, place in offsets.items()}

    def freeze_current(self, record: tuple[str, int, int] | None) -> None:
        """Use this as the current record from now on: the application's consumer is being collected."""
        self._current = lambda: record

    def start_chunk(self, chunk: Records) -> None:
        """The application receives these records one by one."""
        self._chunk = chunk

    def set_position(self, tp: TopicPartition, offset: int, leader_epoch: int) -> None:
        """The application set the position, and receives no more records of the partition from the chunk."""
        self._floor = {**self._floor, **self._of_chunk(finished=False), tp: (offset, leader_epoch)}
        self._moved = self._moved | {tp}

    def unread(self) -> Positions:
        """Position of the iteration in each partition that has more records in the chunk."""
        chunk, current = self._chunk, self._current()
        if chunk is None or current is None:
            return {}
        read = self._of_chunk(finished=True)
        result: Positions = {}
        for place, records in chunk.by_partition().items():
            start = read.get(place, (records[0].offset, self._floor.get(place, (0, -1))[1]))
            if place not in self._moved and start[0] < records.next_offsets()[place][0]:
                result[place] = start
        return result

    def finished_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The offsets of an automatic commit."""
        ended = self._ended
        return _offsets(
            {**self._floor, **self._of_chunk(finished=False)} if ended is None else ended
        )

    def handed_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The offsets of an explicit `commit()`: all records that were handed over, the current one included."""
        if self._ended is not None:
            return _offsets(self._ended)
        if self._chunk is None:
            return _offsets(self._flow.positions())
        return _offsets({**self._floor, **self._of_chunk(finished=True)})

    def _of_chunk(self, *, finished: bool) -> Positions:
        """Progress of the iteration in each partition of the chunk, whose records are ordered by partition."""
        chunk, current = self._chunk, self._current()
        if chunk is None or current is None:
            return {}
        topic, partition, offset = current
        result: Positions = {}
        for place, records in chunk.by_partition().items():
            if place == (topic, partition):
                result[place] = (offset + 1, records[0].leader_epoch) if finished else (offset, -1)
                break
            result.update((tp, next_offset) for tp, next_offset in records.next_offsets().items())
        return {place: position for place, position in result.items() if place not in self._moved}


def _offsets(positions: Positions) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(topic, partition): OffsetAndMetadata(offset, epoch)
        for (topic, partition), (offset, epoch) in positions.items()
    }
