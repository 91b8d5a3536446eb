"""ApiVersions: which APIs and versions this broker speaks.

A version that is not known is answered with a body of version 0, error 35 and the supported ranges, because that is
the one form every client can read (KIP-511); `server` does it, as such a request cannot be decoded. Produce is
announced from version 0 though 3 is the first that is served: Kafka 4 does so for librdkafka (KAFKA-18659). Versions:
3+ flexible, with a header of version 0 all the same; 5 names the cluster and node the client means (KIP-1242).
"""

from __future__ import annotations

from collections.abc import Iterable

from ottla.protocol.api_keys import APIS, ApiKey
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
)
from ottla.testing.broker.call import Call


def supported_range(key: int) -> tuple[int, int]:
    """Return the first and last version of an API that are served; unstable ones are not."""
    api = APIS[key]
    return api.min_version, api.max_version - api.latest_unstable


def announce(keys: Iterable[int], error: ErrorCode = ErrorCode.NONE) -> ApiVersionsResponse:
    """Return the answer that lists the APIs."""
    versions = []
    for key in sorted(keys):
        first, last = supported_range(key)
        first = 0 if key == ApiKey.PRODUCE else first
        versions.append(ApiVersion(api_key=key, min_version=first, max_version=last))
    return ApiVersionsResponse(error_code=error, api_keys=versions)


async def handle(request: ApiVersionsRequest, call: Call) -> ApiVersionsResponse:
    wrong_cluster = request.cluster_id not in (None, call.cluster.id)
    wrong_node = request.node_id not in (-1, call.node)
    if call.version >= 5 and (wrong_cluster or wrong_node):
        return announce(call.apis, ErrorCode.REBOOTSTRAP_REQUIRED)
    if call.version >= 3 and not request.client_software_name:
        return announce(call.apis, ErrorCode.INVALID_REQUEST)
    return announce(call.apis)


def refuse(request: ApiVersionsRequest, call: Call, error: ErrorCode) -> ApiVersionsResponse:
    return ApiVersionsResponse(error_code=error)
