"""JoinGroup: waits at the group's barrier, without holding up any other connection.

Versions: 0 has no rebalance timeout (the session timeout stands for it), 4+ new members get their id first
(MEMBER_ID_REQUIRED), 5+ static members, 7+ the protocol type in the answer, 9+ a returning static leader may skip the
assignment. A client that vanishes while it waits stays a member until its session ends, as in Kafka.
"""

from __future__ import annotations

import asyncio

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.join_group import (
    JoinGroupRequest,
    JoinGroupResponse,
    JoinGroupResponseMember,
)
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.members import Join, Joined

KNOWN_ID_FROM = 4
PROTOCOL_TYPE_FROM = 7
SKIP_ASSIGNMENT_FROM = 9


async def handle(request: JoinGroupRequest, call: Call) -> JoinGroupResponse:
    error = _refusal(request, call)
    if error:
        return refuse(request, call, error)
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Joined] = loop.create_future()

    def reply(joined: Joined) -> None:
        if not answered.done():
            answered.set_result(joined)

    group = call.cluster.groups.get_or_create(request.group_id)
    group.join(_join(request, call), loop.time(), reply)
    call.cluster.groups_changed()
    return _response(await answered, call)


def refuse(request: JoinGroupRequest, call: Call, error: ErrorCode) -> JoinGroupResponse:
    return _response(Joined(error, request.member_id), call)


def _refusal(request: JoinGroupRequest, call: Call) -> ErrorCode:
    cluster = call.cluster
    error = cluster.group_error(call.node, request.group_id)
    if error:
        return error
    shortest = cluster.options.group_min_session_timeout_ms
    longest = cluster.options.group_max_session_timeout_ms
    if not shortest <= request.session_timeout_ms <= longest:
        return ErrorCode.INVALID_SESSION_TIMEOUT
    if request.member_id and request.group_id not in cluster.groups.by_name:
        return ErrorCode.UNKNOWN_MEMBER_ID
    return ErrorCode.NONE


def _join(request: JoinGroupRequest, call: Call) -> Join:
    rebalance_ms = request.rebalance_timeout_ms if call.version >= 1 else request.session_timeout_ms
    return Join(
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        client_id=call.client_id or "",
        client_host=call.client_host,
        session_timeout=request.session_timeout_ms / 1000,
        rebalance_timeout=rebalance_ms / 1000,
        protocol_type=request.protocol_type,
        protocols=tuple((entry.name, entry.metadata) for entry in request.protocols),
        needs_known_id=call.version >= KNOWN_ID_FROM,
        can_skip_assignment=call.version >= SKIP_ASSIGNMENT_FROM,
    )


def _response(joined: Joined, call: Call) -> JoinGroupResponse:
    nullable = call.version >= PROTOCOL_TYPE_FROM
    return JoinGroupResponse(
        error_code=joined.error,
        generation_id=joined.generation,
        protocol_type=joined.protocol_type,
        protocol_name=joined.protocol if nullable else joined.protocol or "",
        leader=joined.leader,
        skip_assignment=joined.skip_assignment,
        member_id=joined.member_id,
        members=[
            JoinGroupResponseMember(member_id=id_, group_instance_id=instance, metadata=metadata)
            for id_, instance, metadata in joined.members
        ],
    )
