"""Decisions about held partitions: the next route, another position, a refusal.

Station: cursor. The flow reports each hold once, with its cause; the partition flows again once it has a route. Only the leader decides
that a position is out of range or that a log differs; a follower that does is left. Engine thread only.
References: KIP-320, KIP-392, KIP-951; Java: FetchCollector, SubscriptionState.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ottla import errors
from ottla.consumer.starts import Positions
from ottla.message import OffsetAndMetadata
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.connections import Loss
from ottla.seam.fetching import Divergence, FetchHeld, Follower

if TYPE_CHECKING:
    from ottla.cluster.backoff import Backoff
    from ottla.cluster.cluster import Cluster
    from ottla.consumer.cursor import Cursor
    from ottla.consumer.starts import Starts
    from ottla.engine.thread import Engine
    from ottla.observe.log import ClientLog
    from ottla.observe.summary import Summary
    from ottla.seam.leaders import LeaderHint

_STEADY_S = 5.0
"""A partition that flowed this long starts its backoff over when it is held."""


class Owner(Positions, Protocol):
    """The owner of the cursors, their routes and their flow."""

    def route_soon(self, cursor: Cursor, delay: float = 0.0) -> None:
        """Search a route, after this number of seconds."""

    def hold(self, cursor: Cursor) -> None:
        """Hold the partition; the flow reports it."""


class Rules(NamedTuple):
    """Settings of the decisions."""

    backoff: Backoff
    replica_lease_s: float
    """Seconds for which a follower is fetched from before the leader is asked again."""
    raises: bool
    """Whether the user wants an error instead of another position."""


class FetchHolds:
    """Decides about the held partitions of one consumer.

    Args:
        engine: Time and timers.
        cluster: Metadata and events.
        log: Logger of the cursors.
        summary: Sums up the lines of many partitions.
        rules: Settings.
        starts: Resets positions.
        owner: Carries the decisions out.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        log: ClientLog,
        summary: Summary,
        rules: Rules,
        starts: Starts,
        owner: Owner,
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._log = log
        self._summary = summary
        self._rules = rules
        self._starts = starts
        self._owner = owner

    def decide(self, cursor: Cursor, held: FetchHeld) -> None:
        """Decide about a partition that the flow holds."""
        cause, tp = held.cause, cursor.tp
        if not isinstance(cause, Follower):
            self._emit(held)
        if cause == "asked":
            self._owner.route_soon(cursor)
        elif isinstance(cause, Follower):
            self._follow(cursor, cause.node_id)
        elif cursor.replica is not None:
            self._leave_follower(cursor, _reason(held))
        elif held.code == ErrorCode.OFFSET_OUT_OF_RANGE:
            self._starts.reset(cursor, f"offset {held.fetch_offset} of {tp} is out of range")
        elif isinstance(cause, Divergence):
            self._diverged(cursor, held.fetch_offset, cause)
        elif held.leader is not None:
            self._follow_hint(cursor, held.leader)
        else:
            self._held_by_fault(cursor, held)

    def _emit(self, held: FetchHeld) -> None:
        events = self._cluster.events
        if events:
            events.emit(
                "partition.held",
                topic=held.topic,
                partition=held.partition,
                cause=_cause(held),
                reason=_reason(held),
                batches=0,
            )

    # ---- leaders and followers ---------------------------------------------------------------------------------------

    def pause_after(self, cursor: Cursor) -> float:
        """Seconds before the next route; longer for each consecutive hold."""
        if self._engine.clock.now() - cursor.routed_at > _STEADY_S:
            cursor.attempts = 0
        cursor.attempts += 1
        return self._rules.backoff.delay(cursor.attempts)

    def _route_again(self, cursor: Cursor) -> None:
        """At once, or after a pause if this repeats."""
        pause = self.pause_after(cursor)
        self._owner.route_soon(cursor, pause if cursor.attempts > 1 else 0.0)

    def _follow_hint(self, cursor: Cursor, hint: LeaderHint) -> None:
        """The broker named another leader: fetch from that one."""
        self._cluster.apply_leader_hint(*cursor.tp, hint.node_id, hint.leader_epoch, hint.endpoint)
        self._route_again(cursor)

    def _held_by_fault(self, cursor: Cursor, held: FetchHeld) -> None:
        """An error code or a lost connection: search a route after a pause, with newer metadata."""
        topic, partition = cursor.tp
        if held.code:
            error = errors.for_code(held.code, "fetch", topic=topic, partition=partition)
            if error.permanent:
                self._owner.refuse([cursor], error)
                return
        reason = _reason(held)
        self._summary.add(logging.INFO, "partition.held", cursor.tp, reason=reason)
        self._cluster.refresh_soon(f"{topic}-{partition} is held: {reason}")
        self._owner.route_soon(cursor, self.pause_after(cursor))

    def _follow(self, cursor: Cursor, replica: int) -> None:
        """Fetch from the follower that the leader named, until it refuses or its lease ends; then from the leader again."""
        cursor.replica = replica
        self._engine.loop.call_later(self._rules.replica_lease_s, self._end_lease, cursor, replica)
        self._log.debug("follower.used", **cursor.tp._asdict(), node=replica)
        self._route_again(cursor)

    def _leave_follower(self, cursor: Cursor, reason: str) -> None:
        self._log.info("follower.refused", **cursor.tp._asdict(), reason=reason)
        cursor.replica = None
        self._cluster.refresh_soon(f"a follower refused {cursor.tp}")
        self._owner.route_soon(cursor, self.pause_after(cursor))

    def _end_lease(self, cursor: Cursor, replica: int) -> None:
        if self._owner.is_current(cursor) and cursor.replica == replica:
            cursor.replica = None
            self._owner.hold(cursor)

    # ---- truncated logs ----------------------------------------------------------------------------------------------

    def _diverged(self, cursor: Cursor, position: int, at: Divergence) -> None:
        """The leader's log differs from the fetched records (KIP-320). The flow has dropped those that nobody has read yet."""
        if at.end_offset < position or at.fetched_epoch > max(at.epoch, cursor.start_epoch):
            self._truncated(cursor, position, at)
            return
        self._log.info(
            "position.diverged",
            **cursor.tp._asdict(),
            position=position,
            epoch=at.epoch,
            offset=at.end_offset,
        )
        if at.fetched_epoch > at.epoch:
            # The log has no record of the epoch that the position came with: its leader may never have written one.
            self._owner.set_position(cursor, OffsetAndMetadata(position, at.epoch))
            return
        self._route_again(cursor)

    def _truncated(self, cursor: Cursor, position: int, at: Divergence) -> None:
        """Records that were read are gone: continue where the logs part, or raise."""
        topic, partition = cursor.tp
        offset = min(at.end_offset, position)
        reason = (
            f"{topic}-{partition} was truncated at offset {offset}: records up to {position} were read in leader epoch "
            f"{at.fetched_epoch}, and epoch {at.epoch} of the leader's log ends at {at.end_offset}"
        )
        if self._rules.raises:
            error = errors.LogTruncated(
                f"{reason}; auto_offset_reset is none",
                topic=topic,
                partition=partition,
                offset=offset,
                position=position,
            )
            self._owner.refuse([cursor], error)
            return
        place = cursor.tp._asdict()
        self._log.warning(
            "position.truncated", **place, reason=reason, offset=offset, position=position
        )
        self._cluster.events.emit(
            "position.truncated", **place, reason=reason, offset=offset, position=position
        )
        self._owner.set_position(cursor, OffsetAndMetadata(offset, at.epoch))


def _cause(held: FetchHeld) -> str:
    """The cause of a hold, for listeners."""
    if isinstance(held.cause, Loss):
        return "lost"
    return "truncated" if isinstance(held.cause, Divergence) else str(held.cause)


def _reason(held: FetchHeld) -> str:
    """Why a partition is held, for the log."""
    if isinstance(held.cause, Loss):
        return f"the connection was lost ({held.cause.message})"
    return errors.line_of(errors.for_code(held.code)) if held.code else "its leader has moved"
