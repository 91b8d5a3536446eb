"""DescribeGroups: state, protocol and members with their assignments.

An unknown group is "Dead", from version 6 on with GROUP_ID_NOT_FOUND (KIP-1043).
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.describe_groups import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.groups import Group, State

NOT_FOUND_FROM = 6
DEAD = "Dead"


async def handle(request: DescribeGroupsRequest, call: Call) -> DescribeGroupsResponse:
    return DescribeGroupsResponse(groups=[_describe(name, call) for name in request.groups])


def refuse(request: DescribeGroupsRequest, call: Call, error: ErrorCode) -> DescribeGroupsResponse:
    groups = [DescribedGroup(group_id=name, error_code=error) for name in request.groups]
    return DescribeGroupsResponse(groups=groups)


def _describe(name: str, call: Call) -> DescribedGroup:
    error = call.cluster.group_error(call.node, name)
    if error:
        return DescribedGroup(group_id=name, error_code=error)
    group = call.cluster.groups.by_name.get(name)
    if group is not None:
        return _described(group)
    if call.version < NOT_FOUND_FROM:
        return DescribedGroup(group_id=name, group_state=DEAD)
    return DescribedGroup(
        group_id=name,
        group_state=DEAD,
        error_code=ErrorCode.GROUP_ID_NOT_FOUND,
        error_message=f"Group {name} not found.",
    )


def _described(group: Group) -> DescribedGroup:
    stable = group.state is State.STABLE
    members = [
        DescribedGroupMember(
            member_id=member.id,
            group_instance_id=member.instance_id,
            client_id=member.join.client_id,
            client_host=member.join.client_host,
            member_metadata=member.metadata(group.protocol) if stable else b"",
            member_assignment=member.assignment if stable else b"",
        )
        for member in group.members.values()
    ]
    return DescribedGroup(
        group_id=group.name,
        group_state=group.state,
        protocol_type=group.protocol_type,
        protocol_data=(group.protocol or "") if stable else "",
        members=members,
    )
