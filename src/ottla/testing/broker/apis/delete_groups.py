"""DeleteGroups: groups without members go, with their offsets; others are NON_EMPTY_GROUP.

Versions: 3+ error messages.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)
from ottla.testing.broker.call import Call


async def handle(request: DeleteGroupsRequest, call: Call) -> DeleteGroupsResponse:
    results = [
        DeletableGroupResult(group_id=name, error_code=_delete(name, call))
        for name in request.groups_names
    ]
    return DeleteGroupsResponse(results=results)


def refuse(request: DeleteGroupsRequest, call: Call, error: ErrorCode) -> DeleteGroupsResponse:
    results = [
        DeletableGroupResult(group_id=name, error_code=error) for name in request.groups_names
    ]
    return DeleteGroupsResponse(results=results)


def _delete(name: str, call: Call) -> ErrorCode:
    error = call.cluster.group_error(call.node, name)
    if error:
        return error
    group = call.cluster.groups.by_name.get(name)
    if group is None:
        return ErrorCode.GROUP_ID_NOT_FOUND
    if group.members:
        return ErrorCode.NON_EMPTY_GROUP
    del call.cluster.groups.by_name[name]
    return ErrorCode.NONE
