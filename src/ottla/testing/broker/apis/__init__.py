"""The APIs that are served: one module each, with `handle` and `refuse`.

`handle` answers a request, or returns None where the protocol has no answer; `refuse` builds the answer that carries
one error code in every place the API has for it, for tests that make a request fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ottla.protocol.api_keys import ApiKey
from ottla.protocol.base import Message
from ottla.protocol.error_codes import ErrorCode
from ottla.testing.broker.apis import (
    api_versions,
    create_topics,
    delete_groups,
    delete_topics,
    describe_groups,
    fetch,
    find_coordinator,
    heartbeat,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    sync_group,
)
from ottla.testing.broker.call import Call


class Handler(NamedTuple):
    """The two functions of an API's module; each takes the request class of its API."""

    handle: Callable[[Any, Call], Awaitable[Message | None]]
    refuse: Callable[[Any, Call, ErrorCode], Message]


HANDLERS: dict[int, Handler] = {
    ApiKey.PRODUCE: Handler(produce.handle, produce.refuse),
    ApiKey.FETCH: Handler(fetch.handle, fetch.refuse),
    ApiKey.LIST_OFFSETS: Handler(list_offsets.handle, list_offsets.refuse),
    ApiKey.METADATA: Handler(metadata.handle, metadata.refuse),
    ApiKey.FIND_COORDINATOR: Handler(find_coordinator.handle, find_coordinator.refuse),
    ApiKey.API_VERSIONS: Handler(api_versions.handle, api_versions.refuse),
    ApiKey.CREATE_TOPICS: Handler(create_topics.handle, create_topics.refuse),
    ApiKey.DELETE_TOPICS: Handler(delete_topics.handle, delete_topics.refuse),
    ApiKey.INIT_PRODUCER_ID: Handler(init_producer_id.handle, init_producer_id.refuse),
    ApiKey.OFFSET_COMMIT: Handler(offset_commit.handle, offset_commit.refuse),
    ApiKey.OFFSET_FETCH: Handler(offset_fetch.handle, offset_fetch.refuse),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: Handler(
        offset_for_leader_epoch.handle, offset_for_leader_epoch.refuse
    ),
    ApiKey.JOIN_GROUP: Handler(join_group.handle, join_group.refuse),
    ApiKey.HEARTBEAT: Handler(heartbeat.handle, heartbeat.refuse),
    ApiKey.LEAVE_GROUP: Handler(leave_group.handle, leave_group.refuse),
    ApiKey.SYNC_GROUP: Handler(sync_group.handle, sync_group.refuse),
    ApiKey.DESCRIBE_GROUPS: Handler(describe_groups.handle, describe_groups.refuse),
    ApiKey.LIST_GROUPS: Handler(list_groups.handle, list_groups.refuse),
    ApiKey.DELETE_GROUPS: Handler(delete_groups.handle, delete_groups.refuse),
}
