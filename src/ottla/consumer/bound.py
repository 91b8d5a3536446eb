"""The end of a bounded read: an offset per partition, and the cut of records that were taken beyond it.

An end counts as reached by the position, never by a record: offsets without a record (aborted transactions, markers, compaction)
lie before many an end. Threads: the one that polls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ottla.consumer.iteration import NO_RECORDS

if TYPE_CHECKING:
    from ottla._native import FetchFlow, Records
    from ottla.consumer.hand_over import HandOver
    from ottla.message import TopicPartition


class Bound:
    """The ends of one bounded read. While a poll of the read runs, it stands in front of the consumer's hand-over.

    Args:
        flow: Its positions are compared with the ends, and set back to them.
        hand_over: Deserializers and interceptors; they receive no record beyond an end. None: there are none.
    """

    def __init__(self, flow: FetchFlow, hand_over: HandOver | Bound | None) -> None:
        self.ends: dict[TopicPartition, int] = {}
        """Offset at which the read of a partition ends: the offset after its last record, or more."""
        self._flow = flow
        self._hand_over = hand_over
        self._paused: list[TopicPartition] = []

    # ---- ends --------------------------------------------------------------------------------------------------------

    def without_end(self, partitions: Collection[TopicPartition]) -> list[TopicPartition]:
        """Those of the partitions whose end is not known yet."""
        return sorted(tp for tp in partitions if tp not in self.ends)

    def open_partitions(self, partitions: Collection[TopicPartition]) -> list[TopicPartition]:
        """Those of the partitions whose position is before the end, or not known yet."""
        positions = self._flow.positions()
        return sorted(tp for tp in partitions if not self._is_reached(tp, positions))

    def _is_reached(
        self, tp: TopicPartition, positions: Mapping[tuple[str, int], tuple[int, int]]
    ) -> bool:
        end, position = self.ends.get(tp), positions.get(tp)
        return end is not None and position is not None and position[0] >= end

    # ---- while a poll runs -------------------------------------------------------------------------------------------

    def pause_reached(self, partitions: Collection[TopicPartition]) -> None:
        """Take nothing from partitions that have reached their end, until `resume`."""
        positions = self._flow.positions()
        for tp in partitions:
            if self._is_reached(tp, positions) and not self._flow.partition_state(*tp).paused:
                self._flow.pause(*tp)
                self._paused.append(tp)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Undo `pause_reached`, for the partitions that are still assigned."""
        paused, self._paused = self._paused, []
        for tp in paused:
            if tp in partitions:
                self._flow.resume(*tp)

    def raise_failure(self, only: TopicPartition | None = None) -> None:
        """Raise an error that waits, see `HandOver.raise_failure`."""
        if self._hand_over is not None:
            self._hand_over.raise_failure(only)

    def prepare(self, taken: Records, only: TopicPartition | None = None) -> Records[Any, Any]:
        """The records before the ends, after `HandOver.prepare`. The others are taken again by a later poll."""
        records = self._cut(taken)
        if records and self._hand_over is not None:
            return self._hand_over.prepare(records, only)
        return records

    def _cut(self, taken: Records) -> Records:
        left: Records = NO_RECORDS
        for tp, records in taken.by_partition().items():
            offsets = records.offsets()
            end = self.ends.get(tp, 0)
            count = bisect_left(offsets, end)
            left += records[:count]
            if count < len(offsets):
                self._flow.position(*tp, end if count else offsets[0], -1)
        return left
