"""The report of a membership: counts, events, troubles."""

from __future__ import annotations

from ottla import errors
from ottla.consumer.commits.fence import CommitIdentity
from ottla.consumer.group.report import GroupReport
from ottla.engine.clock import ManualClock
from ottla.message import TopicPartition
from ottla.observe.events import Event, Events
from ottla.observe.health import Health

TP = TopicPartition("t", 0)
IDENTITY = CommitIdentity("m-1", 4)


class Bench:
    def __init__(self) -> None:
        self.events: list[Event] = []
        events = Events()
        events.listen(self.events.append)
        self.health = Health()
        self.clock = ManualClock()
        self.report = GroupReport("g", events, self.health, self.clock)

    def names(self) -> list[str]:
        return [event.name for event in self.events]


async def test_a_rebalance_has_one_start_one_end_and_a_duration() -> None:
    bench = Bench()
    bench.report.start_rebalance("first")
    await bench.clock.advance(2)
    bench.report.start_rebalance("a retry of the same one")
    assert bench.report.statistics(IDENTITY).rebalancing_for_ms == 2000
    bench.report.end_rebalance([TP], 4)
    await bench.clock.advance(5)
    bench.report.start_rebalance("second")
    await bench.clock.advance(1)
    bench.report.end_rebalance([], 5)
    found = bench.report.statistics(IDENTITY)
    assert (found.member_id, found.generation) == ("m-1", 4)
    assert (found.rebalances, found.rebalance_ms, found.rebalancing_for_ms) == (2, 3000, 0)
    assert (found.last_rebalance_ms, found.last_rebalance_reason) == (1000, "second")
    assert bench.names() == ["rebalance.started", "group.assigned"] * 2
    assert bench.events[1].fields == {
        "group": "g",
        "generation": 4,
        "partitions": ["t-0"],
        "reason": "first",
        "duration_ms": 2000,
    }


def test_a_loss_without_partitions_is_none() -> None:
    bench = Bench()
    bench.report.report_loss([], "expired")
    bench.report.report_loss([TP], "expired")
    assert bench.report.statistics(IDENTITY).lost_partitions == 1
    assert bench.names() == ["partition.lost"]


def test_troubles_end_with_the_events_that_end_them() -> None:
    bench = Bench()
    report = bench.report
    report.report_heartbeat_stopped("timed out")
    report.report_stalled("no poll")
    assert list(bench.health.report()) == ["group", "application"]
    report.report_reached()
    report.report_poll()
    assert not bench.health.degraded
    report.report_failure(errors.for_code(30))
    assert list(bench.health.report()) == ["membership"]
    report.report_leave()
    assert not bench.health.degraded


def test_commits_are_counted_with_their_latency() -> None:
    bench = Bench()
    bench.report.count_commit(0.5)
    failed = errors.CommitFailed("no", partitions={TP: errors.for_code(29)})
    bench.report.count_failed_commit(1.5, failed)
    found = bench.report.statistics(IDENTITY)
    assert (found.commits, found.failed_commits) == (1, 1)
    assert (found.commit_latency.count, found.commit_latency.max_ms) == (2, 1500)
    assert list(bench.health.report()) == ["commit"]
    assert bench.events[-1].fields == {"group": "g", "partitions": ["t-0"], "reason": "no"}
    bench.report.count_commit(0.1)
    assert not bench.health.degraded
