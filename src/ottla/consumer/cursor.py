"""The cursors: the position and the route of each assigned partition.

Station: between inbox and record. Rust fetches a routed partition from its position without Python; this
module gives positions (`starts` finds them) and routes (the connection to the leader), and passes held partitions to
`holds`. A position is a concrete offset from the assignment on; it is reset only when the current leader answers
that it is out of range, and the reset is logged. Each fetch names the leader epoch of the record before it, so that the leader
reports where its log differs from the records that were read (truncation, KIP-320). A follower that the leader named (KIP-392) is
fetched from as long as it has records. Engine thread only.

Invariants: an assignment makes each partition known to the flow at once, before its metadata arrives, so that a pause in `on_assigned`
holds; a revoked partition loses its pause. Every assignment makes a new `Cursor`, and every seek counts in `Cursor.seeks`, so an
answer that belongs to an earlier assignment or seek is recognized and dropped. A recreated topic has another id, and the old position
means nothing there. A seek is possible at any time after the assignment, and ends a refusal.

References: KIP-79, KIP-227, KIP-320, KIP-392, KIP-951, KIP-1106; Java: SubscriptionState, OffsetsRequestManager.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, assert_never

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.leaders import LeaderRoutes
from ottla.consumer.commits.fence import Owned, Ownership
from ottla.consumer.holds import FetchHolds, Rules
from ottla.consumer.list_offsets import (
    EARLIEST,
    LATEST,
    WHOLE_TOPIC,
    FoundOffset,
    OffsetFinder,
)
from ottla.consumer.positioned import PositionWaiters
from ottla.consumer.reset import ResetPolicy
from ottla.consumer.routes import FetchLanes, FetchTarget
from ottla.consumer.starts import Starts
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.consumer_health import HealthWait
from ottla.observe.log import ClientLog
from ottla.observe.summary import Summary
from ottla.protocol.primitives import ZERO_UUID
from ottla.seam.fetching import FetchHeld, FetchLaneWanted, FetchThrottled

if TYPE_CHECKING:
    from ottla._native import FetchFlow
    from ottla.cluster.cluster import Cluster
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.offsets import GroupOffsets
    from ottla.engine.thread import Engine
    from ottla.seam.fetching import FetchEvent


_NEXT_OF_REFUSED = "nothing more is fetched of it until a seek or another assignment"
_serials = itertools.count(1)


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
        self._cursors: dict[TopicPartition, Cursor] = {}
        self._policy = policy = ResetPolicy.parse(config.auto_offset_reset)
        backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        target = FetchTarget(
            cluster,
            flow,
            self._log,
            self._summary,
            self._cursors,
            self._topic_recreated,
            lambda cursor, error: self.refuse([cursor], error),
        )
        self._routes = LeaderRoutes(cluster, engine, target, config)
        self._lanes = FetchLanes(cluster, engine, flow, self._log, backoff)
        self._starts = Starts(engine, offsets, finder, policy, backoff, self, self._log)
        rules = Rules(backoff, config.metadata_max_age_ms / 1000, policy.raises)
        self._holds = FetchHolds(
            engine, cluster, self._log, self._summary, rules, self._starts, self
        )
        self._waiters = PositionWaiters(cluster, engine.clock, self._cursors)
        self._closed = False

    def start_at_beginning(self, is_added: Callable[[TopicPartition], bool]) -> None:
        """Start added partitions at their first record where they have no committed offset, also with latest."""
        self._starts.is_added = is_added

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
        self._waiters.wake()

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

    def topic_id(self, tp: TopicPartition) -> bytes:
        """Id of the topic that the position of a partition belongs to; zero: it is not known."""
        cursor = self._cursors.get(tp)
        return ZERO_UUID if cursor is None else cursor.topic_id

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
        self._starts.begin([self._cursors[tp] for tp in added])

    def _try_refused_again(self, cursor: Cursor, added: list[TopicPartition]) -> None:
        """Assigning a refused partition again gives it another attempt."""
        cursor.refusal = None
        if cursor.positioned:
            self.route_soon(cursor)
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
        self._waiters.wake()

    def _want_topics(self, *, create: bool = False) -> None:
        self._cluster.want_topics(self, {tp.topic for tp in self._cursors}, create=create)

    def report_no_position(self, cursor: Cursor, reason: str, failures: int) -> None:
        """An attempt to find the position failed, the first of a row as a warning; another one follows."""
        self._cluster.health.trouble(str(cursor.tp), reason, self._engine.clock.now())
        level = logging.WARNING if failures == 1 else logging.DEBUG
        self._summary.add(level, "position.unknown", cursor.tp, reason=reason)

    def report_reset(self, cursor: Cursor, reason: str, offset: int) -> None:
        """The position is reset: a warning and an event."""
        place, policy = cursor.tp._asdict(), self._policy.name
        self._log.warning(
            "position.reset", **place, reason=reason, offset=offset, reset_policy=policy
        )
        self._cluster.events.emit("position.reset", **place, reason=reason, offset=offset)

    def report_internal(self, partitions: Iterable[TopicPartition], error: Exception) -> None:
        """An attempt to find positions failed by a fault of this client; another one follows."""
        names = [str(tp) for tp in partitions]
        self._log.error("internal_error.position", exc_info=error, partitions=names, reason=error)

    # ---- positions -----------------------------------------------------------------------------------------------------

    def set_position(self, cursor: Cursor, start: OffsetAndMetadata) -> None:
        """Continue at this offset."""
        cursor.positioned = True
        cursor.start_epoch = start.leader_epoch
        cursor.seeks += 1
        cursor.refusal = None
        self._cluster.health.recovered(str(cursor.tp))
        self._flow.withdraw_error(*cursor.tp)
        self._flow.position(*cursor.tp, start.offset, start.leader_epoch)
        self._log.debug("position.set", **cursor.tp._asdict(), offset=start.offset)
        self._waiters.wake()
        self.route_soon(cursor)

    async def seek(self, tp: TopicPartition, position: OffsetAndMetadata) -> None:
        """Continue at this offset; records that were fetched for the earlier position are dropped."""
        self._forget_committed(tp)
        self.set_position(self._require(tp), position)

    def _forget_committed(self, tp: TopicPartition) -> None:
        """The committed offset may change without this client, or is no measure of its progress any more."""
        if self._offsets is not None:
            self._offsets.book.forget([tp])

    async def seek_to_time(self, partitions: Iterable[TopicPartition], time_ms: int) -> None:
        """Continue at the first record at or after a time (or at EARLIEST or LATEST)."""
        wanted = list(partitions)
        for tp in wanted:
            self._require(tp)
        for tp, answer in (await self._find(wanted, time_ms)).items():
            await self.seek(tp, OffsetAndMetadata(answer.offset, answer.leader_epoch))

    async def _find(
        self, partitions: list[TopicPartition], time_ms: int
    ) -> dict[TopicPartition, FoundOffset]:
        """Offsets for a time; the end of a partition without a record that young."""
        found = await self._finder.find(dict.fromkeys(partitions, time_ms))
        none_yet = [tp for tp, answer in found.items() if answer.offset < 0]
        return found | (
            await self._finder.find(dict.fromkeys(none_yet, LATEST)) if none_yet else {}
        )

    async def wait_positioned(self, partitions: Iterable[TopicPartition], timeout: float) -> None:
        """Return once each partition has a position or is no longer assigned, see `PositionWaiters.wait`."""
        await self._waiters.wait(partitions, timeout)

    def _require(self, tp: TopicPartition) -> Cursor:
        cursor = self._cursors.get(tp)
        if cursor is None:
            raise errors.StateError(f"{tp} is not assigned to this consumer")
        return cursor

    def is_current(self, cursor: Cursor) -> bool:
        """Whether the cursor is still assigned."""
        return not self._closed and self._cursors.get(cursor.tp) is cursor

    def refuse(self, cursors: Sequence[Cursor], error: errors.Error) -> None:
        """Fetch nothing more of these partitions until a seek or an assignment. The next poll raises the error, once."""
        for cursor in cursors:
            if self.is_current(cursor) and cursor.refusal is None:
                cursor.refusal = self._of_whole_topic(cursor.tp.topic, error)
                self._routes.end_search(cursor.tp)
                self._flow.fail(*cursor.tp, cursor.refusal)
                self._report_refusal(cursor, error)
        self._waiters.wake()

    def _of_whole_topic(self, topic: str, error: errors.Error) -> errors.Error:
        """The error that another partition has for the same refusal of their topic: a poll raises it once."""
        if not isinstance(error, errors.KafkaError) or error.code not in WHOLE_TOPIC:
            return error
        for other in self._cursors.values():
            refusal = other.refusal
            is_same = isinstance(refusal, errors.KafkaError) and refusal.code == error.code
            if other.tp.topic == topic and is_same and refusal is not None:
                return refusal
        return error

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

    def route_soon(self, cursor: Cursor, delay: float = 0.0) -> None:
        """Search a route, after this number of seconds."""
        if cursor.refusal is None:
            self._routes.find(cursor.tp, delay)

    def _topic_recreated(self, cursor: Cursor) -> None:
        """The topic of the cursor was recreated: its position is meaningless."""
        cursor.positioned = False
        self._starts.reset(cursor, f"topic {cursor.tp.topic} was deleted and recreated")

    def hold(self, cursor: Cursor) -> None:
        """Hold the partition; the flow reports it."""
        self._flow.hold(*cursor.tp)

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
            self.route_soon(cursor, self._holds.pause_after(cursor))

    def _held(self, held: FetchHeld) -> None:
        tp = TopicPartition(held.topic, held.partition)
        cursor = self._cursors.get(tp)
        if cursor is None:
            return
        self._withdraw_route(cursor)
        if cursor.refusal is None:
            self._holds.decide(cursor, held)


__all__ = ["EARLIEST", "LATEST", "Cursor", "Cursors"]
