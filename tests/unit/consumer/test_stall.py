"""Partitions without progress."""

from __future__ import annotations

from ottla.consumer.stall import STALLED_S, StallWatch
from ottla.message import TopicPartition
from ottla.seam.fetching import FetchPartition

T0 = TopicPartition("t", 0)


def partition(
    position: int = 5,
    end: int = 10,
    stable: int = 10,
    buffered: int = 0,
    batches: int = 1,
    paused: bool = False,
) -> FetchPartition:
    return FetchPartition("t", 0, 1, position, end, stable, buffered, 0, 0, 0, batches, paused)


def stalled(first: FetchPartition, later: FetchPartition, *, read_committed: bool = False) -> bool:
    watch = StallWatch(read_committed=read_committed)
    assert watch.check([first], 100.0) == []
    assert watch.check([later], 100.0 + STALLED_S - 1) == []
    return bool(watch.check([later], 100.0 + STALLED_S))


def test_a_partition_that_stands_still_behind_the_end_is_stalled() -> None:
    watch = StallWatch(read_committed=False)
    watch.check([partition()], 100.0)
    (stall,) = watch.check([partition()], 100.0 + STALLED_S)
    assert stall == (T0, 5, 0, 100.0)


def test_progress_of_the_position_or_of_fetching_counts() -> None:
    assert stalled(partition(), partition())
    assert not stalled(partition(position=5), partition(position=6))
    assert not stalled(partition(batches=1), partition(batches=2))


def test_records_that_the_application_leaves_in_the_buffer_count_as_stalled() -> None:
    assert stalled(partition(buffered=5), partition(buffered=5))


def test_the_end_a_pause_and_an_unknown_position_are_no_stall() -> None:
    assert not stalled(partition(position=10), partition(position=10))
    assert not stalled(partition(paused=True), partition(paused=True))
    assert not stalled(partition(position=-1), partition(position=-1))


def test_an_open_transaction_is_the_end_for_read_committed() -> None:
    waits = partition(position=5, stable=5)
    assert not stalled(waits, waits, read_committed=True)
    assert stalled(waits, waits)


def test_a_pause_starts_the_time_over() -> None:
    watch = StallWatch(read_committed=False)
    watch.check([partition()], 100.0)
    watch.check([partition(paused=True)], 130.0)
    assert watch.check([partition()], 100.0 + STALLED_S) == []
