"""Heartbeat: a member's sign of life; REBALANCE_IN_PROGRESS asks it to join again.

Versions: 3+ static members.
"""

from __future__ import annotations

import asyncio

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.members import Who


async def handle(request: HeartbeatRequest, call: Call) -> HeartbeatResponse:
    error = call.cluster.group_error(call.node, request.group_id)
    if error:
        return HeartbeatResponse(error_code=error)
    group = call.cluster.groups.by_name.get(request.group_id)
    if group is None:
        return HeartbeatResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    who = Who(request.member_id, request.group_instance_id, request.generation_id)
    return HeartbeatResponse(error_code=group.heartbeat(who, asyncio.get_running_loop().time()))


def refuse(request: HeartbeatRequest, call: Call, error: ErrorCode) -> HeartbeatResponse:
    return HeartbeatResponse(error_code=error)
