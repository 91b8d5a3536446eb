"""Whole frames, without their int32 size: header and body together.

Station: request, and every response. A request has header v1, or v2 when its version is flexible; a
response has header v0, or v1 when flexible, except ApiVersions, whose response always has header v0
so that it can be read before the versions are known. Both request headers start alike: api key
int16 at byte 0, version int16 at 2, correlation id int32 at 4, client id as an int16 string at 8.
References: KIP-482, KIP-511; Java: `RequestHeader`, `ApiKeys.responseHeaderVersion`.
"""

from __future__ import annotations

from typing import TypeVar

from ottla.errors import DecodeError
from ottla.protocol.api_keys import ApiKey
from ottla.protocol.base import Message
from ottla.protocol.messages.header import RequestHeader, ResponseHeader
from ottla.protocol.registry import request_class

M = TypeVar("M", bound=Message)


def request_header_version(message: type[Message] | Message, version: int) -> int:
    """Return the version of the header in front of a request body."""
    return 2 if message.is_flexible(version) else 1


def response_header_version(message: type[Message] | Message, version: int) -> int:
    """Return the version of the header in front of a response body."""
    if message.API_KEY == ApiKey.API_VERSIONS:
        return 0
    return 1 if message.is_flexible(version) else 0


def encode_request(
    message: Message, version: int, correlation_id: int = 0, client_id: str | None = None
) -> bytes:
    """Return a request frame without its size; the correlation id is at bytes 4 to 8.

    Raises:
        UnsupportedVersion: As `Message.encode`.
        EncodeError: As `Message.encode`.
    """
    assert message.API_KEY is not None
    header = RequestHeader(
        request_api_key=message.API_KEY,
        request_api_version=version,
        correlation_id=correlation_id,
        client_id=client_id,
    )
    message.check_version(version)
    out = bytearray()
    header.encode_into(out, request_header_version(message, version))
    message.encode_into(out, version)
    return bytes(out)


def peek_request_header(frame: bytes | memoryview) -> RequestHeader:
    """Read the fields that all request headers have in common, for any API and version of the frame.

    They suffice to answer an unknown version of ApiVersions.

    Raises:
        DecodeError: The frame is too short or its client id is not a string.
    """
    header, _ = RequestHeader.decode_from(frame, 0, 1)
    return header


def decode_request(frame: bytes | memoryview) -> tuple[RequestHeader, Message]:
    """Read a whole request frame.

    Raises:
        UnsupportedVersion: The API or its version is not known; `peek_request_header` still
            reads the header.
        DecodeError: The bytes are not what the header says, or bytes are left over.
    """
    peeked = peek_request_header(frame)
    message_class = request_class(peeked.request_api_key)
    version = peeked.request_api_version
    message_class.check_version(version)
    header, pos = RequestHeader.decode_from(
        frame, 0, request_header_version(message_class, version)
    )
    message, end = message_class.decode_from(frame, pos, version)
    _check_end(message_class, version, frame, end)
    return header, message


def encode_response(message: Message, version: int, correlation_id: int) -> bytes:
    """Return a response frame without its size; raises as `Message.encode`."""
    message.check_version(version)
    out = bytearray()
    header = ResponseHeader(correlation_id=correlation_id)
    header.encode_into(out, response_header_version(message, version))
    message.encode_into(out, version)
    return bytes(out)


def decode_response(cls: type[M], version: int, frame: bytes | memoryview) -> tuple[int, M]:
    """Read a whole response frame; return its correlation id and the response.

    Raises:
        UnsupportedVersion: The class does not have the version.
        DecodeError: The bytes are not this response, or bytes are left over.
    """
    cls.check_version(version)
    header, pos = ResponseHeader.decode_from(frame, 0, response_header_version(cls, version))
    message, end = cls.decode_from(frame, pos, version)
    _check_end(cls, version, frame, end)
    return header.correlation_id, message


def _check_end(cls: type[Message], version: int, frame: bytes | memoryview, end: int) -> None:
    if end != len(frame):
        raise DecodeError(
            f"{cls.NAME} version {version}: {len(frame) - end} bytes left over at byte {end}"
        )
