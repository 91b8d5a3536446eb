"""What members of a classic group tell each other inside JoinGroup and SyncGroup: subscription and assignment.

Each is an int16 version and a body that is never flexible. A reader meets versions newer than its own and reads what it
knows of them. References: KIP-429, KIP-792, KIP-881; Java: ConsumerProtocol.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from ottla.errors import DecodeError
from ottla.message import TopicPartition
from ottla.protocol.messages import consumer_protocol as wire

_SUBSCRIPTION_VERSION = 1
"""Owned partitions, which cooperative members read, need 1; nothing here needs more."""
_ASSIGNMENT_VERSION = 0


def encode_subscription(topics: Iterable[str]) -> bytes:
    """This member's subscription, for JoinGroup."""
    body = wire.ConsumerProtocolSubscription(topics=sorted(topics), user_data=None, owned_partitions=[])
    return struct.pack(">h", _SUBSCRIPTION_VERSION) + body.encode(_SUBSCRIPTION_VERSION)


def decode_topics(data: bytes) -> Sequence[str]:
    """The topics of another member's subscription, whatever its version."""
    version = _version(data)
    known = min(version, wire.ConsumerProtocolSubscription.MAX_VERSION)
    body, _ = wire.ConsumerProtocolSubscription.decode_from(data, 2, known)
    return body.topics


def encode_assignment(partitions: Iterable[TopicPartition]) -> bytes:
    """One member's partitions, for SyncGroup."""
    topics: dict[str, list[int]] = {}
    for topic, partition in partitions:
        topics.setdefault(topic, []).append(partition)
    body = wire.ConsumerProtocolAssignment(
        assigned_partitions=[wire.TopicPartition(topic=name, partitions=parts) for name, parts in topics.items()],
        user_data=None,
    )
    return struct.pack(">h", _ASSIGNMENT_VERSION) + body.encode(_ASSIGNMENT_VERSION)


def decode_assignment(data: bytes) -> list[TopicPartition]:
    """The partitions that the leader gave to this member; empty bytes mean none."""
    if not data:
        return []
    version = _version(data)
    known = min(version, wire.ConsumerProtocolAssignment.MAX_VERSION)
    body, _ = wire.ConsumerProtocolAssignment.decode_from(data, 2, known)
    return sorted(TopicPartition(t.topic, p) for t in body.assigned_partitions for p in t.partitions)


def _version(data: bytes) -> int:
    if len(data) < 2:
        raise DecodeError("a member's group data is shorter than its version number")
    version: int = struct.unpack_from(">h", data)[0]
    if version < 0:
        raise DecodeError(f"a member's group data has version {version}")
    return version
