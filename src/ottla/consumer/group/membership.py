"""Membership: carries out the actions of the member's state machine, and feeds their results back.

Engine thread only. The I/O thread sends the heartbeats, so neither a slow handler nor a held GIL gets the member evicted;
`max_poll_interval_ms` detects a stuck application, and is enforced here.

References: KIP-62, KIP-266, KIP-345, KIP-394, KIP-800; Java: AbstractCoordinator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.consumer.commits.fence import CommitIdentity
from ottla.consumer.group import classic
from ottla.consumer.group.assignors import ASSIGNORS, Member
from ottla.consumer.group.beat import Beat
from ottla.consumer.group.embedded import (
    decode_assignment,
    decode_topics,
    encode_assignment,
    encode_subscription,
)
from ottla.consumer.group.waiting import RebalanceWait
from ottla.consumer.liveness import Liveness, Tokens
from ottla.message import TopicPartition
from ottla.observe.consumer_health import HealthWait, MemberHealth
from ottla.observe.log import ClientLog
from ottla.protocol.messages.heartbeat import HeartbeatRequest
from ottla.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.protocol.messages.leave_group import LeaveGroupRequest, MemberIdentity
from ottla.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.group.link import GroupLink
    from ottla.engine.thread import Engine
    from ottla.wire.connection import Connection


_PROTOCOL_TYPE = "consumer"
_REBALANCING = frozenset(
    {
        classic.State.JOINING,
        classic.State.PLANNING,
        classic.State.SYNCING,
        classic.State.REVOKING,
    }
)
_FIRST_REASONS: dict[type[Any], str] = {
    classic.Begin: "the member joins for the first time",
    classic.Polled: "the application polls again",
}
_STALLED = "it has not asked for a record within max_poll_interval_ms"
_WAITS: dict[classic.State, tuple[str, str]] = {
    classic.State.JOINING: (
        "the other members",
        "the coordinator answers once every member has joined: it waits for a dead one until its session_timeout_ms ends, "
        "for a busy one until its max_poll_interval_ms",
    ),
    classic.State.PLANNING: ("the metadata", "the assignment of all members is computed"),
    classic.State.SYNCING: ("the leader of the group", "the assignment has not come yet"),
    classic.State.REVOKING: (
        "the application",
        "partitions are revoked once it polls and `on_revoked` has returned, or its claims end",
    ),
    classic.State.STALE: ("the application", _STALLED),
}
"""Whom a member waits for in each state, and why."""
_LEAVE_TIMEOUT_S = 3.0
"""Seconds that a leaving member waits for the coordinator's answer; without one the session timeout ends the membership."""
_FIRST_ANSWER_S = 1.0
"""Seconds that a leaving member waits for its member id: the coordinator answers the first JoinGroup at once."""


class Application(Protocol):
    """The consumer, as seen by its membership. Engine thread."""

    async def wait_for_losses(self) -> None:
        """Wait until the application has served every loss."""

    async def assign(self, partitions: Sequence[TopicPartition], generation: int) -> None:
        """Start these partitions, which the member owns now."""

    async def revoke(self, partitions: Sequence[TopicPartition]) -> None:
        """Let the application finish these partitions, and commit; returns when it processes no record of them."""

    def lose(self, partitions: Sequence[TopicPartition], reason: str) -> None:
        """Stop these partitions, which may belong to another member already."""

    def fail(self, error: errors.Error) -> None:
        """The group refused this consumer for good."""

    def tokens(self) -> Tokens:
        """Tokens of the readers, see `Liveness`."""


