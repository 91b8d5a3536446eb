"""SyncGroup: the leader hands in the assignments, the others wait for theirs.

Versions: 3+ static members, 5+ the protocol is named on both ways and must fit.
"""

from __future__ import annotations

import asyncio

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.members import Synced, Who


async def handle(request: SyncGroupRequest, call: Call) -> SyncGroupResponse:
    error = call.cluster.group_error(call.node, request.group_id)
    group = call.cluster.groups.by_name.get(request.group_id)
    if not error and group is None:
        error = ErrorCode.UNKNOWN_MEMBER_ID
    if error or group is None:
        return refuse(request, call, error)
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Synced] = loop.create_future()

    def reply(synced: Synced) -> None:
        if not answered.done():
            answered.set_result(synced)

    group.sync(
        Who(request.member_id, request.group_instance_id, request.generation_id),
        request.protocol_type,
        request.protocol_name,
        {entry.member_id: bytes(entry.assignment) for entry in request.assignments},
        loop.time(),
        reply,
    )
    call.cluster.groups_changed()
    synced = await answered
    return SyncGroupResponse(
        error_code=synced.error,
        protocol_type=synced.protocol_type,
        protocol_name=synced.protocol,
        assignment=synced.assignment,
    )


def refuse(request: SyncGroupRequest, call: Call, error: ErrorCode) -> SyncGroupResponse:
    return SyncGroupResponse(error_code=error)
