"""LeaveGroup: members go at once and the others rebalance.

Versions: 0-2 one member, 3+ several, a static one by its instance id alone (as an administrator names it), 5+ reasons.
"""

from __future__ import annotations

import asyncio

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.members import Who

SEVERAL_FROM = 3


async def handle(request: LeaveGroupRequest, call: Call) -> LeaveGroupResponse:
    error = call.cluster.group_error(call.node, request.group_id)
    if error:
        return refuse(request, call, error)
    group = call.cluster.groups.by_name.get(request.group_id)
    now = asyncio.get_running_loop().time()
    members = []
    for leaving in _leaving(request, call):
        left = ErrorCode.UNKNOWN_MEMBER_ID
        if group is not None:
            left = group.leave(Who(leaving.member_id, leaving.group_instance_id), now)
        members.append(
            MemberResponse(
                member_id=leaving.member_id,
                group_instance_id=leaving.group_instance_id,
                error_code=left,
            )
        )
    call.cluster.groups_changed()
    if call.version < SEVERAL_FROM:
        return LeaveGroupResponse(error_code=members[0].error_code)
    return LeaveGroupResponse(members=members)


def refuse(request: LeaveGroupRequest, call: Call, error: ErrorCode) -> LeaveGroupResponse:
    return LeaveGroupResponse(error_code=error)


def _leaving(request: LeaveGroupRequest, call: Call) -> list[MemberIdentity]:
    if call.version >= SEVERAL_FROM:
        return request.members
    return [MemberIdentity(member_id=request.member_id)]
