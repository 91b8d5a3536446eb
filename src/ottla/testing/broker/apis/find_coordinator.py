"""FindCoordinator: which node coordinates a group.

A group's node follows from its name; if that node is down, the next living one takes over, with all its state. Versions:
0-3 ask for one key, 4+ for several. Transactional ids (key type 1) and share groups (2) have no coordinator here:
INVALID_REQUEST, which no client repeats.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from ottla.testing.broker.call import Call

GROUP = 0
BATCHED_FROM = 4


async def handle(request: FindCoordinatorRequest, call: Call) -> FindCoordinatorResponse:
    return _answer(
        request, call, [_find(key, request.key_type, call) for key in _keys(request, call)]
    )


def refuse(
    request: FindCoordinatorRequest, call: Call, error: ErrorCode
) -> FindCoordinatorResponse:
    return _answer(request, call, [_refused(key, error) for key in _keys(request, call)])


def _keys(request: FindCoordinatorRequest, call: Call) -> list[str]:
    return request.coordinator_keys if call.version >= BATCHED_FROM else [request.key]


def _answer(
    request: FindCoordinatorRequest, call: Call, found: list[Coordinator]
) -> FindCoordinatorResponse:
    if call.version >= BATCHED_FROM:
        return FindCoordinatorResponse(coordinators=found)
    only = found[0]
    return FindCoordinatorResponse(
        error_code=only.error_code,
        error_message=only.error_message if call.version >= 1 else None,
        node_id=only.node_id,
        host=only.host,
        port=only.port,
    )


def _refused(key: str, error: ErrorCode, message: str | None = None) -> Coordinator:
    return Coordinator(
        key=key, node_id=-1, host="", port=-1, error_code=error, error_message=message
    )


def _find(key: str, key_type: int, call: Call) -> Coordinator:
    if key_type != GROUP:
        return _refused(
            key, ErrorCode.INVALID_REQUEST, f"no coordinator for keys of type {key_type}"
        )
    node = call.cluster.nodes[call.cluster.coordinator(key)]
    return Coordinator(key=key, node_id=node.id, host=node.host, port=node.port)
