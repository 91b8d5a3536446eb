"""The commit lane: one request in flight, the rest merged."""

from __future__ import annotations

from ottla.consumer.commits.lane import CommitLane, Failures
from ottla.message import OffsetAndMetadata, TopicPartition

A = TopicPartition("t", 0)
B = TopicPartition("t", 1)


def at(offset: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(offset)


def test_calls_during_a_request_share_the_next_one() -> None:
    lane = CommitLane()
    ended: list[tuple[str, Failures]] = []
    lane.request({A: at(1)}, lambda f: ended.append(("first", f)))
    assert lane.take() == {A: at(1)}
    for offset in range(2, 1000):
        lane.request({A: at(offset), B: at(7)}, lambda f: ended.append(("later", f)))
    assert lane.take() is None
    lane.complete({})
    assert ended == [("first", {})]
    assert lane.take() == {A: at(999), B: at(7)}
    lane.complete({})
    assert len(ended) == 999
    assert lane.idle


def test_each_caller_receives_its_own_failures() -> None:
    lane = CommitLane()
    ended: dict[str, Failures] = {}
    lane.request({A: at(1)}, lambda f: ended.update(a=f))
    lane.request({B: at(1)}, lambda f: ended.update(b=f))
    lane.take()
    error = ValueError("no")
    lane.complete({A: error})
    assert ended == {"a": {A: error}, "b": {}}
