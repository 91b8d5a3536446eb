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
    delete_topics,
    fetch,
    find_coordinator,
    init_producer_id,
    list_offsets,
    metadata,
    produce,
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
}
