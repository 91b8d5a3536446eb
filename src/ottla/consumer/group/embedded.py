"""Subscription and assignment of a classic member, as bytes inside JoinGroup and SyncGroup.

References: KIP-429, KIP-792; Java: ConsumerProtocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ottla.message import TopicPartition
from ottla.protocol import consumer_protocol
from ottla.protocol.messages.consumer_protocol import (
    AssignmentTopicPartition,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)

_SUBSCRIPTION_VERSION = 1
"""Owned partitions, which cooperative members read, need version 1; this client writes nothing newer."""
_ASSIGNMENT_VERSION = 0


def encode_subscription(topics: Iterable[str]) -> bytes:
    """This member's subscription, for JoinGroup."""
    body = ConsumerProtocolSubscription(topics=sorted(topics))
    return consumer_protocol.encode_payload(body, _SUBSCRIPTION_VERSION)


def decode_topics(data: bytes) -> Sequence[str]:
    """The topics of another member's subscription, of any version.

    Raises:
        DecodeError: The bytes are no subscription.
    """
    return consumer_protocol.decode_subscription(data)[1].topics


def encode_assignment(partitions: Iterable[TopicPartition]) -> bytes:
    """One member's partitions, for SyncGroup."""
    topics: dict[str, list[int]] = {}
    for topic, partition in partitions:
        topics.setdefault(topic, []).append(partition)
    body = ConsumerProtocolAssignment(
        assigned_partitions=[
            AssignmentTopicPartition(topic=name, partitions=parts) for name, parts in topics.items()
        ]
    )
    return consumer_protocol.encode_payload(body, _ASSIGNMENT_VERSION)


def decode_assignment(data: bytes) -> list[TopicPartition]:
    """The partitions that the leader assigned to this member, each once.

    Raises:
        DecodeError: The bytes are no assignment.
    """
    body = consumer_protocol.decode_assignment(data)[1]
    return sorted(
        {TopicPartition(t.topic, p) for t in body.assigned_partitions for p in t.partitions}
    )
