"""Finds assigned partitions that make no progress although their log has records. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from ottla.message import TopicPartition

if TYPE_CHECKING:
    from ottla.seam.fetching import FetchPartition

STALLED_S = 60.0
"""Seconds without progress after which a partition is reported."""


class Stall(NamedTuple):
    """A partition without progress."""

    tp: TopicPartition
    lag: int
    """Number of offsets between its position and the end of the log."""
    buffered: int
    """Records that are fetched: the application has not asked for them. 0: the partition is not fetched."""
    since: float


class _Seen(NamedTuple):
    mark: tuple[int, int]
    since: float


class StallWatch:
    """Remembers how long each partition has stood still.

    Args:
        read_committed: Whether the log ends at the last stable offset for this consumer.
    """

    def __init__(self, *, read_committed: bool) -> None:
        self._read_committed = read_committed
        self._seen: dict[TopicPartition, _Seen] = {}

    def check(self, partitions: Iterable[FetchPartition], now: float) -> list[Stall]:
        """The partitions that have stood still for `STALLED_S`. now: Seconds of any monotonic clock."""
        seen: dict[TopicPartition, _Seen] = {}
        stalls: list[Stall] = []
        for one in partitions:
            lag = self._lag(one)
            if one.paused or lag <= 0:
                continue
            tp = TopicPartition(one.topic, one.partition)
            mark = (one.position, one.fetched_batches)
            before = self._seen.get(tp)
            seen[tp] = before if before is not None and before.mark == mark else _Seen(mark, now)
            if now - seen[tp].since >= STALLED_S:
                stalls.append(Stall(tp, lag, one.buffered_records, seen[tp].since))
        self._seen = seen
        return stalls

    def _lag(self, one: FetchPartition) -> int:
        end = one.last_stable_offset if self._read_committed else one.high_watermark
        return 0 if one.position < 0 else end - one.position
