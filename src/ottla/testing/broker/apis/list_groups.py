"""ListGroups: the groups this node coordinates.

Versions: 4+ filter by state, 5+ by type; all groups here are "classic". Filters ignore the case.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.list_groups import (
    ListedGroup,
    ListGroupsRequest,
    ListGroupsResponse,
)
from ottla.testing.broker.call import Call

CLASSIC = "classic"


async def handle(request: ListGroupsRequest, call: Call) -> ListGroupsResponse:
    states = {state.lower() for state in request.states_filter}
    types = {type_.lower() for type_ in request.types_filter}
    groups = [
        ListedGroup(
            group_id=group.name,
            protocol_type=group.protocol_type,
            group_state=group.state,
            group_type=CLASSIC,
        )
        for group in call.cluster.groups.by_name.values()
        if call.cluster.coordinator(group.name) == call.node
        and (not states or group.state.lower() in states)
        and (not types or CLASSIC in types)
    ]
    return ListGroupsResponse(groups=groups)


def refuse(request: ListGroupsRequest, call: Call, error: ErrorCode) -> ListGroupsResponse:
    return ListGroupsResponse(error_code=error)
