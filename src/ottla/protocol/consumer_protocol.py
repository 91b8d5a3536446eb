"""The payloads that members of a classic group exchange: int16 version, then a body.

Station: none of a message; the classic group and brokers in tests use it. A reader of a newer version
reads the known fields and ignores the rest, so members of different releases can share a group.
References: KIP-429, KIP-792, KIP-881; Java: `ConsumerProtocol`.
"""

from __future__ import annotations

from typing import TypeVar

from ottla.errors import DecodeError
from ottla.protocol.base import Message
from ottla.protocol.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)

M = TypeVar("M", bound=Message)

__all__ = [
    "ConsumerProtocolAssignment",
    "ConsumerProtocolSubscription",
    "decode_assignment",
    "decode_subscription",
    "encode_payload",
]


def encode_payload(message: Message, version: int) -> bytes:
    """Return the version as int16 and the body; raises as `Message.encode`."""
    return version.to_bytes(2, "big", signed=True) + message.encode(version)


def decode_subscription(payload: bytes | memoryview) -> tuple[int, ConsumerProtocolSubscription]:
    """Read a member's subscription and the version it was written in.

    Raises:
        DecodeError: The bytes are not a subscription.
    """
    return _decode(ConsumerProtocolSubscription, payload)


def decode_assignment(payload: bytes | memoryview) -> tuple[int, ConsumerProtocolAssignment]:
    """Read a member's assignment and the version it was written in; no bytes: nothing assigned.

    Raises:
        DecodeError: The bytes are not an assignment.
    """
    if len(payload) == 0:
        return 0, ConsumerProtocolAssignment()
    return _decode(ConsumerProtocolAssignment, payload)


def _decode(cls: type[M], payload: bytes | memoryview) -> tuple[int, M]:
    if len(payload) < 2:
        raise DecodeError(f"{cls.NAME}: {len(payload)} bytes hold no version")
    version = int.from_bytes(payload[:2], "big", signed=True)
    if version < cls.MIN_VERSION:
        raise DecodeError(f"{cls.NAME}: version {version}")
    message, _ = cls.decode_from(payload, 2, min(version, cls.MAX_VERSION))
    return version, message
