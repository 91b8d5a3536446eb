"""Pauses of a connection that the broker throttles (KIP-219).

From certain versions on a broker answers at once and the client has to wait; in older versions the broker waits
before it answers. Pure. Java: `AbstractResponse.shouldClientThrottle`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ottla.protocol.api_keys import ApiKey

FIRST_THROTTLED_VERSION: Mapping[int, int] = {
    ApiKey.PRODUCE: 6,
    ApiKey.FETCH: 8,
    ApiKey.LIST_OFFSETS: 3,
    ApiKey.METADATA: 6,
    ApiKey.OFFSET_COMMIT: 4,
    ApiKey.OFFSET_FETCH: 4,
    ApiKey.FIND_COORDINATOR: 2,
    ApiKey.JOIN_GROUP: 3,
    ApiKey.HEARTBEAT: 2,
    ApiKey.SYNC_GROUP: 2,
    ApiKey.LEAVE_GROUP: 2,
    ApiKey.LIST_GROUPS: 2,
    ApiKey.DESCRIBE_GROUPS: 2,
    ApiKey.API_VERSIONS: 2,
    ApiKey.CREATE_TOPICS: 3,
    ApiKey.DELETE_TOPICS: 2,
    ApiKey.DESCRIBE_CONFIGS: 2,
}
"""First version in which the client waits; 1 for other APIs."""


def mute_seconds(api_key: int, version: int, throttle_time_ms: int) -> float:
    """Seconds without requests on the connection after a response with this throttle time."""
    if throttle_time_ms <= 0 or version < FIRST_THROTTLED_VERSION.get(api_key, 1):
        return 0.0
    return throttle_time_ms / 1000
