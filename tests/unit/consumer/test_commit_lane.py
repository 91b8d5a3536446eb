"""The commit lane: one request on its way, the rest merged."""

from __future__ import annotations

from ottla.consumer.commit_lane import CommitLane, Failures
from ottla.message import OffsetAndMetadata, TopicPartition

A = TopicPartition("t", 0)
B = TopicPartition("t", 1)


def at(offset: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(offset)


def test_calls_made_meanwhile_go_together_in_the_next_request() -> None:
    lane = CommitLane()
    told: list[tuple[str, Failures]] = []
    lane.request({A: at(1)}, lambda f: told.append(("first", f)))
    assert lane.take() == {A: at(1)}
    for offset in range(2, 1000):
        lane.request({A: at(offset), B: at(7)}, lambda f: told.append(("later", f)))
    assert lane.take() is None
    lane.complete({})
    assert told == [("first", {})]
    assert lane.take() == {A: at(999), B: at(7)}
    lane.complete({})
    assert len(told) == 999
    assert lane.idle


def test_each_caller_hears_of_its_own_partitions() -> None:
    lane = CommitLane()
    told: dict[str, Failures] = {}
    lane.request({A: at(1)}, lambda f: told.update(a=f))
    lane.request({B: at(1)}, lambda f: told.update(b=f))
    lane.take()
    error = ValueError("no")
    lane.complete({A: error})
    assert told == {"a": {A: error}, "b": {}}
