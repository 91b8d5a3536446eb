"""Statistics of a produce flow, taken at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ottla.seam.latency import Latency


class Traffic(NamedTuple):
    """Batches that were sent, since the start."""

    batches: int
    """Sent for the first time."""
    records: int
    """In those batches."""
    raw_bytes: int
    """Of those batches, before compression."""
    sent_bytes: int
    """Of those batches, as they were sent."""
    retries: int
    """Batches sent again."""


class ProduceNode(NamedTuple):
    """The part of one node, over all connections to it."""

    node_id: int
    """-1: of connections whose node is not known."""
    address: str
    traffic: Traffic
    requests: int
    in_flight: int
    throttle_ms: int
    throttled_for_ms: float
    silent_for_ms: float
    latency: Latency


class ProduceTopic(NamedTuple):
    """The part of one topic."""

    topic: str
    traffic: Traffic
    delivered: int
    failed: int
    unknown: int
    buffered_bytes: int
    buffered_records: int


class ProduceStatistics(NamedTuple):
    """All of a produce flow."""

    traffic: Traffic
    accepted: int
    delivered: int
    failed: int
    unknown: int
    requests: int
    buffered_bytes: int
    buffer_bytes: int
    waiting_senders: int
    latency: Latency
    nodes: Sequence[ProduceNode]
    topics: Sequence[ProduceTopic]
