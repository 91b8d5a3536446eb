"""Progress of the application: the offsets that automatic and explicit commits may send.

Rust's positions run ahead of the application, since a poll hands over many records at once. A record is finished when
the application asked for the next one or polled again; the current record is not finished.

Called from the application's threads and read by the engine thread. The whole state is one value that is replaced by one store, and
a reader that sees another value after it has read the current record starts over. So a concurrent reader sees the progress before a
step or after it, never more than is finished, and never a mixture that would move a commit back.

Offsets belong to the ownership under which their records were handed over. A partition that was lost or given up meanwhile, or that is
assigned again, has no progress here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ottla.message import OffsetAndMetadata, TopicPartition

if TYPE_CHECKING:
    from ottla._native import Records
    from ottla.consumer.commits.fence import Owned

Positions = Mapping[tuple[str, int], tuple[int, int]]
"""(topic, partition) -> (offset of the next record, leader epoch of the one before)."""
Current = tuple[str, int, int] | None
"""Topic, partition and offset of the record that the application works on."""


class Flow(Protocol):
    """The part of the fetch flow that progress reads."""

    def positions(self) -> Mapping[tuple[str, int], tuple[int, int]]:
        """Position of every partition."""


class State(NamedTuple):
    """The floor, below which every record is finished, and the records that are being iterated above it."""

    floor: Positions
    owned: Owned
    """The ownership of each partition at the take."""
    chunk: Records | None = None
    closed: frozenset[tuple[str, int]] = frozenset()
    """Partitions of the chunk of which no more records are handed over: given up, or the position was set after the take."""
    ended: Positions | None = None
    """Offsets at `stop`: records after them were handed to nobody."""


class Progress:
    """The progress of one consumer.

    Args:
        flow: Has the positions of the next take.
        current: The current record.
        owned: The partitions that are assigned now.
    """

    def __init__(
        self, flow: Flow, current: Callable[[], Current], owned: Callable[[], Owned]
    ) -> None:
        self._flow = flow
        self._current = current
        self._owned = owned
        self._state = State({}, {})

    # ---- steps of the application --------------------------------------------------------------------------------------

    def before_take(self) -> None:
        """The application asks for more, so every record that was handed over is finished."""
        owned = self._owned()
        self._state = State(self._flow.positions(), owned)

    def finish_current(self) -> None:
        """The application asks for the next record of the chunk, which is started again by `start_chunk`."""
        state = self._state
        self._state = State({**state.floor, **self._of_chunk(finished=True)}, state.owned)

    def start_chunk(self, chunk: Records) -> None:
        """The application receives these records one by one. There is no current record at this moment."""
        self._state = self._state._replace(chunk=chunk)

    def set_position(self, tp: TopicPartition, offset: int, leader_epoch: int) -> None:
        """The application set the position, and receives no more records of the partition from the chunk."""
        state = self._state
        floor = {**state.floor, **self._of_chunk(finished=False), tp: (offset, leader_epoch)}
        owned = state.owned if tp in state.owned else self._owned()
        self._state = state._replace(floor=floor, owned=owned, closed=state.closed | {tp})

    def close(self, partitions: Iterable[TopicPartition], *, finished: bool) -> None:
        """The application receives no more records of these partitions.

        finished: Whether it has finished its current record too, and the records of its latest poll.
        """
        state, places = self._state, frozenset(partitions)
        progress = self.handed_offsets() if finished else self.finished_offsets()
        given_up = _as_positions({tp: at for tp, at in progress.items() if tp in places})
        floor = {**state.floor, **self._of_chunk(finished=False), **given_up}
        self._state = state._replace(floor=floor, closed=state.closed | places)

    def stop(self, *, finished: bool) -> None:
        """The application asks for no more records. finished: It has finished its current record too."""
        offsets = self.handed_offsets() if finished else self.finished_offsets()
        self._state = self._state._replace(ended=_as_positions(offsets))

    def freeze_current(self, record: Current) -> None:
        """Use this as the current record from now on: the application's consumer is being collected."""
        self._current = lambda: record

    # ---- offsets ---------------------------------------------------------------------------------------------------------

    def unread(self) -> Positions:
        """Position of the iteration in each partition that has more records in the chunk."""
        state, current = self._read()
        if state.chunk is None:
            return {}
        read = _of_chunk(state, current, finished=True)
        result: dict[tuple[str, int], tuple[int, int]] = {}
        for place, records in state.chunk.by_partition().items():
            start = read.get(place, (records[0].offset, state.floor.get(place, (0, -1))[1]))
            if place not in state.closed and start[0] < records.next_offsets()[place][0]:
                result[place] = start
        return result

    def finished_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The offsets of an automatic commit. Threads: any."""
        state, current = self._read()
        if state.ended is not None:
            return self._offsets(state, state.ended)
        return self._offsets(state, {**state.floor, **_of_chunk(state, current, finished=False)})

    def handed_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The offsets of an explicit `commit()`: all records that were handed over, the current one included."""
        state, current = self._read()
        if state.ended is not None:
            return self._offsets(state, state.ended)
        if state.chunk is None:
            return _as_offsets(self._flow.positions())
        return self._offsets(state, {**state.floor, **_of_chunk(state, current, finished=True)})

    def _offsets(self, state: State, at: Positions) -> dict[TopicPartition, OffsetAndMetadata]:
        """The offsets of those partitions that still have the ownership of the take.

        The position runs ahead of the progress: one that is behind it was moved back because the log was truncated or the topic
        recreated, and the progress belongs to records that are gone.
        """
        now = self._owned()
        positions = self._flow.positions()
        offsets = _as_offsets(at)
        return {
            tp: offset
            for tp, offset in offsets.items()
            if tp in now
            and state.owned.get(tp) == now[tp]
            and offset.offset <= positions.get(tp, (-1, -1))[0]
        }

    def _read(self) -> tuple[State, Current]:
        """The state, and the current record in it."""
        while True:
            state, current = self._state, self._current()
            if state is self._state:
                return state, current

    def _of_chunk(self, *, finished: bool) -> Positions:
        return _of_chunk(self._state, self._current(), finished=finished)


def _of_chunk(state: State, current: Current, *, finished: bool) -> Positions:
    """Progress of the iteration in each partition of the chunk, whose records are ordered by partition."""
    if state.chunk is None or current is None:
        return {}
    topic, partition, offset = current
    result: dict[tuple[str, int], tuple[int, int]] = {}
    for place, records in state.chunk.by_partition().items():
        if place == (topic, partition):
            result[place] = (offset + 1, records[0].leader_epoch) if finished else (offset, -1)
            break
        result.update((tp, next_offset) for tp, next_offset in records.next_offsets().items())
    return {place: position for place, position in result.items() if place not in state.closed}


def _as_positions(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> Positions:
    return {tp: (at.offset, at.leader_epoch) for tp, at in offsets.items()}


def _as_offsets(positions: Positions) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(topic, partition): OffsetAndMetadata(offset, epoch)
        for (topic, partition), (offset, epoch) in positions.items()
    }
