"""A member of a classic consumer group: the state machine, without I/O.

`step(event)` takes an event and returns actions; the membership driver carries them out and feeds their results back as
events. Rebalances are eager: the member gives back all partitions before it joins again.

    UNJOINED ─Begin─▶ JOINING ─Joined─▶ PLANNING (leader) ─Planned─▶ SYNCING ─Synced─▶ STABLE
                         ▲                  └─ SYNCING at once (follower) ─┘             │
                         └──────────── Revoked ◀── REVOKING ◀─ rebalance, new topics ────┘
    STABLE ─PolledTooLate─▶ STALE ─Polled─▶ JOINING          any ─Leave─▶ LEFT          any ─fatal answer─▶ FAILED

References: KIP-62, KIP-134, KIP-345, KIP-394, KIP-559; Java: AbstractCoordinator, ConsumerCoordinator.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple, assert_never

from ottla.consumer.group.assignors import Member
from ottla.message import TopicPartition
from ottla.protocol.error_codes import ErrorCode


class State(enum.Enum):
    """State of the member."""

    UNJOINED = "unjoined"
    JOINING = "joining"
    PLANNING = "planning"
    SYNCING = "syncing"
    STABLE = "stable"
    REVOKING = "revoking"
    STALE = "stale"
    LEFT = "left"
    FAILED = "failed"


# ---- events -----------------------------------------------------------------------------------------------------------


class Begin(NamedTuple):
    """The consumer subscribed for the first time, or changed its topics."""


class Joined(NamedTuple):
    """Response to JoinGroup without an error."""

    turn: int
    member_id: str
    generation: int
    protocol: str
    leader: bool
    members: Sequence[Member]
    """Empty for a member that is not the leader."""
    skip_assignment: bool = False
    """Whether a static leader came back and the broker retains the assignment (KIP-814)."""


class Planned(NamedTuple):
    """The leader has computed the assignment of all members."""

    turn: int
    assignments: dict[str, bytes]


class Synced(NamedTuple):
    """Response to SyncGroup without an error."""

    turn: int
    partitions: Sequence[TopicPartition]


class Refused(NamedTuple):
    """Response to JoinGroup or SyncGroup with an error."""

    turn: int
    code: int
    member_id: str = ""


class Unreachable(NamedTuple):
    """No coordinator was found, or its connection was lost during the join."""

    turn: int


class BeatAnswered(NamedTuple):
    """Response to a heartbeat with an error."""

    code: int


class CommitAnswered(NamedTuple):
    """Response to a commit that ends the membership, of a request under the current member id and generation."""

    code: int


class CoordinatorLost(NamedTuple):
    """The connection of the heartbeats was lost, or the coordinator moved."""


class NewTopics(NamedTuple):
    """The subscription changed, or its topics have other partitions than the assignment covers."""


class Revoked(NamedTuple):
    """The application has released the partitions; its progress is committed."""

    turn: int


class PolledTooLate(NamedTuple):
    """The application has not polled for `max_poll_interval_ms`."""


class Polled(NamedTuple):
    """The application polls again."""


class Leave(NamedTuple):
    """The consumer closes or unsubscribes; the application has released all partitions."""

    leaves: bool = True
    """Whether to leave the group; else the membership lasts until its session ends (KIP-1092)."""


Event = (
    Begin | Joined | Planned | Synced | Refused | Unreachable | BeatAnswered | CommitAnswered | CoordinatorLost | NewTopics
    | Revoked | PolledTooLate | Polled | Leave
)  # fmt: skip


# ---- actions ----------------------------------------------------------------------------------------------------------


class Join(NamedTuple):
    """Send JoinGroup; its result carries the turn."""

    turn: int
    member_id: str
    find_coordinator: bool
    """Whether to search the coordinator again."""
    backoff: bool
    """Whether to wait first, since the previous attempt failed."""


class Plan(NamedTuple):
    """Compute the assignment of all members."""

    turn: int
    protocol: str
    members: Sequence[Member]


class Sync(NamedTuple):
    """Send SyncGroup."""

    turn: int
    member_id: str
    generation: int
    protocol: str
    assignments: dict[str, bytes]


class Assign(NamedTuple):
    """Start these partitions, which the member has in this generation, and the heartbeats."""

    partitions: Sequence[TopicPartition]
    member_id: str
    generation: int


class Revoke(NamedTuple):
    """Let the application finish these partitions, commit, then feed back Revoked; heartbeats continue."""

    turn: int
    partitions: Sequence[TopicPartition]
    reason: str


class Lose(NamedTuple):
    """Drop these partitions, which may belong to another member already, without a commit; stop the heartbeats."""

    partitions: Sequence[TopicPartition]
    reason: str


class MoveBeat(NamedTuple):
    """Search the coordinator again and continue the heartbeats there."""


class SendLeave(NamedTuple):
    """Stop the heartbeats and send LeaveGroup."""

    member_id: str
    reason: str


class StopBeat(NamedTuple):
    """Stop the heartbeats."""


class Fail(NamedTuple):
    """The coordinator refused this member for good: every later call raises the error of this code."""

    code: int
    lost: int
    """Number of partitions that were lost with it."""


Action = Join | Plan | Sync | Assign | Revoke | Lose | MoveBeat | SendLeave | StopBeat | Fail

_OTHER_MEMBERS = "the coordinator asks all members to join again"
_RETRY_ELSEWHERE = frozenset({ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR})
_RETRY_HERE = frozenset({ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.REBALANCE_IN_PROGRESS})


class ClassicMember:
    """The machine. Engine thread only; without references to objects that do I/O."""

    def __init__(self) -> None:
        self.state = State.UNJOINED
        self.member_id = ""
        self.generation = -1
        self.owned: list[TopicPartition] = []
        self.turn = 0
        """Number of the current join or revocation; results that carry an older turn are dropped."""
        self._rejoin = False
        """Whether to join once more after the current join, because the topics changed in the meantime."""

    def __repr__(self) -> str:
        return (
            f"<ClassicMember {self.state.value} generation={self.generation} member_id={self.member_id!r} "
            f"owned={len(self.owned)}>"
        )

    def step(self, event: Event) -> list[Action]:
        """Take an event; returns the actions, in order."""
        if self.state in (State.LEFT, State.FAILED):
            return []
        turn = getattr(event, "turn", None)
        if turn is not None and turn != self.turn:
            return []
        match event:
            case Begin():
                return self._on_begin()
            case Joined():
                return self._on_joined(event)
            case Planned():
                return self._on_planned(event)
            case Synced():
                return self._on_synced(event)
            case Refused():
                return self._on_refused(event)
            case Unreachable():
                return self._on_unreachable()
            case BeatAnswered():
                return self._on_beat_answered(event.code)
            case CommitAnswered():
                return self._on_refused_as_member(event.code)
            case CoordinatorLost():
                return self._on_coordinator_lost()
            case NewTopics():
                return self._on_new_topics()
            case Revoked():
                return self._on_revoked()
            case PolledTooLate():
                return self._on_polled_too_late()
            case Polled():
                return self._on_polled()
            case Leave():
                return self._on_leave(event)
            case _:
                assert_never(event)

    # ---- joining -----------------------------------------------------------------------------------------------------

    def _join(self, *, find: bool = False, backoff: bool = False) -> list[Action]:
        self.state = State.JOINING
        self.turn += 1
        self._rejoin = False
        return [Join(self.turn, self.member_id, find, backoff)]

    def _on_begin(self) -> list[Action]:
        if self.state is State.UNJOINED:
            return self._join()
        return self._on_new_topics()

    def _on_joined(self, event: Joined) -> list[Action]:
        if self.state is not State.JOINING:
            return []
        self.member_id = event.member_id
        self.generation = event.generation
        self._protocol = event.protocol
        if event.leader and not event.skip_assignment:
            self.state = State.PLANNING
            return [Plan(self.turn, event.protocol, event.members)]
        return self._sync({})

    def _on_planned(self, event: Planned) -> list[Action]:
        return self._sync(event.assignments) if self.state is State.PLANNING else []

    def _sync(self, assignments: dict[str, bytes]) -> list[Action]:
        self.state = State.SYNCING
        return [Sync(self.turn, self.member_id, self.generation, self._protocol, assignments)]

    def _on_synced(self, event: Synced) -> list[Action]:
        if self.state is not State.SYNCING:
            return []
        if self._rejoin:
            return self._join()
        self.state = State.STABLE
        self.owned = list(event.partitions)
        return [Assign(self.owned, self.member_id, self.generation)]

    def _on_refused(self, event: Refused) -> list[Action]:
        code = event.code
        if code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = event.member_id
            return self._join()
        if code == ErrorCode.UNKNOWN_MEMBER_ID:
            self._forget()
            return self._join()
        if code == ErrorCode.ILLEGAL_GENERATION:
            self.generation = -1
            return self._join()
        if code in _RETRY_HERE:
            return self._join(backoff=True)
        if code in _RETRY_ELSEWHERE:
            return self._join(find=True, backoff=True)
        return self._fail(code)

    def _on_unreachable(self) -> list[Action]:
        return self._join(find=True, backoff=True)

    # ---- being a member ----------------------------------------------------------------------------------------------

    def _on_beat_answered(self, code: int) -> list[Action]:
        if code in _RETRY_ELSEWHERE:
            return self._on_coordinator_lost()
        if code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
            return []
        if code == ErrorCode.REBALANCE_IN_PROGRESS:
            return self._revoke(_OTHER_MEMBERS) if self.state is State.STABLE else []
        return self._on_refused_as_member(code)

    def _on_refused_as_member(self, code: int) -> list[Action]:
        """The coordinator does not accept this member id, generation or instance any more."""
        if self.state not in (State.STABLE, State.REVOKING):
            return []
        if code == ErrorCode.UNKNOWN_MEMBER_ID:
            self._forget()
            return [
                *self._lose("the coordinator no longer knows this member (its session expired)"),
                *self._join(),
            ]
        if code == ErrorCode.ILLEGAL_GENERATION:
            self.generation = -1
            return [*self._lose("the group has gone on to another generation"), *self._join()]
        return self._fail(code)

    def _on_coordinator_lost(self) -> list[Action]:
        return [MoveBeat()] if self.state in (State.STABLE, State.REVOKING) else []

    def _on_new_topics(self) -> list[Action]:
        if self.state is State.STABLE:
            return self._revoke("the subscription or the partitions of its topics changed")
        self._rejoin = self.state in (State.JOINING, State.PLANNING, State.SYNCING)
        return []

    def _revoke(self, reason: str) -> list[Action]:
        self.state = State.REVOKING
        self.turn += 1
        return [Revoke(self.turn, list(self.owned), reason)]

    def _on_revoked(self) -> list[Action]:
        if self.state is not State.REVOKING:
            return []
        self.owned = []
        return [StopBeat(), *self._join()]

    def _on_polled_too_late(self) -> list[Action]:
        if self.state not in (State.STABLE, State.REVOKING):
            return []
        reason = "the application did not poll within max_poll_interval_ms"
        actions: list[Action] = [*self._lose(reason), SendLeave(self.member_id, reason)]
        self._forget()
        self.turn += 1
        self.state = State.STALE
        return actions

    def _on_polled(self) -> list[Action]:
        return self._join() if self.state is State.STALE else []

    # ---- the end -----------------------------------------------------------------------------------------------------

    def _on_leave(self, event: Leave) -> list[Action]:
        known = self.member_id != "" and event.leaves
        actions: list[Action] = (
            [SendLeave(self.member_id, "the consumer was closed")] if known else [StopBeat()]
        )
        self.state = State.LEFT
        self.owned = []
        self.turn += 1
        return actions

    def _lose(self, reason: str) -> list[Action]:
        lost, self.owned = self.owned, []
        return [Lose(lost, reason)]

    def _fail(self, code: int) -> list[Action]:
        lost = len(self.owned)
        reason = f"the coordinator refused this member with error code {code}"
        actions = [*self._lose(reason), Fail(code, lost)]
        self.state = State.FAILED
        self.turn += 1
        return actions

    def _forget(self) -> None:
        """The coordinator does not know this member any more: reset its id."""
        self.member_id = ""
        self.generation = -1
