"""The commit lane: one request in flight, the rest merged; a partition's own trouble holds up no other one."""

from __future__ import annotations

import math
from collections.abc import Callable

from ottla import errors
from ottla.consumer.commits.lane import CommitLane, Entry, Failures
from ottla.consumer.commits.words import superseded
from ottla.message import OffsetAndMetadata, TopicPartition

A = TopicPartition("t", 0)
B = TopicPartition("t", 1)
TROUBLE = errors.Error("not yet")


def at(offset: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(offset)


class Bench:
    """A lane, and the results of its callers by name."""

    def __init__(self) -> None:
        self.lane = CommitLane(superseded)
        self.results: dict[str, Failures] = {}

    def request(
        self,
        name: str,
        offsets: dict[TopicPartition, int],
        *,
        fence: int = 1,
        deadline: float = 60.0,
        is_explicit: bool = True,
    ) -> None:
        self.lane.request(
            {tp: at(offset) for tp, offset in offsets.items()},
            lambda _tp: fence,
            self._done(name),
            deadline=deadline,
            is_explicit=is_explicit,
        )

    def _done(self, name: str) -> Callable[[Failures], None]:
        def done(failures: Failures) -> None:
            assert name not in self.results, "one result"
            self.results[name] = failures

        return done

    def take(self, now: float = 0.0) -> dict[TopicPartition, int] | None:
        self.taken = self.lane.take(now) or []
        return {entry.tp: entry.offset.offset for entry in self.taken} or None

    def entry(self, tp: TopicPartition) -> Entry:
        return next(entry for entry in self.taken if entry.tp == tp)

    def settle(self, **errors_of: BaseException) -> None:
        """Settle all that was taken; a, b: the errors of A and B."""
        for entry in self.taken:
            self.lane.settle(entry, errors_of.get("a" if entry.tp == A else "b"))
        self.lane.end_request()


def test_calls_during_a_request_share_the_next_one() -> None:
    bench = Bench()
    bench.request("first", {A: 1})
    assert bench.take() == {A: 1}
    for offset in range(2, 1000):
        bench.request(f"later {offset}", {A: offset, B: 7})
    assert bench.lane.take(0.0) is None
    bench.settle()
    assert bench.results == {"first": {}}
    assert bench.take() == {A: 999, B: 7}
    bench.settle()
    assert len(bench.results) == 999
    assert bench.lane.is_idle


def test_each_caller_receives_its_own_failures() -> None:
    bench = Bench()
    bench.request("a", {A: 1})
    bench.request("b", {B: 1})
    bench.request("both", {A: 1, B: 1})
    bench.take()
    bench.settle(a=TROUBLE)
    assert bench.results == {"a": {A: TROUBLE}, "b": {}, "both": {A: TROUBLE}}


def test_a_partition_with_a_trouble_of_its_own_holds_up_no_other() -> None:
    bench = Bench()
    bench.request("a", {A: 1})
    bench.request("b", {B: 1})
    bench.take()
    bench.lane.retry_alone(bench.entry(A), TROUBLE, due=5.0)
    bench.lane.settle(bench.entry(B))
    bench.lane.end_request()
    bench.request("b again", {B: 2})
    assert bench.take(1.0) == {B: 2}
    bench.settle()
    assert bench.lane.next_time() == 5.0
    assert bench.take(4.9) is None
    assert bench.take(5.0) == {A: 1}
    bench.settle()
    assert bench.results == {"b": {}, "b again": {}, "a": {}}


def test_an_automatic_commit_is_not_retried_for_a_trouble_of_one_partition() -> None:
    bench = Bench()
    bench.request("automatic", {A: 1, B: 1}, is_explicit=False)
    bench.take()
    bench.lane.retry_alone(bench.entry(A), TROUBLE, due=5.0)
    bench.lane.settle(bench.entry(B))
    bench.lane.end_request()
    assert bench.results == {"automatic": {A: TROUBLE}}
    assert bench.lane.is_idle


def test_giving_up_retries_ends_explicit_calls_with_their_error() -> None:
    bench = Bench()
    bench.request("a", {A: 1})
    bench.take()
    bench.lane.retry_alone(bench.entry(A), TROUBLE, due=5.0)
    bench.lane.end_request()
    bench.request("b", {B: 1})
    bench.lane.give_up_retries()
    assert bench.results == {"a": {A: TROUBLE}}
    assert bench.take() == {B: 1}


def test_a_trouble_of_the_coordinator_delays_every_partition() -> None:
    bench = Bench()
    bench.request("a", {A: 1})
    bench.take()
    bench.lane.retry_all(bench.taken, errors.Error("lost", outcome="unknown"), due=2.0)
    bench.lane.end_request()
    bench.request("b", {B: 1})
    assert bench.take(1.0) is None
    assert bench.take(2.0) == {A: 1, B: 1}
    assert bench.entry(A).may_be_committed
    assert not bench.entry(B).may_be_committed


def test_a_retry_sends_the_later_offset_that_was_requested_meanwhile() -> None:
    bench = Bench()
    bench.request("early", {A: 1})
    bench.take()
    bench.request("late", {A: 2})
    bench.lane.retry_all(bench.taken, TROUBLE, due=0.0)
    bench.lane.end_request()
    assert bench.take() == {A: 2}
    bench.settle()
    assert bench.results == {"early": {}, "late": {}}


def test_an_offset_of_an_earlier_ownership_fails_once_there_is_one_of_a_later() -> None:
    bench = Bench()
    bench.request("in flight", {A: 30}, fence=1)
    bench.take()
    bench.request("waiting", {A: 40}, fence=1)
    bench.request("new", {A: 10}, fence=2)
    assert list(bench.results) == ["waiting"]
    bench.lane.retry_all(bench.taken, TROUBLE, due=0.0)
    bench.lane.end_request()
    assert list(bench.results["in flight"]) == [A]
    assert bench.take() == {A: 10}
    bench.settle()
    assert bench.results["new"] == {}


def test_each_call_ends_at_its_own_deadline_also_while_a_request_is_in_flight() -> None:
    bench = Bench()
    bench.request("early", {A: 1}, deadline=1.0)
    bench.take()
    bench.request("late", {A: 2, B: 2}, deadline=2.0)
    assert bench.lane.next_time() == 1.0
    bench.lane.expire(1.0, lambda _: TROUBLE)
    assert bench.results == {"early": {A: TROUBLE}}
    bench.settle()
    bench.lane.expire(2.0, lambda _: TROUBLE)
    assert bench.results["late"] == {A: TROUBLE, B: TROUBLE}
    assert bench.lane.is_idle
    assert bench.lane.next_time() == math.inf


def test_a_deadline_of_one_call_leaves_the_offset_to_the_others() -> None:
    bench = Bench()
    bench.request("early", {A: 1}, deadline=1.0)
    bench.request("late", {A: 2}, deadline=2.0)
    bench.lane.expire(1.0, lambda _: TROUBLE)
    assert bench.take(1.0) == {A: 2}
    bench.settle()
    assert bench.results == {"early": {A: TROUBLE}, "late": {}}


def test_a_request_that_ends_with_an_error_fails_its_entries() -> None:
    bench = Bench()
    bench.request("a", {A: 1})
    bench.take()
    bench.lane.end_request(TROUBLE)
    assert bench.results == {"a": {A: TROUBLE}}
    assert bench.lane.is_idle