class ClassicMembership:
    """The membership of one consumer in a classic group."""

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        link: GroupLink,
        config: ConsumerConfig,
        application: Application,
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._link = link
        self._log = ClientLog("group", config.who)
        self._config = config
        self._group_id = link.group_id
        self._report = link.report
        self._since = engine.clock.now()
        """Time at which the member took its state."""
        self._application = application
        self._member = classic.ClassicMember()
        self._topics: frozenset[str] = frozenset()
        self._beat: Beat | None = None
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._failures = 0
        self._planned_for: dict[str, int] = {}
        """Partition counts that the current assignment covers, where this member is the leader."""
        self._left: asyncio.Future[None] | None = None
        self._liveness = Liveness(config.max_poll_interval_ms / 1000)
        self._watchdog: asyncio.TimerHandle | None = None
        self._waiting = RebalanceWait(engine, self._log, link.group_id, self._describe_wait)
        self._join_problem = ""
        """Why the latest attempt to join failed."""
        self._joined_topics: frozenset[str] = frozenset()
        """Topics of the latest JoinGroup."""
        self._first_join: asyncio.Task[Any] | None = None
        """The JoinGroup in flight that will give the member its id."""
        self._turn = asyncio.Lock()
        """Orders assignments and revocations; a loss waits for neither."""

    # ---- calls of the consumer -----------------------------------------------------------------------------------------

    @property
    def identity(self) -> CommitIdentity:
        """The identity under which offsets are committed now."""
        return CommitIdentity(
            self._member.member_id, self._member.generation, self._config.group_instance_id
        )

    @property
    def waits_for_poll(self) -> bool:
        """Whether the member left because the application did not poll, and joins again with the next poll."""
        return self._member.state is classic.State.STALE

    def health(self) -> MemberHealth:
        """The membership now. Threads: any."""
        member = self._member
        return MemberHealth(
            group_id=self._group_id,
            state=member.state.value,
            member_id=member.member_id,
            generation=member.generation,
            assigned=len(member.owned),
        )

    def waits(self, now: float) -> list[HealthWait]:
        """Whom the member waits for. Threads: any. now: By the engine's clock, seconds."""
        waits_for, reason = self._describe_wait()
        if not waits_for:
            return []
        return [HealthWait("group", waits_for, reason, max(0.0, now - self._since))]

    def _describe_wait(self) -> tuple[str, str]:
        """Whom the member waits for, and why; empty texts: for nobody."""
        if self._join_problem and self._member.state is classic.State.JOINING:
            return "the coordinator", self._join_problem
        return _WAITS.get(self._member.state, ("", ""))

    def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group for these topics, or join again if they changed."""
        wanted = frozenset(topics)
        if wanted == self._topics and self._member.state is not classic.State.UNJOINED:
            return
        self._topics = wanted
        self._cluster.want_topics(self, wanted, create=True)
        if self._watchdog is None:
            self._watch()
        self._feed(
            classic.Polled() if self._member.state is classic.State.STALE else classic.Begin()
        )

    def metadata_changed(self) -> None:
        """Start a rebalance if this member is the leader and the partitions of the topics changed."""
        if self._planned_for and self._partition_counts(self._planned_for) != self._planned_for:
            self._planned_for = {}
            self._feed(classic.NewTopics())

    def commit_refused(self, identity: CommitIdentity, code: int) -> None:
        """The answer to a commit under this identity ends the membership, unless a later one has begun."""
        if identity == self.identity:
            self._feed(classic.CommitAnswered(code))

    def polled(self) -> None:
        """The application polls again after it had not polled for too long: join again."""
        self._feed(classic.Polled())

    async def leave(self, leaves: bool | None = None) -> None:
        """End the membership. Never raises.

        leaves: Whether to send LeaveGroup, so that the partitions move at once. None: as `leave_group_on_close`, and without
            that a static member stays until its session ends.
        """
        if leaves is None:
            leaves = self._config.leave_group_on_close
        if leaves is None:
            leaves = self._config.group_instance_id is None
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._cluster.want_topics(self, ())
        self._plan_for({})
        if self._member.state in (classic.State.LEFT, classic.State.FAILED):
            return
        if leaves and self._first_join is not None:
            # Without its id the member cannot leave, and the group would wait for it until its session ends.
            await asyncio.wait({self._first_join}, timeout=_FIRST_ANSWER_S)
        self._left = asyncio.get_running_loop().create_future()
        self._feed(classic.Leave(leaves))
        if not self._left.done():
            await self._left

    # ---- the machine ---------------------------------------------------------------------------------------------------

    def _feed(self, event: classic.Event) -> None:
        before = self._member.state
        actions = self._member.step(event)
        if self._member.state is not before:
            self._log.debug(
                "group.state_changed",
                group=self._group_id,
                previous_state=before.value,
                state=self._member.state.value,
                trigger=type(event).__name__,
            )
            self._state_changed(before, event, actions)
        for action in actions:
            self._do(action)

    def _state_changed(
        self, before: classic.State, event: classic.Event, actions: Sequence[classic.Action]
    ) -> None:
        self._since = self._engine.clock.now()
        now = self._member.state
        if now in _REBALANCING:
            self._waiting.begin()
        else:
            self._waiting.end()
        if now in _REBALANCING and before not in _REBALANCING:
            reasons = (
                one.reason for one in actions if isinstance(one, classic.Revoke | classic.Lose)
            )
            self._report.start_rebalance(next(reasons, _FIRST_REASONS.get(type(event), "")))
        elif now is classic.State.STALE:
            self._report.abort_rebalance()
            self._report.report_stalled(_STALLED)
        if before is classic.State.STALE:
            self._report.report_poll()

    def _do(self, action: classic.Action) -> None:
        match action:
            case classic.StopBeat():
                self._stop_beat()
                self._left_now()
                return
            case classic.Fail():
                self._fail(action)
                return
            case classic.Join():
                work = self._join(action)
            case classic.Plan():
                work = self._plan(action)
            case classic.Sync():
                work = self._sync(action)
            case classic.Assign():
                work = self._assign(action)
            case classic.Revoke():
                work = self._revoke(action)
            case classic.Lose():
                # At once, so that the application receives the loss before a call raises an error for it.
                self._lose(action)
                return
            case classic.MoveBeat():
                work = self._move_beat()
            case classic.SendLeave():
                work = self._send_leave(action)
            case _:
                assert_never(action)
        self._engine.spawn(work, f"{type(action).__name__} of group {self._group_id}")

    def _fail(self, action: classic.Fail) -> None:
        error = errors.for_code(action.code, f"group {self._group_id!r}")
        self._log.error("group.failed", group=self._group_id, reason=error, count=action.lost)
        self._report.report_failure(error)
        self._application.fail(error)

    def _left_now(self) -> None:
        """The member has left: `leave` returns."""
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    # ---- joining -------------------------------------------------------------------------------------------------------

    async def _join(self, action: classic.Join) -> None:
        if action.find_coordinator:
            self._link.forget_coordinator()
        if action.backoff:
            self._failures += 1
            await asyncio.sleep(self._backoff.delay(self._failures))
        else:
            self._failures = 0
        try:
            connection = await self._link.connection(Role.JOIN)
            response = await self._send_join(connection, action.member_id)
            members = [
                Member(m.member_id, m.group_instance_id, decode_topics(m.metadata))
                for m in response.members
            ]
        except errors.Error as error:
            self._join_failed(action.turn, error)
            return
        self._join_problem = ""
        if response.error_code:
            self._feed(classic.Refused(action.turn, response.error_code, response.member_id))
            return
        leader = response.leader == response.member_id
        if not leader:
            self._plan_for({})
        self._feed(
            classic.Joined(
                action.turn,
                response.member_id,
                response.generation_id,
                response.protocol_name or "",
                leader,
                members,
                response.skip_assignment,
            )
        )

    def _join_failed(self, turn: int, error: errors.Error) -> None:
        self._join_problem = errors.line_of(error)
        self._log.info("group.join_failed", group=self._group_id, reason=error)
        self._report.report_unreachable(self._join_problem)
        self._feed(classic.Unreachable(turn))

    async def _send_join(self, connection: Connection, member_id: str) -> Any:
        version = connection.version_for(JoinGroupRequest)
        rebalance_s = self._config.max_poll_interval_ms / 1000
        self._joined_topics = self._topics
        subscription = encode_subscription(self._topics)
        request = JoinGroupRequest(
            group_id=self._group_id,
            session_timeout_ms=int(self._config.session_timeout_ms),
            rebalance_timeout_ms=int(self._config.max_poll_interval_ms) if version >= 1 else -1,
            member_id=member_id,
            group_instance_id=self._config.group_instance_id if version >= 5 else None,
            protocol_type=_PROTOCOL_TYPE,
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=subscription)
                for name in self._config.partition_assignment_strategy
            ],
        )
        # The coordinator answers when every member has joined, which takes as long as the slowest member may take.
        if not member_id:
            self._first_join = asyncio.current_task()
        try:
            return await connection.request(request, timeout=rebalance_s + 5.0, version=version)
        finally:
            self._first_join = None

    async def _plan(self, action: classic.Plan) -> None:
        topics = {topic for member in action.members for topic in member.topics}
        # Other members may have named topics of which this one knows nothing.
        self._cluster.want_topics((self, "plan"), topics)
        if any(self._cluster.snapshot.topic(topic) is None for topic in topics):
            try:
                await self._cluster.refresh("topics of the group are shared out")
            except errors.Error as error:
                self._join_failed(action.turn, error)
                return
        counts = self._partition_counts(topics)
        assignment = ASSIGNORS[action.protocol](action.members, counts)
        self._plan_for(dict.fromkeys(topics, 0) | counts)
        self._feed(
            classic.Planned(
                action.turn, {member: encode_assignment(tps) for member, tps in assignment.items()}
            )
        )

    def _plan_for(self, counts: dict[str, int]) -> None:
        """The assignment of the group rests on these partition counts; empty: another member assigns."""
        self._planned_for = counts
        self._cluster.want_topics((self, "plan"), counts)

    def _partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for topic in topics:
            known = self._cluster.snapshot.topic(topic)
            counts[topic] = 0 if known is None else len(known.partitions)
        return counts

    async def _sync(self, action: classic.Sync) -> None:
        try:
            connection = await self._link.connection(Role.JOIN)
            version = connection.version_for(SyncGroupRequest)
            response = await connection.request(
                SyncGroupRequest(
                    group_id=self._group_id,
                    generation_id=action.generation,
                    member_id=action.member_id,
                    group_instance_id=self._config.group_instance_id if version >= 3 else None,
                    protocol_type=_PROTOCOL_TYPE if version >= 5 else None,
                    protocol_name=action.protocol if version >= 5 else None,
                    assignments=[
                        SyncGroupRequestAssignment(member_id=member, assignment=data)
                        for member, data in action.assignments.items()
                    ],
                ),
                timeout=self._config.max_poll_interval_ms / 1000 + 5.0,
                version=version,
            )
            assigned = decode_assignment(bytes(response.assignment))
        except errors.Error as error:
            self._join_failed(action.turn, error)
            return
        if response.error_code:
            self._feed(classic.Refused(action.turn, response.error_code))
        else:
            self._feed(classic.Synced(action.turn, self._readable(assigned)))

    def _readable(self, assigned: list[TopicPartition]) -> list[TopicPartition]:
        """The assigned partitions without those that this member did not ask for, which no member reads then."""
        readable = [tp for tp in assigned if tp.topic in self._joined_topics and tp.partition >= 0]
        if len(readable) < len(assigned):
            self._log.error(
                "assignment.refused",
                group=self._group_id,
                partitions=_names(set(assigned) - set(readable)),
                reason="this member does not subscribe to the topic, or the number is none of a partition",
            )
        if any(not self._link.knows(tp) for tp in readable):
            self._link.refresh_metadata(
                "the assignment has partitions that the metadata does not have"
            )
        return readable

    # ---- being a member ------------------------------------------------------------------------------------------------

    async def _assign(self, action: classic.Assign) -> None:
        self._failures = 0
        self._log.info(
            "group.assigned",
            group=self._group_id,
            generation=action.generation,
            partitions=_names(action.partitions),
        )
        async with self._turn:
            await self._start_beat()
            await self._application.wait_for_losses()
            # Unless the partitions were lost, or the group was left, during the wait.
            if self._member.owned is action.partitions and self._is_member():
                self._report.end_rebalance(action.partitions, action.generation)
                await self._application.assign(action.partitions, action.generation)

    def _is_member(self) -> bool:
        return self._member.state in (classic.State.STABLE, classic.State.REVOKING)

    async def _start_beat(self) -> None:
        self._stop_beat()
        try:
            connection = await self._link.connection()
        except errors.Error as error:
            self._log.warning("heartbeat.stopped", group=self._group_id, reason=error)
            self._report.report_heartbeat_stopped(errors.line_of(error))
            self._feed(classic.CoordinatorLost())
            return
        self._stop_beat()
        if not self._is_member():
            return
        version = connection.version_for(HeartbeatRequest)
        request = HeartbeatRequest(
            group_id=self._group_id,
            generation_id=self._member.generation,
            member_id=self._member.member_id,
            group_instance_id=self._config.group_instance_id if version >= 3 else None,
        )
        self._beat = Beat(
            self._engine.port,
            connection,
            request,
            self._config,
            on_error=lambda code: self._feed(classic.BeatAnswered(code)),
            on_lost=self._beat_lost,
        )
        self._report.report_reached()

    def _beat_lost(self, reason: str) -> None:
        self._log.warning("heartbeat.stopped", group=self._group_id, reason=reason)
        self._report.report_heartbeat_stopped(reason)
        self._beat = None
        self._feed(classic.CoordinatorLost())

    def _stop_beat(self) -> None:
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.stop()

    async def _move_beat(self) -> None:
        self._link.forget_coordinator()
        self._failures += 1
        await asyncio.sleep(self._backoff.delay(self._failures))
        if self._is_member():
            await self._start_beat()

    async def _revoke(self, action: classic.Revoke) -> None:
        self._log.info(
            "rebalance.started",
            group=self._group_id,
            reason=action.reason,
            partitions=_names(action.partitions),
        )
        async with self._turn:
            if action.turn == self._member.turn:
                await self._application.revoke(action.partitions)
                self._report.report_revocation(action.partitions)
        self._feed(classic.Revoked(action.turn))

    def _lose(self, action: classic.Lose) -> None:
        self._stop_beat()
        # A refusal for good is one failure and has its own line, see `_do`.
        if action.partitions and self._member.state is not classic.State.FAILED:
            self._log.warning(
                "partition.lost",
                group=self._group_id,
                partitions=_names(action.partitions),
                reason=action.reason,
                next_step="the member joins again"
                + (" at the next poll" if self._member.state is classic.State.STALE else ""),
            )
        self._report.report_loss(action.partitions, action.reason)
        self._application.lose(action.partitions, action.reason)

    async def _send_leave(self, action: classic.SendLeave) -> None:
        self._stop_beat()
        try:
            connection = await asyncio.wait_for(self._link.connection(), _LEAVE_TIMEOUT_S)
            version = connection.version_for(LeaveGroupRequest)
            if version >= 3:
                reason = action.reason if version >= 5 else None
                request = LeaveGroupRequest(
                    group_id=self._group_id,
                    members=[
                        MemberIdentity(
                            member_id=action.member_id,
                            group_instance_id=self._config.group_instance_id,
                            reason=reason,
                        )
                    ],
                )
            else:
                request = LeaveGroupRequest(group_id=self._group_id, member_id=action.member_id)
            await connection.request(request, timeout=_LEAVE_TIMEOUT_S, version=version)
        except (errors.Error, TimeoutError) as error:
            self._log.info("group.leave_failed", group=self._group_id, reason=error)
        finally:
            self._left_now()

    # ---- a stuck application -------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Check the application five times per `max_poll_interval_ms`."""
        loop = self._engine.loop
        if self._liveness.stuck(self._application.tokens(), loop.time()):
            self._feed(classic.PolledTooLate())
        self._watchdog = loop.call_later(self._config.max_poll_interval_ms / 5000, self._watch)


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    """Partitions as the log names them."""
    return [f"{topic}-{partition}" for topic, partition in partitions]
