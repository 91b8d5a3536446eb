"""Members of a classic group, and the answers to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ottla.protocol.error_codes import ErrorCode

NO_GENERATION = -1


@dataclass(frozen=True, slots=True)
class Joined:
    """The answer to JoinGroup; `members` is filled for the leader alone."""

    error: ErrorCode
    member_id: str
    generation: int = NO_GENERATION
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    members: tuple[tuple[str, str | None, bytes], ...] = ()
    skip_assignment: bool = False


@dataclass(frozen=True, slots=True)
class Synced:
    """The answer to SyncGroup."""

    error: ErrorCode
    assignment: bytes = b""
    protocol_type: str | None = None
    protocol: str | None = None


JoinReply = Callable[[Joined], None]
SyncReply = Callable[[Synced], None]


@dataclass(frozen=True, slots=True)
class Join:
    """A request to join, as the group needs it; times in seconds."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout: float
    rebalance_timeout: float
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    needs_known_id: bool
    """JoinGroup 4+: a new dynamic member first gets its id (KIP-394)."""
    can_skip_assignment: bool
    """JoinGroup 9+: the answer may let a returning static leader skip the assignment (KIP-814)."""


@dataclass(frozen=True, slots=True)
class Who:
    """The member that a request names as its sender."""

    member_id: str
    instance_id: str | None = None
    generation: int = NO_GENERATION


@dataclass(eq=False, slots=True)
class Member:
    """One member."""

    id: str
    join: Join
    deadline: float
    """When the session ends without a sign of life; a member that waits for an answer lives."""
    assignment: bytes = b""
    join_reply: JoinReply | None = None
    sync_reply: SyncReply | None = None
    has_synced: bool = False

    @property
    def instance_id(self) -> str | None:
        """The static member's name."""
        return self.join.instance_id

    @property
    def is_waiting(self) -> bool:
        """Whether the next word is the broker's."""
        return self.join_reply is not None or self.sync_reply is not None

    def metadata(self, protocol: str | None) -> bytes:
        """Return the metadata that the member sent for a protocol."""
        return dict(self.join.protocols).get(protocol or "", b"")

    def alive_at(self, now: float) -> None:
        """Note a sign of life."""
        self.deadline = now + self.join.session_timeout

    def answer_join(self, joined: Joined) -> None:
        """Answer a waiting join, if there is one."""
        reply, self.join_reply = self.join_reply, None
        if reply is not None:
            reply(joined)

    def answer_sync(self, synced: Synced) -> None:
        """Answer a waiting sync, if there is one."""
        reply, self.sync_reply = self.sync_reply, None
        if reply is not None:
            reply(synced)


def common_protocols(members: Iterable[Member]) -> set[str]:
    """Return the names of protocols that every member listed."""
    names = [{name for name, _ in member.join.protocols} for member in members]
    return set.intersection(*names) if names else set()


def elect_protocol(members: Collection[Member]) -> str:
    """Return the common protocol that most members list first; the first vote cast wins a draw."""
    common = common_protocols(members)
    votes: dict[str, int] = {}
    for member in members:
        choice = next(name for name, _ in member.join.protocols if name in common)
        votes[choice] = votes.get(choice, 0) + 1
    return max(votes, key=lambda name: votes[name])
