"""The cursors: the position and the route of each assigned partition, and the decisions about held ones.

Station: between inbox and record. Rust fetches a routed partition from its position without Python; this
module gives positions (committed offset, reset policy, seek) and routes (the connection to the leader), and decides
about held partitions. A position is a concrete offset from the assignment on; it is reset only when the current leader answers
that it is out of range, and the reset is logged. Each fetch names the leader epoch of the record before it, so that the leader
reports where its log differs from the records that were read (truncation, KIP-320). A follower that the leader named (KIP-392) is fetched from as long as it
has records. Engine thread only.

Invariants: an assignment makes each partition known to the flow at once, before its metadata arrives, so that a pause in `on_assigned`
holds; a revoked partition loses its pause. Every assignment makes a new `Cursor`, and every seek counts in `Cursor.seeks`, so an
answer that belongs to an earlier assignment or seek is recognized and dropped. A recreated topic has another id, and the old position
means nothing there. A follower is fetched from only on the leader's word, until it refuses or its lease ends; only the leader
decides that a position is out of range.

References: KIP-79, KIP-227, KIP-320, KIP-392, KIP-951, KIP-1106; Java: SubscriptionState, OffsetsRequestManager.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, assert_never

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.leaders import LeaderRoutes
from ottla.cluster.retry import Attempts
from ottla.consumer.commits.automatic import commit_starts
from ottla.consumer.commits.fence import Owned, Ownership
from ottla.consumer.list_offsets import EARLIEST, LATEST, OffsetFinder
from ottla.consumer.reset import ResetPolicy
from ottla.consumer.routes import FetchLanes, FetchTarget, why_no_leader
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.consumer_health import HealthWait
from ottla.observe.log import ClientLog
from ottla.observe.summary import Summary
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.primitives import ZERO_UUID
from ottla.seam.connections import Loss
from ottla.seam.fetching import Divergence, FetchHeld, FetchLaneWanted, FetchThrottled, Follower

if TYPE_CHECKING:
    from ottla._native import FetchFlow
    from ottla.cluster.cluster import Cluster
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.offsets import GroupOffsets
    from ottla.engine.thread import Engine
    from ottla.seam.fetching import FetchEvent
    from ottla.seam.leaders import LeaderHint


_NEXT_OF_REFUSED = "nothing more is fetched of it until a seek or another assignment"
_serials = itertools.count(1)
_STEADY_S = 5.0
"""A partition that flowed this long starts its backoff over when it is held."""


class Cursor:
    """One assigned partition."""

    __slots__ = (
        "attempts",
        "is_routed",
        "ownership",
        "positioned",
        "refusal",
        "replica",
        "routed_at",
        "seeks",
        "since",
        "start_epoch",
        "topic_id",
        "tp",
    )

    def __init__(self, tp: TopicPartition, now: float, epoch: int = -1) -> None:
        self.tp = tp
        self.ownership = Ownership(epoch, next(_serials))
        self.since = now
        """Time since which it waits for a position or a route, by the engine's clock."""
        self.topic_id = ZERO_UUID
        """Id of the topic that its position belongs to; a recreated topic of the same name has another one."""
        self.positioned = False
        self.start_epoch = -1
        """Leader epoch that its latest position came with. Unlike that of a fetched record, the log may never have had it."""
        self.seeks = 0
        """Number of positions that were set: a response to a request before the latest one is dropped."""
        self.refusal: errors.Error | None = None
        """Error for which nothing more is fetched of it; ends with a seek, or when it is assigned again."""
        self.is_routed = False
        """Whether the flow has a route for it."""
        self.replica: int | None = None
        """Node id of the follower that the leader named to fetch from."""
        self.routed_at = 0.0
        """Time of its latest route, by the engine's clock."""
        self.attempts = 0
        """Number of consecutive holds with little time between them, for the backoff."""

    def __repr__(self) -> str:
        return f"<Cursor {self.tp.topic}-{self.tp.partition} positioned={self.positioned} routed={self.is_routed}>"


