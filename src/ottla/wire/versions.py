"""Versions of the APIs on a connection: the ApiVersions exchange, without I/O, and the choice for each request.

The client sends ApiVersions in its newest version. A broker that lacks it answers error 35 in the v0 layout, mostly
with its range for ApiVersions; the client sends it again in that version, or in v0. References: KIP-35, KIP-511; Java
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
"""The newest version without the cluster check of KIP-1242, which needs the node id before the first request."""

_ERROR_AT = 4
"""Position of the error code in every version of the response: after the correlation id."""
_UNSUPPORTED_VERSION = 35

CLIENT_CEILING: Mapping[int, int] = {ApiKey.ADD_PARTITIONS_TO_TXN: 3}
"""APIs with newer versions that only brokers send to each other."""


class VersionRange(NamedTuple):
    """Versions of one API, both ends included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


class AskAgain(NamedTuple):
    """The broker lacks the version: send the request again in this one."""

    version: int


class Agreed(NamedTuple):
    """Versions of the broker, by API key."""

    versions: Mapping[int, VersionRange]


class Negotiation:
    """One ApiVersions exchange: the request goes out in `version`, `step` takes the response and returns the next step."""

    def __init__(self, version: int = FIRST_VERSION) -> None:
        self.version = version

    def step(self, frame: bytes) -> AskAgain | Agreed:
        """Take a response frame.

        Raises:
            UnsupportedVersion: The broker refuses even version 0.
            KafkaError: The broker refuses the request for another reason.
            DecodeError: The bytes are not an ApiVersions response.
        """
        refused = frame[_ERROR_AT : _ERROR_AT + 2] == _UNSUPPORTED_VERSION.to_bytes(2, "big")
        response = self._decode(frame, 0 if refused else self.version)
        if refused:
            return self._ask_again(response)
        if response.error_code:
            raise for_code(response.error_code, "the broker refuses ApiVersions")
        return Agreed(
            {
                key.api_key: VersionRange(key.min_version, key.max_version)
                for key in response.api_keys
            }
        )

    def _decode(self, frame: bytes, version: int) -> ApiVersionsResponse:
        """Decode it in the requested version, or in v0: old brokers answer every version in v0."""
        try:
            return decode_response(ApiVersionsResponse, version, frame)[1]
        except DecodeError:
            if version == 0:
                raise
            return decode_response(ApiVersionsResponse, 0, frame)[1]

    def _ask_again(self, response: ApiVersionsResponse) -> AskAgain:
        if self.version == 0:
            raise UnsupportedVersion(
                "the broker supports no version of ApiVersions that this client knows"
            )
        offered = [k.max_version for k in response.api_keys if k.api_key == ApiKey.API_VERSIONS]
        # Strictly lower, so that the exchange ends with a broker that refuses the version that it offers.
        self.version = max(0, min(self.version - 1, offered[0] if offered else 0))
        return AskAgain(self.version)


def own_range(request: type[Message]) -> VersionRange:
    """Versions of an API in this client: stable ones that are meant for clients."""
    high = request.MAX_VERSION - 1 if request.LATEST_UNSTABLE else request.MAX_VERSION
    ceiling = CLIENT_CEILING.get(request.API_KEY if request.API_KEY is not None else -1, high)
    return VersionRange(request.MIN_VERSION, min(high, ceiling))


def choose(
    request: type[Message], broker: Mapping[int, VersionRange], address: str = "the broker"
) -> int:
    """The newest common version.

    Raises:
        UnsupportedVersion: There is none; the message names both ranges.
    """
    own = own_range(request)
    theirs = broker.get(request.API_KEY if request.API_KEY is not None else -1)
    if theirs is None:
        raise UnsupportedVersion(f"{address} does not support {request.NAME} (this client: {own})")
    version = min(own.high, theirs.high)
    if version < max(own.low, theirs.low):
        raise UnsupportedVersion(
            f"{request.NAME}: {address} supports {theirs}, this client {own}: no version in common"
        )
    return version


def hello() -> ApiVersionsRequest:
    """The first request on every connection, with the name and version of this client."""
    from ottla import __version__

    return ApiVersionsRequest(client_software_name="ottla", client_software_version=__version__)
