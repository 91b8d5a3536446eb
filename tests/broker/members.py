"""Members of a group as raw requests: each has a connection of its own, as its join may wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ottla.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.protocol.messages.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from ottla.protocol.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
)
from ottla.protocol.messages.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from tests.broker.raw import Client

JOIN, SYNC, BEAT, LEAVE = 7, 5, 4, 4
"""Versions that are used unless a test names one."""


class RawMember:
    """The state of one member, and the requests it sends."""

    def __init__(
        self,
        client: Client,
        group: str,
        *,
        instance: str | None = None,
        session_ms: int = 30_000,
        rebalance_ms: int = 30_000,
        protocols: tuple[str, ...] = ("range",),
        protocol_type: str = "consumer",
    ) -> None:
        self.client = client
        self.group = group
        self.instance = instance
        self.session_ms = session_ms
        self.rebalance_ms = rebalance_ms
        self.protocols = protocols
        self.protocol_type = protocol_type
        self.id = ""
        self.generation = -1
        self._waiting = 0

    # ---- JoinGroup ---------------------------------------------------------------------------------------------------

    def send_join(self, version: int = JOIN) -> None:
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=self.session_ms,
            rebalance_timeout_ms=self.rebalance_ms,
            member_id=self.id,
            group_instance_id=self.instance,
            protocol_type=self.protocol_type,
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=name.encode())
                for name in self.protocols
            ],
        )
        self._waiting = self.client.send(request, version)

    def joined(self, version: int = JOIN) -> JoinGroupResponse:
        """Receive the answer to a join, and take id and generation from it."""
        answer = self.client.receive(JoinGroupResponse, version, self._waiting)
        if answer.member_id:
            self.id = answer.member_id
        if answer.error_code == 0:
            self.generation = answer.generation_id
        return answer

    def join(self, version: int = JOIN) -> JoinGroupResponse:
        self.send_join(version)
        return self.joined(version)

    def get_id(self) -> None:
        """Get an id, as every new dynamic member does."""
        assert self.join().error_code == 79

    # ---- the others --------------------------------------------------------------------------------------------------

    def send_sync(self, assignments: dict[str, bytes] | None = None) -> None:
        request = SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.id,
            group_instance_id=self.instance,
            protocol_type=self.protocol_type,
            protocol_name=self.protocols[0],
            assignments=[
                SyncGroupRequestAssignment(member_id=member, assignment=assignment)
                for member, assignment in (assignments or {}).items()
            ],
        )
        self._waiting = self.client.send(request, SYNC)

    def synced(self) -> SyncGroupResponse:
        return self.client.receive(SyncGroupResponse, SYNC, self._waiting)

    def sync(self, assignments: dict[str, bytes] | None = None) -> SyncGroupResponse:
        self.send_sync(assignments)
        return self.synced()

    def beat(self, *, generation: int | None = None) -> int:
        request = HeartbeatRequest(
            group_id=self.group,
            generation_id=self.generation if generation is None else generation,
            member_id=self.id,
            group_instance_id=self.instance,
        )
        return self.client.ask(request, HeartbeatResponse, BEAT).error_code

    def leave(self) -> int:
        request = LeaveGroupRequest(
            group_id=self.group,
            members=[MemberIdentity(member_id=self.id, group_instance_id=self.instance)],
        )
        answer = self.client.ask(request, LeaveGroupResponse, LEAVE)
        return answer.error_code or answer.members[0].error_code


@contextmanager
def raw_members(
    bootstrap: str, group: str, count: int, **options: object
) -> Iterator[list[RawMember]]:
    """Members that have not joined yet."""
    with ExitStack() as stack:
        made = [stack.enter_context(Client(bootstrap)) for _ in range(count)]
        yield [RawMember(client, group, **options) for client in made]  # type: ignore[arg-type]


def settle(members: list[RawMember]) -> dict[str, bytes]:
    """Join and sync all members, at most the first of which is in the group; return their assignments."""
    for member in members:
        if not member.id and member.instance is None:
            member.get_id()
    for member in members:
        member.send_join()
    answers = [member.joined() for member in members]
    assert [answer.error_code for answer in answers] == [0] * len(members)
    assignments = {member.id: b"for " + member.id.encode() for member in members}
    for member, answer in zip(members, answers, strict=True):
        member.send_sync(assignments if answer.leader == member.id else None)
    for member in members:
        answer_ = member.synced()
        assert (answer_.error_code, bytes(answer_.assignment)) == (0, assignments[member.id])
    return assignments