class Cursors:
    """All assigned partitions of one consumer."""

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        flow: FetchFlow,
        config: ConsumerConfig,
        offsets: GroupOffsets | None,
        finder: OffsetFinder,
    ) -> None:
        self._engine = engine
        self._log = ClientLog("cursor", config.who)
        self._summary = Summary(self._log, lambda s, call: engine.loop.call_later(s, call))
        self._cluster = cluster
        self._flow = flow
        self._offsets = offsets
        self._finder = finder
        self._reset_policy = ResetPolicy.parse(config.auto_offset_reset)
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._cursors: dict[TopicPartition, Cursor] = {}
        target = FetchTarget(
            cluster,
            flow,
            self._log,
            self._summary,
            self._cursors,
            self._topic_recreated,
            lambda cursor, error: self._refuse([cursor], error),
        )
        self._routes = LeaderRoutes(cluster, engine, target, config)
        self._lanes = FetchLanes(cluster, engine, flow, self._log, self._backoff)
        self._positioned: list[tuple[TopicPartition, asyncio.Future[None]]] = []
        """Callers that wait for the position of a partition."""
        self._closed = False
        self._replica_lease_s = config.metadata_max_age_ms / 1000

    def start(self) -> None:
        """Begin to serve the flow's events."""
        self._routes.start()
        self._engine.add_drain(self.drain)

    def stop(self) -> None:
        """Serve no event from now on."""
        self._closed = True
        self._summary.stop()
        self._engine.remove_drain(self.drain)
        self._lanes.stop()
        self._routes.stop()
        self._cursors.clear()
        self._wake_positioned()

    @property
    def assigned(self) -> set[TopicPartition]:
        """The assigned partitions."""
        return set(self._cursors)

    @property
    def owned(self) -> Owned:
        """The ownership of each assigned partition, as a new mapping. Threads: any."""
        return {tp: cursor.ownership for tp, cursor in list(self._cursors.items())}

    def ownership(self, tp: TopicPartition) -> Ownership | None:
        """The ownership of a partition; None: it is not assigned."""
        cursor = self._cursors.get(tp)
        return None if cursor is None else cursor.ownership

    # ---- assignment ----------------------------------------------------------------------------------------------------

    async def assign(
        self, partitions: Iterable[TopicPartition], *, epoch: int = -1, create_topics: bool = False
    ) -> None:
        """Take these partitions in addition; they flow as soon as their positions are known.

        Args:
            partitions: Those that are assigned already keep their ownership.
            epoch: Generation of the group, see `Ownership`.
            create_topics: Whether the application named them, so that the broker may create topics that do not exist.
        """
        added: list[TopicPartition] = []
        for tp in partitions:
            cursor = self._cursors.get(tp)
            if cursor is None:
                added.append(tp)
                self._cursors[tp] = Cursor(tp, self._engine.clock.now(), epoch)
                # At once, so that a pause right after this holds; the topic's id comes with its metadata.
                self._flow.assign(tp.topic, ZERO_UUID, tp.partition)
            elif cursor.refusal is not None:
                self._try_refused_again(cursor, added)
        self._want_topics(create=create_topics)
        self._engine.spawn(
            self._begin([self._cursors[tp] for tp in added]), "start of assigned partitions"
        )

    def _try_refused_again(self, cursor: Cursor, added: list[TopicPartition]) -> None:
        """Assigning a refused partition again gives it another attempt."""
        cursor.refusal = None
        if cursor.positioned:
            self._route_soon(cursor)
        else:
            added.append(cursor.tp)

    def withhold(self, partitions: Iterable[TopicPartition]) -> None:
        """Hand over nothing of these partitions from now on; their positions stay for the last commit. `unassign` follows."""
        for tp in partitions:
            if tp in self._cursors:
                self._flow.withhold(*tp)

    def unassign(self, partitions: Iterable[TopicPartition]) -> None:
        """Unassign these partitions: no record of them is handed over from now on."""
        for tp in partitions:
            if self._cursors.pop(tp, None) is not None:
                self._cluster.health.recovered(str(tp))
                self._routes.forget(tp)
                self._flow.unassign(*tp)
                self._forget_committed(tp)
        self._want_topics()
        self._wake_positioned()

    def _want_topics(self, *, create: bool = False) -> None:
        self._cluster.want_topics(self, {tp.topic for tp in self._cursors}, create=create)

    async def _begin(self, cursors: list[Cursor]) -> None:
        """Find a start position for each partition, with retries. A partition without metadata delays no other one."""
        async for number in Attempts(self._backoff, self._engine.clock):
            waiting = [
                c for c in cursors if self._current(c) and not c.positioned and c.refusal is None
            ]
            if not waiting:
                return
            try:
                await self._begin_once(waiting, number + 1)
            except Exception as error:
                self._log.error(
                    "internal_error.position",
                    exc_info=error,
                    partitions=[str(cursor.tp) for cursor in waiting],
                    reason=error,
                )

    async def _begin_once(self, waiting: list[Cursor], attempts: int) -> None:
        if any(self._cluster.snapshot.partition(*c.tp) is None for c in waiting):
            try:
                await self._cluster.refresh("assigned partitions are not known yet")
            except errors.Error as error:
                # The cluster logs it; one that is permanent concerns every partition.
                if error.permanent:
                    self._refuse(waiting, error)
                    return
        known = [c for c in waiting if self._cluster.snapshot.partition(*c.tp) is not None]
        self._report_unknown([c for c in waiting if c not in known], attempts)
        if known:
            await self._start_at(known)

    def _report_unknown(self, cursors: list[Cursor], attempts: int) -> None:
        """Log once that metadata lacks a partition (it may come), and raise a refusal."""
        for cursor in cursors:
            topic, partition = cursor.tp
            code = self._cluster.snapshot.topic_error(topic)
            error = errors.for_code(code, topic=topic, partition=partition)
            why = why_no_leader(self._cluster.snapshot, cursor.tp)
            if code and error.permanent:
                self._refuse([cursor], error)
            elif attempts == 1 and why is not None:
                self._report_no_position(cursor, why)

    async def _start_at(self, cursors: list[Cursor]) -> None:
        """Set the start positions: committed offsets, else the offsets of the reset policy."""
        wanted = [cursor.tp for cursor in cursors]
        committed: Mapping[TopicPartition, OffsetAndMetadata | None] = dict.fromkeys(wanted)
        try:
            if self._offsets is not None:
                committed = await self._offsets.committed(wanted)
            self._apply_starts(cursors, committed)
            without = [c for c in cursors if committed.get(c.tp) is None and not c.positioned]
            if without and self._reset_policy.raises:
                self._refuse_reset(without, "no committed offset")
            elif without:
                time_ms = self._reset_policy.time_ms(time.time())
                found = await self._find([c.tp for c in without], time_ms)
                starts = {tp: OffsetAndMetadata(offset, -1) for tp, offset in found.items()}
                self._commit_start(self._apply_starts(without, starts))
        except errors.Error as error:
            waiting = [c for c in cursors if not c.positioned]
            if error.permanent:
                self._refuse([c for c in waiting if _concerns(error, c.tp)], error)
                return
            reason = errors.line_of(error)
            for cursor in waiting:
                self._report_no_position(cursor, reason)

    def _report_no_position(self, cursor: Cursor, reason: str) -> None:
        self._cluster.health.trouble(str(cursor.tp), reason, self._engine.clock.now())
        self._summary.add(logging.WARNING, "position.unknown", cursor.tp, reason=reason)

    def _commit_start(self, cursors: list[Cursor]) -> None:
        """Commit the positions that the reset policy gave to partitions of a group, unless it skips nothing when it is applied later.

        Otherwise the next owner would skip the records that were written in between, if this one commits nothing before.
        """
        if self._offsets is None or self._reset_policy.is_stable:
            return
        positions = self._flow.positions()
        starts = {
            cursor.tp: OffsetAndMetadata(*positions[cursor.tp])
            for cursor in cursors
            if cursor.ownership.epoch >= 0 and cursor.tp in positions
        }
        if starts:
            commit = commit_starts(self._offsets, starts, self._log)
            self._engine.spawn(commit, "commit of start positions")

    def _apply_starts(
        self, cursors: list[Cursor], starts: Mapping[TopicPartition, OffsetAndMetadata | None]
    ) -> list[Cursor]:
        """Set the positions of those that have none; returns those."""
        applied: list[Cursor] = []
        for cursor in cursors:
            start = starts.get(cursor.tp)
            if start is not None and not cursor.positioned and self._current(cursor):
                self._set_position(cursor, start)
                applied.append(cursor)
        return applied

    def _refuse_reset(self, cursors: list[Cursor], reason: str) -> None:
        """The policy forbids a reset: raise an error instead."""
        for cursor in cursors:
            topic, partition = cursor.tp
            error = errors.OffsetOutOfRange(
                f"{reason} and auto_offset_reset is none", topic=topic, partition=partition
            )
            self._refuse([cursor], error)

    async def _find(
        self, partitions: list[TopicPartition], time_ms: int
    ) -> dict[TopicPartition, int]:
        """Offsets for a time; the end of a partition without a record that young."""
        found = await self._finder.find(dict.fromkeys(partitions, time_ms))
        none_yet = [tp for tp, answer in found.items() if answer.offset < 0]
        ends = await self._finder.find(dict.fromkeys(none_yet, LATEST)) if none_yet else {}
        return {tp: (ends.get(tp) or answer).offset for tp, answer in found.items()}

    # ---- positions -----------------------------------------------------------------------------------------------------

    def _set_position(self, cursor: Cursor, start: OffsetAndMetadata) -> None:
        cursor.positioned = True
        cursor.start_epoch = start.leader_epoch
        cursor.seeks += 1
        cursor.refusal = None
        self._cluster.health.recovered(str(cursor.tp))
        self._flow.position(*cursor.tp, start.offset, start.leader_epoch)
        self._log.debug("position.set", **cursor.tp._asdict(), offset=start.offset)
        self._wake_positioned()
        self._route_soon(cursor)

    async def seek(self, tp: TopicPartition, position: OffsetAndMetadata) -> None:
        """Continue at this offset; records that were fetched for the earlier position are dropped."""
        self._forget_committed(tp)
        self._set_position(self._require(tp), position)

    def _forget_committed(self, tp: TopicPartition) -> None:
        """The committed offset may change without this client, or is no measure of its progress any more."""
        if self._offsets is not None:
            self._offsets.book.forget([tp])

    async def seek_to_time(self, partitions: Iterable[TopicPartition], time_ms: int) -> None:
        """Continue at the first record at or after a time (or at EARLIEST or LATEST)."""
        wanted = list(partitions)
        for tp in wanted:
            self._require(tp)
        for tp, offset in (await self._find(wanted, time_ms)).items():
            await self.seek(tp, OffsetAndMetadata(offset, -1))

    async def wait_positioned(self, tp: TopicPartition, timeout: float) -> None:
        """Return once the partition has a position or is no longer assigned.

        Raises:
            Error: Why the partition cannot get a position.
            Timeout: It has none within `timeout` seconds.
        """
        if self._is_positioned(tp):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._positioned.append((tp, future))
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            why = self._why_without_position(tp)
            raise errors.Timeout(f"{tp} has no position within {timeout:g} s: {why}") from None

    def _why_without_position(self, tp: TopicPartition) -> str:
        known = self._cluster.snapshot.partition(*tp)
        if known is not None and known.leader >= 0:
            return "its start offset is not known yet"
        why = why_no_leader(self._cluster.snapshot, tp)
        return self._cluster.describe_wait() if why is None else why

    def _is_positioned(self, tp: TopicPartition) -> bool:
        cursor = self._cursors.get(tp)
        if cursor is None or cursor.positioned:
            return True
        if cursor.refusal is not None:
            raise cursor.refusal
        return False

    def _wake_positioned(self) -> None:
        waiting, self._positioned = self._positioned, []
        for tp, future in waiting:
            if future.done():
                continue
            try:
                if self._is_positioned(tp):
                    future.set_result(None)
                else:
                    self._positioned.append((tp, future))
            except errors.Error as error:
                future.set_exception(error)

    def _require(self, tp: TopicPartition) -> Cursor:
        cursor = self._cursors.get(tp)
        if cursor is None:
            raise errors.StateError(f"{tp} is not assigned to this consumer")
        return cursor

    def _current(self, cursor: Cursor) -> bool:
        return not self._closed and self._cursors.get(cursor.tp) is cursor

    def _refuse(self, cursors: list[Cursor], error: errors.Error) -> None:
        """Fetch nothing more of these partitions until a seek or an assignment. The next poll raises the error, once."""
        for cursor in cursors:
            if self._current(cursor) and cursor.refusal is None:
                cursor.refusal = error
                self._routes.end_search(cursor.tp)
                self._flow.fail(*cursor.tp, error)
                self._report_refusal(cursor, error)
        self._wake_positioned()

    def _report_refusal(self, cursor: Cursor, error: errors.Error) -> None:
        reason, kind = errors.line_of(error), type(error).__name__
        now = self._engine.clock.now()
        self._cluster.health.trouble(str(cursor.tp), reason, now, _NEXT_OF_REFUSED)
        self._cluster.events.emit(
            "partition.refused",
            topic=cursor.tp.topic,
            partition=cursor.tp.partition,
            reason=reason,
            error=kind,
        )
        self._summary.add(logging.ERROR, "partition.refused", cursor.tp, reason=reason, error=kind)

    def waits(self, now: float) -> list[HealthWait]:
        """The partitions that wait for a position or a route. Threads: any. now: By the engine's clock, seconds."""
        troubles = self._cluster.health.report()
        waits: list[HealthWait] = []
        for tp, cursor in list(self._cursors.items()):
            if cursor.is_routed or cursor.refusal is not None:
                continue
            waits_for, reason = ("its leader", "a connection to it is being opened")
            if not cursor.positioned:
                waits_for, reason = ("its start position", "its committed offset is requested")
            trouble = troubles.get(str(tp))
            reason = reason if trouble is None else trouble.reason
            waits.append(HealthWait(str(tp), waits_for, reason, max(0.0, now - cursor.since)))
        return waits

    # ---- routes --------------------------------------------------------------------------------------------------------

    def _route_soon(self, cursor: Cursor, delay: float = 0.0) -> None:
        if cursor.refusal is None:
            self._routes.find(cursor.tp, delay)

    def _topic_recreated(self, cursor: Cursor) -> None:
        """The topic of the cursor was recreated: its position is meaningless."""
        topic, partition = cursor.tp
        cursor.positioned = False
        self._engine.spawn(
            self._reset(cursor, f"topic {topic} was deleted and recreated"),
            f"reset of {topic}-{partition}",
        )

    def _withdraw_route(self, cursor: Cursor) -> None:
        """Record that the flow holds the partition."""
        cursor.is_routed = False
        cursor.since = self._engine.clock.now()
        if (route := self._routes.withdraw(cursor.tp)) is not None:
            cursor.routed_at = route.since

    # ---- holds ---------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Serve every event of the flow since the last call. An event that cannot be served loses no other one."""
        for event in self._flow.drain():
            try:
                self._serve(event)
            except Exception as error:
                self._log.error(
                    "internal_error.event", exc_info=error, kind=type(event).__name__, reason=error
                )
                self._recover(event)

    def _serve(self, event: FetchEvent) -> None:
        match event:
            case FetchHeld():
                self._held(event)
            case FetchThrottled(conn, throttle_ms):
                self._routes.report_throttled(conn, throttle_ms, self._summary)
            case FetchLaneWanted(node_id):
                self._lanes.open(node_id, self._routes.leads_to)
            case _:
                assert_never(event)

    def _recover(self, event: FetchEvent) -> None:
        """The flow reports a hold once, so a partition whose hold could not be served gets a route in any case."""
        if not isinstance(event, FetchHeld):
            return
        cursor = self._cursors.get(TopicPartition(event.topic, event.partition))
        if cursor is not None:
            self._withdraw_route(cursor)
            self._route_soon(cursor, self._pause_after_hold(cursor))

    def _held(self, held: FetchHeld) -> None:
        tp = TopicPartition(held.topic, held.partition)
        cursor = self._cursors.get(tp)
        if cursor is None:
            return
        self._withdraw_route(cursor)
        if cursor.refusal is not None:
            return
        if not isinstance(held.cause, Follower):
            self._emit_held(held)
        if held.cause == "asked":
            self._route_soon(cursor)
        elif isinstance(held.cause, Follower):
            self._follow(cursor, held.cause.node_id)
        elif cursor.replica is not None:
            self._log.info("follower.refused", **tp._asdict(), reason=_reason(held))
            cursor.replica = None
            self._cluster.refresh_soon(f"a follower refused {tp}")
            self._route_soon(cursor, self._pause_after_hold(cursor))
        elif held.code == ErrorCode.OFFSET_OUT_OF_RANGE:
            reason = f"offset {held.fetch_offset} of {tp} is out of range"
            self._engine.spawn(self._reset(cursor, reason), f"reset of {tp}")
        elif isinstance(held.cause, Divergence):
            self._diverged(cursor, held.fetch_offset, held.cause)
        elif held.leader is not None:
            self._follow_hint(cursor, held.leader)
        else:
            self._held_by_fault(cursor, held)

    def _emit_held(self, held: FetchHeld) -> None:
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

    def _follow_hint(self, cursor: Cursor, hint: LeaderHint) -> None:
        """The broker named another leader: fetch from that one, after a pause if this repeats."""
        self._cluster.apply_leader_hint(*cursor.tp, hint.node_id, hint.leader_epoch, hint.endpoint)
        pause = self._pause_after_hold(cursor)
        self._route_soon(cursor, pause if cursor.attempts > 1 else 0.0)

    def _held_by_fault(self, cursor: Cursor, held: FetchHeld) -> None:
        """An error code or a lost connection: search a route after a pause, with newer metadata."""
        topic, partition = cursor.tp
        if held.code:
            error = errors.for_code(held.code, "fetch", topic=topic, partition=partition)
            if error.permanent:
                self._refuse([cursor], error)
                return
        reason = _reason(held)
        self._summary.add(logging.INFO, "partition.held", cursor.tp, reason=reason)
        self._cluster.refresh_soon(f"{topic}-{partition} is held: {reason}")
        self._route_soon(cursor, self._pause_after_hold(cursor))

    def _pause_after_hold(self, cursor: Cursor) -> float:
        """Seconds before the next route; longer for each consecutive hold."""
        if self._engine.clock.now() - cursor.routed_at > _STEADY_S:
            cursor.attempts = 0
        cursor.attempts += 1
        return self._backoff.delay(cursor.attempts)

    def _follow(self, cursor: Cursor, replica: int) -> None:
        """Fetch from the follower that the leader named, until it refuses or its lease ends; then from the leader again."""
        pause = self._pause_after_hold(cursor)
        again = cursor.attempts > 1
        cursor.replica = replica
        self._engine.loop.call_later(self._replica_lease_s, self._end_lease, cursor, replica)
        self._log.debug("follower.used", **cursor.tp._asdict(), node=replica)
        self._route_soon(cursor, pause if again else 0.0)

    def _end_lease(self, cursor: Cursor, replica: int) -> None:
        if self._current(cursor) and cursor.replica == replica:
            cursor.replica = None
            self._flow.hold(*cursor.tp)

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
            self._set_position(cursor, OffsetAndMetadata(position, at.epoch))
            return
        pause = self._pause_after_hold(cursor)
        self._route_soon(cursor, pause if cursor.attempts > 1 else 0.0)

    def _truncated(self, cursor: Cursor, position: int, at: Divergence) -> None:
        """Records that were read are gone: continue where the logs part, or raise."""
        topic, partition = cursor.tp
        offset = min(at.end_offset, position)
        reason = (
            f"{topic}-{partition} was truncated at offset {offset}: records up to {position} were read in leader epoch "
            f"{at.fetched_epoch}, and epoch {at.epoch} of the leader's log ends at {at.end_offset}"
        )
        if self._reset_policy.raises:
            error = errors.LogTruncated(
                f"{reason}; auto_offset_reset is none",
                topic=topic,
                partition=partition,
                offset=offset,
                position=position,
            )
            self._refuse([cursor], error)
            return
        place = cursor.tp._asdict()
        self._log.warning(
            "position.truncated", **place, reason=reason, offset=offset, position=position
        )
        self._cluster.events.emit(
            "position.truncated", **place, reason=reason, offset=offset, position=position
        )
        self._set_position(cursor, OffsetAndMetadata(offset, at.epoch))

    async def _reset(self, cursor: Cursor, reason: str) -> None:
        """The position is not in the log: set that of the reset policy and log it, or raise."""
        if self._reset_policy.raises:
            self._refuse_reset([cursor], reason)
            return
        seeks = cursor.seeks
        async for _ in Attempts(self._backoff, self._engine.clock):
            if not self._current(cursor) or cursor.seeks != seeks or cursor.refusal is not None:
                return
            try:
                offset = await self._reset_offset(cursor)
            except Exception as error:
                self._log.error(
                    "internal_error.position",
                    exc_info=error,
                    partitions=[str(cursor.tp)],
                    reason=error,
                )
                continue
            if offset is not None and self._current(cursor) and cursor.seeks == seeks:
                self._report_reset(cursor, reason, offset)
                self._set_position(cursor, OffsetAndMetadata(offset, -1))
                self._commit_start([cursor])
                return

    def _report_reset(self, cursor: Cursor, reason: str, offset: int) -> None:
        self._log.warning(
            "position.reset",
            **cursor.tp._asdict(),
            reason=reason,
            offset=offset,
            reset_policy=self._reset_policy.name,
        )
        self._cluster.events.emit(
            "position.reset",
            topic=cursor.tp.topic,
            partition=cursor.tp.partition,
            reason=reason,
            offset=offset,
        )

    async def _reset_offset(self, cursor: Cursor) -> int | None:
        """The offset of the reset policy; None: it is not available yet, or refused."""
        try:
            found = await self._find([cursor.tp], self._reset_policy.time_ms(time.time()))
            return found[cursor.tp]
        except errors.Error as error:
            if error.permanent:
                self._refuse([cursor], error)
                return None
            reason = errors.line_of(error)
            self._cluster.health.trouble(str(cursor.tp), reason, self._engine.clock.now())
            self._summary.add(logging.WARNING, "position.reset_failed", cursor.tp, reason=reason)
            return None


def _concerns(error: errors.Error, tp: TopicPartition) -> bool:
    """Whether an error of a request for many partitions is about this one."""
    if error.topic is None:
        return True
    whole_topic = (
        isinstance(error, errors.KafkaError) and error.code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    )
    return error.topic == tp.topic and (whole_topic or error.partition in (None, tp.partition))


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


__all__ = ["EARLIEST", "LATEST", "Cursor", "Cursors"]
