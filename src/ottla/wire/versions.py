"""Which version of each API a connection speaks: the ApiVersions exchange, without I/O, and the choice per request.

The client sends ApiVersions in its own newest version. A broker that lacks it answers error 35 in the v0 layout, mostly
with its own range for ApiVersions; the client asks again in that, or in v0. References: KIP-35, KIP-511; Java
NetworkClient.handleApiVersionsResponse, ApiVersionsResponse.parse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ottla.errors import DecodeError, UnsupportedVersion, for_code
from ottla.protocol.api_keys import ApiKey
from ottla.protocol.base import Message
from ottla.protocol.headers import decode_response
from ottla.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

FIRST_VERSION = 4
"""The newest version without the cluster check of KIP-1242, which needs to know the node before it is asked."""

_ERROR_AT = 4
"""Every version of the response starts with the error code, behind the correlation id."""
_UNSUPPORTED_VERSION = 35

CLIENT_CEILING: Mapping[int, int] = {ApiKey.ADD_PARTITIONS_TO_TXN: 3}
"""APIs whose newest versions are for brokers among themselves."""


class VersionRange(NamedTuple):
    """Versions of one API, both ends included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


class AskAgain(NamedTuple):
    """The broker lacks the version: ask in this one."""

    version: int


class Agreed(NamedTuple):
    """What the broker speaks, by API key."""

    versions: Mapping[int, VersionRange]


class Negotiation:
    """One ApiVersions exchange: `version` is what to ask in, `step` says how it goes on."""

    def __init__(self, version: int = FIRST_VERSION) -> None:
        self.version = version

    def step(self, frame: bytes) -> AskAgain | Agreed:
        """Take a response frame.

        Raises:
            UnsupportedVersion: The broker refuses even version 0.
            KafkaError: The broker refuses the request for another reason.
            DecodeError: The bytes are no ApiVersions response at all.
        """
        refused = frame[_ERROR_AT : _ERROR_AT + 2] == _UNSUPPORTED_VERSION.to_bytes(2, "big")
        response = self._decode(frame, 0 if refused else self.version)
        if refused:
            return self._ask_again(response)
        if response.error_code:
            raise for_code(response.error_code, "the broker refuses to tell its versions")
        return Agreed(
            {
                key.api_key: VersionRange(key.min_version, key.max_version)
                for key in response.api_keys
            }
        )

    def _decode(self, frame: bytes, version: int) -> ApiVersionsResponse:
        """Read it in the version asked for, or in v0, which is what old brokers answer to anything."""
        try:
            return decode_response(ApiVersionsResponse, version, frame)[1]
        except DecodeError:
            if version == 0:
                raise
            return decode_response(ApiVersionsResponse, 0, frame)[1]

    def _ask_again(self, response: ApiVersionsResponse) -> AskAgain:
        if self.version == 0:
            raise UnsupportedVersion(
                "the broker speaks no version of ApiVersions that this client knows"
            )
        offered = [k.max_version for k in response.api_keys if k.api_key == ApiKey.API_VERSIONS]
        # Strictly lower, so that a broker that refuses what it offers cannot keep the client asking.
        self.version = max(0, min(self.version - 1, offered[0] if offered else 0))
        return AskAgain(self.version)


def own_range(request: type[Message]) -> VersionRange:
    """What this client speaks of an API: stable versions, and only those meant for clients."""
    high = request.MAX_VERSION - 1 if request.LATEST_UNSTABLE else request.MAX_VERSION
    ceiling = CLIENT_CEILING.get(request.API_KEY if request.API_KEY is not None else -1, high)
    return VersionRange(request.MIN_VERSION, min(high, ceiling))


def choose(
    request: type[Message], broker: Mapping[int, VersionRange], address: str = "the broker"
) -> int:
    """The newest version that both speak.

    Raises:
        UnsupportedVersion: There is none; the message names both ranges.
    """
    own = own_range(request)
    theirs = broker.get(request.API_KEY if request.API_KEY is not None else -1)
    if theirs is None:
        raise UnsupportedVersion(f"{address} does not speak {request.NAME} (this client: {own})")
    version = min(own.high, theirs.high)
    if version < max(own.low, theirs.low):
        raise UnsupportedVersion(
            f"{request.NAME}: {address} speaks {theirs}, this client {own}: no version in common"
        )
    return version


def hello() -> ApiVersionsRequest:
    """The first request on every connection: who this client is."""
    from ottla import __version__

    return ApiVersionsRequest(client_software_name="ottla", client_software_version=__version__)
