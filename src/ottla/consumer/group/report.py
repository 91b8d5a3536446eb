"""Report of one consumer's membership and commits: counts, events for listeners, troubles for `health()`.

Outlives a membership, so that counts run from the start of the consumer. Engine thread; statistics are read from any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ottla.errors import CommitFailed, Error, line_of
from ottla.observe.consumer_statistics import GroupStatistics
from ottla.observe.rates import Durations

if TYPE_CHECKING:
    from ottla.consumer.commits.fence import CommitIdentity
    from ottla.engine.clock import Clock
    from ottla.message import TopicPartition
    from ottla.observe.events import Events
    from ottla.observe.health import Health


class GroupReport:
    """Counts and reports.

    Args:
        group_id: Name of the group.
        events: The client's listeners.
        health: The client's troubles.
        clock: The engine's.
    """

    def __init__(self, group_id: str, events: Events, health: Health, clock: Clock) -> None:
        self._group_id = group_id
        self._events = events
        self._health = health
        self._clock = clock
        self._rebalances = 0
        self._rebalance_s = 0.0
        self._last: tuple[float, str] = (0.0, "")
        """Seconds and reason of the latest rebalance."""
        self._running: tuple[float, str] | None = None
        """Start and reason of the current rebalance."""
        self._lost = 0
        self._commits = 0
        self._failed_commits = 0
        self._commit_durations = Durations()

    # ---- rebalances --------------------------------------------------------------------------------------------------

    def start_rebalance(self, reason: str) -> None:
        """The member joins, or joins again."""
        if self._running is None:
            self._running = (self._clock.now(), reason)
            self._events.emit("rebalance.started", group=self._group_id, reason=reason)

    def end_rebalance(self, partitions: Iterable[TopicPartition], generation: int) -> None:
        """The rebalance ended with this assignment."""
        self._health.recovered("group")
        since, reason = self._running or (self._clock.now(), "")
        self._running = None
        seconds = self._clock.now() - since
        self._rebalances += 1
        self._rebalance_s += seconds
        self._last = (seconds, reason)
        self._events.emit(
            "group.assigned",
            group=self._group_id,
            generation=generation,
            partitions=[str(tp) for tp in partitions],
            reason=reason,
            duration_ms=seconds * 1000,
        )

    def abort_rebalance(self) -> None:
        """The rebalance ended without an assignment: the member left."""
        self._running = None

    def report_revocation(self, partitions: Iterable[TopicPartition]) -> None:
        """The member gave these partitions back."""
        self._events.emit(
            "partition.revoked", group=self._group_id, partitions=[str(tp) for tp in partitions]
        )

    def report_loss(self, partitions: Iterable[TopicPartition], reason: str) -> None:
        """The member lost these partitions without a revocation."""
        names = [str(tp) for tp in partitions]
        if names:
            self._lost += len(names)
            self._events.emit(
                "partition.lost", group=self._group_id, partitions=names, reason=reason
            )

    def report_failure(self, error: Error) -> None:
        """The coordinator refused the member for good."""
        self._running = None
        reason = line_of(error)
        self._health.recovered("group")
        self._health.trouble("membership", reason, self._clock.now())
        self._events.emit(
            "group.failed", group=self._group_id, error=type(error).__name__, reason=reason
        )

    def report_unreachable(self, reason: str) -> None:
        """The coordinator cannot be reached."""
        self._health.trouble("group", reason, self._clock.now())

    def report_reached(self) -> None:
        """The coordinator answers again."""
        self._health.recovered("group")

    def report_heartbeat_stopped(self, reason: str) -> None:
        """The coordinator does not answer heartbeats."""
        self.report_unreachable(reason)
        self._events.emit("heartbeat.stopped", group=self._group_id, reason=reason)

    def report_stalled(self, reason: str) -> None:
        """The application does not poll, so the member left the group."""
        self._health.trouble("application", reason, self._clock.now())

    def report_poll(self) -> None:
        """The application polls again."""
        self._health.recovered("application")

    def report_leave(self) -> None:
        """The member left the group: none of its troubles lasts."""
        self._running = None
        for part in ("group", "membership", "application"):
            self._health.recovered(part)

    # ---- commits -----------------------------------------------------------------------------------------------------

    def count_commit(self, seconds: float) -> None:
        """A commit succeeded for every partition."""
        self._commits += 1
        self._commit_durations.add(seconds, self._clock.now())
        self._health.recovered("commit")

    def count_failed_commit(self, seconds: float, error: CommitFailed) -> None:
        """A commit failed for some partition."""
        self._failed_commits += 1
        self._commit_durations.add(seconds, self._clock.now())
        reason = line_of(error)
        self._health.trouble("commit", reason, self._clock.now())
        self._events.emit(
            "commit.failed",
            group=self._group_id,
            partitions=[str(tp) for tp in error.partitions],
            reason=reason,
        )

    # ---- statistics --------------------------------------------------------------------------------------------------

    def statistics(self, identity: CommitIdentity) -> GroupStatistics:
        """The counts. Threads: any."""
        now = self._clock.now()
        running = self._running
        seconds, reason = self._last
        return GroupStatistics(
            group_id=self._group_id,
            member_id=identity.member_id,
            generation=identity.generation,
            rebalances=self._rebalances,
            rebalance_ms=self._rebalance_s * 1000,
            last_rebalance_ms=seconds * 1000,
            last_rebalance_reason=reason,
            rebalancing_for_ms=0.0 if running is None else (now - running[0]) * 1000,
            lost_partitions=self._lost,
            commits=self._commits,
            failed_commits=self._failed_commits,
            commit_latency=self._commit_durations.percentiles(now),
        )
