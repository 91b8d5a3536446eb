"""The classic group coordinator: a state machine without I/O; waiting requests are callbacks.

    Empty -> PreparingRebalance -> CompletingRebalance -> Stable
                    ^------------------------------------'

PreparingRebalance is the join barrier: it ends when every member has joined again, or at the rebalance timeout, which removes
the others. CompletingRebalance ends with the leader's assignment. Every call takes the time; `next_deadline` is the time at
which `expire` has to be called. References: KIP-62 (timeouts), KIP-345 (static members), KIP-394 (member ids),
KIP-814 (returning leaders); Java: `GroupMetadataManager`, `ClassicGroup`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from uuid import uuid4

from ottla.protocol.error_codes import ErrorCode
from ottla.testing.broker.state.members import (
    Join,
    Joined,
    JoinReply,
    Member,
    Synced,
    SyncReply,
    Who,
    common_protocols,
    elect_protocol,
)
from ottla.testing.broker.state.offsets import Offsets


class State(StrEnum):
    """Names as DescribeGroups gives them."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


class Group:
    """One group: its members, its generation and its offsets."""

    def __init__(self, name: str, initial_delay: float = 0.0) -> None:
        self.name = name
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self.offsets = Offsets()
        self._initial_delay = initial_delay
        self._barrier_from = 0.0
        """The join barrier stays shut until then, so that a new group gathers members."""
        self._is_first_barrier = False
        """The barrier of a group that was empty waits for time alone, not for ids that were handed out."""
        self._rebalance_deadline = math.inf
        """Time at which the barrier, or the wait for assignments, ends without the missing members."""
        self._static: dict[str, str] = {}
        """Instance id to member id."""
        self._pending: dict[str, float] = {}
        """Ids handed out with MEMBER_ID_REQUIRED, until when the member may come back."""

    # ---- JoinGroup -----------------------------------------------------------------------------------------------

    def join(self, join: Join, now: float, reply: JoinReply) -> None:
        """Let a member in, new or again; `reply` is called now or when the barrier opens."""
        error = self._refusal(join)
        if error:
            reply(Joined(error, join.member_id))
        elif join.member_id:
            self._join_known(join, now, reply)
        else:
            self._join_unknown(join, now, reply)

    def _refusal(self, join: Join) -> ErrorCode:
        if not join.protocol_type or not join.protocols:
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        others = [
            member
            for member in self.members.values()
            if member.id != join.member_id
            and (join.instance_id is None or member.instance_id != join.instance_id)
        ]
        if not others:
            return ErrorCode.NONE
        shared = common_protocols(others) & {name for name, _ in join.protocols}
        if join.protocol_type != self.protocol_type or not shared:
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        return ErrorCode.NONE

    def _join_unknown(self, join: Join, now: float, reply: JoinReply) -> None:
        member_id = f"{join.instance_id or join.client_id}-{uuid4()}"
        if join.instance_id is not None:
            if join.instance_id in self._static:
                self._replace_static(join, member_id, now, reply)
            else:
                self._add(join, member_id, now, reply)
        elif join.needs_known_id:
            self._pending[member_id] = now + join.session_timeout
            reply(Joined(ErrorCode.MEMBER_ID_REQUIRED, member_id))
        else:
            self._add(join, member_id, now, reply)

    def _join_known(self, join: Join, now: float, reply: JoinReply) -> None:
        if join.member_id in self._pending and join.instance_id is None:
            del self._pending[join.member_id]
            self._add(join, join.member_id, now, reply)
            return
        error = self._identify(Who(join.member_id, join.instance_id))
        if error:
            reply(Joined(error, join.member_id))
            return
        member = self.members[join.member_id]
        unchanged = member.join.protocols == join.protocols
        settled = self.state is State.COMPLETING or (
            self.state is State.STABLE and member.id != self.leader
        )
        member.join = join
        member.alive_at(now)
        if unchanged and settled:
            reply(self._joined(member))
            return
        self._wait_at_barrier(member, now, reply)

    def _add(self, join: Join, member_id: str, now: float, reply: JoinReply) -> None:
        if not self.members:
            self.protocol_type = join.protocol_type
        member = Member(member_id, join, now + join.session_timeout)
        self.members[member_id] = member
        if join.instance_id is not None:
            self._static[join.instance_id] = member_id
        self._wait_at_barrier(member, now, reply)

    def _wait_at_barrier(self, member: Member, now: float, reply: JoinReply) -> None:
        self._repeated(member)
        member.join_reply = reply
        if self.state is State.PREPARING:
            self._try_open_barrier(now)
        else:
            self._prepare_rebalance(now)

    def _repeated(self, member: Member) -> None:
        """A member that repeats its request, on a new connection, gets no answer to the first one."""
        member.answer_join(Joined(ErrorCode.REBALANCE_IN_PROGRESS, member.id))

    def _replace_static(self, join: Join, member_id: str, now: float, reply: JoinReply) -> None:
        """Give a returning static member a new id; a member that still uses the old id is fenced."""
        assert join.instance_id is not None
        old = self.members[self._static[join.instance_id]]
        old.answer_join(Joined(ErrorCode.FENCED_INSTANCE_ID, old.id))
        old.answer_sync(Synced(ErrorCode.FENCED_INSTANCE_ID))
        member = Member(member_id, join, now + join.session_timeout, assignment=old.assignment)
        member.has_synced = old.has_synced
        self.members = {
            member_id if id_ == old.id else id_: member if id_ == old.id else known
            for id_, known in self.members.items()
        }
        self._static[join.instance_id] = member_id
        was_leader = self.leader == old.id
        if was_leader:
            self.leader = member_id
        if self.state is not State.STABLE or elect_protocol(self.members.values()) != self.protocol:
            self._wait_at_barrier(member, now, reply)
            return
        joined = self._joined(member, skip_assignment=was_leader and join.can_skip_assignment)
        if was_leader and not join.can_skip_assignment:
            # An old client assigns as soon as it is the leader; with another leader in the answer it does not.
            joined = self._joined(member, leader=old.id)
        reply(joined)

    # ---- the barrier ---------------------------------------------------------------------------------------------

    def _prepare_rebalance(self, now: float) -> None:
        for member in self.members.values():
            member.answer_sync(Synced(ErrorCode.REBALANCE_IN_PROGRESS))
            if self.state is State.COMPLETING:
                member.assignment = b""
        self._is_first_barrier = self.state is State.EMPTY
        self._barrier_from = now + self._initial_delay if self._is_first_barrier else now
        self.state = State.PREPARING
        self._rebalance_deadline = self._longest_rebalance(now)
        self._try_open_barrier(now)

    def _longest_rebalance(self, now: float) -> float:
        timeouts = [member.join.rebalance_timeout for member in self.members.values()]
        return now + max(timeouts, default=0.0)

    def _try_open_barrier(self, now: float) -> None:
        if self.state is not State.PREPARING or now < self._barrier_from:
            return
        if now >= self._rebalance_deadline:
            # A static member that is away keeps its place until its session ends.
            for member in list(self.members.values()):
                if member.join_reply is None and member.instance_id is None:
                    self._forget(member)
            if any(member.join_reply for member in self.members.values()) or not self.members:
                self._open_barrier(now)
            else:
                self._rebalance_deadline = self._longest_rebalance(now)
        elif self._is_complete():
            self._open_barrier(now)

    def _open_barrier(self, now: float) -> None:
        self.generation += 1
        if not self.members:
            self.state, self.protocol, self.leader = State.EMPTY, None, None
            self._rebalance_deadline = math.inf
            return
        self.state = State.COMPLETING
        self.protocol = elect_protocol(self.members.values())
        joined = [member for member in self.members.values() if member.join_reply is not None]
        if self.leader not in {member.id for member in joined}:
            self.leader = joined[0].id
        self._rebalance_deadline = self._longest_rebalance(now)
        for member in self.members.values():
            member.has_synced = False
        for member in joined:
            member.alive_at(now)
            member.answer_join(self._joined(member))

    def _joined(
        self, member: Member, *, leader: str | None = None, skip_assignment: bool = False
    ) -> Joined:
        leader = leader or self.leader or ""
        members: tuple[tuple[str, str | None, bytes], ...] = ()
        if leader == member.id:
            members = tuple(
                (other.id, other.instance_id, other.metadata(self.protocol))
                for other in self.members.values()
            )
        return Joined(
            ErrorCode.NONE,
            member.id,
            self.generation,
            self.protocol_type,
            self.protocol,
            leader,
            members,
            skip_assignment,
        )

    # ---- SyncGroup, Heartbeat, LeaveGroup ------------------------------------------------------------------------

    def sync(
        self,
        who: Who,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
        now: float,
        reply: SyncReply,
    ) -> None:
        """Hand out assignments; `reply` is called now or when the leader's have come."""
        error = self._identify(who) or self._check_generation(who.generation)
        if not error and (
            protocol_type not in (None, self.protocol_type) or protocol not in (None, self.protocol)
        ):
            error = ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        if not error and self.state is State.PREPARING:
            error = ErrorCode.REBALANCE_IN_PROGRESS
        if error:
            reply(Synced(error))
            return
        member = self.members[who.member_id]
        member.alive_at(now)
        member.has_synced = True
        if self.state is State.STABLE:
            reply(self._synced(member))
            return
        member.answer_sync(Synced(ErrorCode.REBALANCE_IN_PROGRESS))
        member.sync_reply = reply
        if member.id == self.leader:
            self._settle(assignments, now)

    def _settle(self, assignments: Mapping[str, bytes], now: float) -> None:
        self.state = State.STABLE
        for member in self.members.values():
            member.assignment = assignments.get(member.id, b"")
            if member.sync_reply is not None:
                member.alive_at(now)
                member.answer_sync(self._synced(member))

    def _synced(self, member: Member) -> Synced:
        return Synced(ErrorCode.NONE, member.assignment, self.protocol_type, self.protocol)

    def heartbeat(self, who: Who, now: float) -> ErrorCode:
        """Note a sign of life; REBALANCE_IN_PROGRESS asks the member to join again."""
        error = self._identify(who) or self._check_generation(who.generation)
        if error:
            return error
        self.members[who.member_id].alive_at(now)
        if self.state is State.PREPARING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    def leave(self, who: Who, now: float) -> ErrorCode:
        """Remove a member; a static one may be named by its instance id alone."""
        if who.instance_id is None and who.member_id in self._pending:
            del self._pending[who.member_id]
            self._try_open_barrier(now)
            return ErrorCode.NONE
        member_id = who.member_id
        if who.instance_id is not None and not member_id:
            member_id = self._static.get(who.instance_id, "")
        error = self._identify(Who(member_id, who.instance_id))
        if not error:
            self.remove(member_id, now)
        return error

    def remove(self, member_id: str, now: float) -> None:
        """Remove a member, as when its session ends, and rebalance the others.

        Raises:
            KeyError: There is no such member.
        """
        self._forget(self.members[member_id])
        if self.state is State.PREPARING:
            self._try_open_barrier(now)
        elif self.state in (State.STABLE, State.COMPLETING):
            self._prepare_rebalance(now)

    def _forget(self, member: Member) -> None:
        member.answer_join(Joined(ErrorCode.UNKNOWN_MEMBER_ID, member.id))
        member.answer_sync(Synced(ErrorCode.UNKNOWN_MEMBER_ID))
        del self.members[member.id]
        if member.instance_id is not None:
            del self._static[member.instance_id]
        if self.leader == member.id:
            self.leader = None

    # ---- permissions -----------------------------------------------------------------------------------------------

    def _identify(self, who: Who) -> ErrorCode:
        if who.instance_id is not None:
            holder = self._static.get(who.instance_id)
            if holder is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            if holder != who.member_id:
                return ErrorCode.FENCED_INSTANCE_ID
        return ErrorCode.NONE if who.member_id in self.members else ErrorCode.UNKNOWN_MEMBER_ID

    def _check_generation(self, generation: int) -> ErrorCode:
        return ErrorCode.NONE if generation == self.generation else ErrorCode.ILLEGAL_GENERATION

    def may_commit(self, who: Who, now: float) -> ErrorCode:
        """Return whether a commit is accepted; one by a member is a sign of life.

        Without a generation it comes from outside, which is allowed while the group has no member. While the join barrier is
        shut the members of the last generation may still commit; between the barrier and the assignment they may not.
        """
        if who.generation < 0 and not self.members:
            return ErrorCode.NONE
        if who.generation >= 0 and not self.members and not who.member_id:
            return ErrorCode.ILLEGAL_GENERATION
        error = self._identify(who) or self._check_generation(who.generation)
        if error:
            return error
        self.members[who.member_id].alive_at(now)
        if self.state is State.COMPLETING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    # ---- time ------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """Return when `expire` has something to do; infinity if it has not."""
        deadlines = [member.deadline for member in self.members.values() if not member.is_waiting]
        deadlines += self._pending.values()
        if self.state is State.PREPARING:
            deadlines.append(max(self._barrier_from, self._rebalance_deadline))
            if self._barrier_from < self._rebalance_deadline and self._is_complete():
                deadlines.append(self._barrier_from)
        elif self.state is State.COMPLETING:
            deadlines.append(self._rebalance_deadline)
        return min(deadlines, default=math.inf)

    def _is_complete(self) -> bool:
        nobody_comes = self._is_first_barrier or not self._pending
        return nobody_comes and all(member.join_reply for member in self.members.values())

    def expire(self, now: float) -> None:
        """Remove overdue members, and continue without them."""
        for member_id, deadline in list(self._pending.items()):
            if deadline <= now:
                del self._pending[member_id]
        for member in list(self.members.values()):
            if not member.is_waiting and member.deadline <= now:
                self.remove(member.id, now)
        if self.state is State.COMPLETING and self._rebalance_deadline <= now:
            for member in list(self.members.values()):
                if not member.has_synced:
                    self.remove(member.id, now)
        self._try_open_barrier(now)


class Groups:
    """All groups by name."""

    def __init__(self, initial_delay: float) -> None:
        self.by_name: dict[str, Group] = {}
        self._initial_delay = initial_delay

    def get_or_create(self, name: str) -> Group:
        """Return a group, an empty one if there was none."""
        group = self.by_name.get(name)
        if group is None:
            group = self.by_name[name] = Group(name, self._initial_delay)
        return group

    def next_deadline(self) -> float:
        """Return the earliest deadline of any group."""
        return min((group.next_deadline() for group in self.by_name.values()), default=math.inf)

    def expire(self, now: float) -> None:
        """Let time pass in every group."""
        for group in self.by_name.values():
            group.expire(now)

    def forget_topic(self, topic: str) -> None:
        """Drop the offsets of a topic that was deleted."""
        for group in self.by_name.values():
            group.offsets.forget_topic(topic)
