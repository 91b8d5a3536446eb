"""Statistics: the counters of a producer since its start, and its current buffer, as values.

Counted in Rust once per batch or request (`crates/core/src/produce/stats.rs`); one snapshot is taken in one hold of
the lock, so the numbers fit together. Leaf; any thread.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ottla.seam.latency import Latency
    from ottla.seam.produce_statistics import (
        ProduceNode,
        ProduceStatistics,
        ProduceTopic,
        Traffic,
    )


@dataclass(frozen=True, slots=True)
class LatencyStatistics:
    """Latencies of the last 30 to 60 seconds: of a producer's requests from the choice of their batches to their answer.

    Percentiles are rounded up to an eighth of their value; all are 0 where there was none.
    """

    count: int
    """Number of them."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class BrokerStatistics:
    """One broker's part, over all connections to it since the start."""

    node_id: int
    address: str
    """host:port of the last connection."""
    requests: int
    """Produce requests sent."""
    in_flight_requests: int
    """Of them, those without an answer yet."""
    batches: int
    """Batches sent to it for the first time."""
    retries: int
    """Batches sent to it again."""
    batched_records: int
    """Records in those batches."""
    sent_bytes: int
    """Bytes of those batches as they were sent."""
    average_batch_bytes: float
    average_batch_records: float
    compression_ratio: float
    """Bytes sent for a byte of batch as it was appended; 1.0: no gain."""
    throttle_ms: int
    """Total time for which it throttled the client."""
    throttled_for_ms: float
    """Time from now until it is sent the next request."""
    silent_for_ms: float
    """Age of the oldest request without an answer, also over a lost connection. 0: every request was answered."""
    latency: LatencyStatistics


@dataclass(frozen=True, slots=True)
class TopicStatistics:
    """One topic's part. accepted = delivered + failed + unknown + buffered_records."""

    topic: str
    accepted: int
    delivered: int
    failed: int
    unknown: int
    buffered_records: int
    """Accepted and without an outcome."""
    buffered_bytes: int
    """Their memory in `buffer_memory`."""
    batches: int
    """Batches sent for the first time."""
    retries: int
    """Batches sent again."""
    batched_records: int
    sent_bytes: int
    average_batch_bytes: float
    average_batch_records: float
    compression_ratio: float


@dataclass(frozen=True, slots=True)
class ProducerStatistics:
    """Counters of a producer since its start, and its current buffer; see `Producer.statistics`.

    accepted = delivered + failed + unknown + buffered_records, at any moment.
    """

    accepted: int
    """Messages that `send` took."""
    delivered: int
    """Of them, written, by the answer of the broker (with acks=0: handed to the socket)."""
    failed: int
    """Certainly not written."""
    unknown: int
    """May or may not be written."""
    buffered_records: int
    """Accepted and without an outcome yet."""
    buffered_bytes: int
    """Used part of `buffer_memory`: messages without an outcome, and unread outcomes."""
    buffer_capacity_bytes: int
    """`buffer_memory`."""
    waiting_senders: int
    """Calls of `send` that wait for free buffer space."""
    batches: int
    """Batches sent for the first time."""
    retries: int
    """Batches sent again."""
    batched_records: int
    """Records in those batches."""
    sent_bytes: int
    """Bytes of those batches as they were sent."""
    average_batch_bytes: float
    """Size as sent."""
    average_batch_records: float
    compression_ratio: float
    """Bytes sent for a byte of batch as it was appended; 1.0: no gain."""
    requests: int
    """Produce requests sent."""
    in_flight_requests: int
    """Of them, those without an answer yet."""
    throttle_ms: int
    """Total time for which brokers throttled the client."""
    throttled_for_ms: float
    """Longest time from now until a throttled broker is sent the next request."""
    latency: LatencyStatistics
    """Of the requests to all brokers."""
    brokers: tuple[BrokerStatistics, ...]
    """By node id."""
    topics: tuple[TopicStatistics, ...]
    """In the order of their first message."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain dicts, lists and numbers, for JSON."""
        plain = dataclasses.asdict(self)
        plain["brokers"] = list(plain["brokers"])
        plain["topics"] = list(plain["topics"])
        return plain


def _traffic(traffic: Traffic) -> dict[str, Any]:
    batches, sent, raw = traffic.batches, traffic.sent_bytes, traffic.raw_bytes
    return {
        "batches": batches,
        "retries": traffic.retries,
        "batched_records": traffic.records,
        "sent_bytes": sent,
        "average_batch_bytes": sent / batches if batches else 0.0,
        "average_batch_records": traffic.records / batches if batches else 0.0,
        "compression_ratio": sent / raw if raw else 1.0,
    }


def _latency(latency: Latency) -> LatencyStatistics:
    return LatencyStatistics(
        count=latency.requests,
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        p99_ms=latency.p99_ms,
        max_ms=latency.max_ms,
    )


def _broker(node: ProduceNode) -> BrokerStatistics:
    return BrokerStatistics(
        node_id=node.node_id,
        address=node.address,
        requests=node.requests,
        in_flight_requests=node.in_flight,
        throttle_ms=node.throttle_ms,
        throttled_for_ms=node.throttled_for_ms,
        silent_for_ms=node.silent_for_ms,
        latency=_latency(node.latency),
        **_traffic(node.traffic),
    )


def _topic(topic: ProduceTopic) -> TopicStatistics:
    delivered, failed, unknown = topic.delivered, topic.failed, topic.unknown
    return TopicStatistics(
        topic=topic.topic,
        accepted=delivered + failed + unknown + topic.buffered_records,
        delivered=delivered,
        failed=failed,
        unknown=unknown,
        buffered_records=topic.buffered_records,
        buffered_bytes=topic.buffered_bytes,
        **_traffic(topic.traffic),
    )


def producer_statistics(flow: ProduceStatistics) -> ProducerStatistics:
    """The public value of what the flow has counted."""
    delivered, failed, unknown = flow.delivered, flow.failed, flow.unknown
    return ProducerStatistics(
        accepted=flow.accepted,
        delivered=delivered,
        failed=failed,
        unknown=unknown,
        buffered_records=flow.accepted - delivered - failed - unknown,
        buffered_bytes=flow.buffered_bytes,
        buffer_capacity_bytes=flow.buffer_bytes,
        waiting_senders=flow.waiting_senders,
        requests=flow.requests,
        in_flight_requests=sum(node.in_flight for node in flow.nodes),
        throttle_ms=sum(node.throttle_ms for node in flow.nodes),
        throttled_for_ms=max((node.throttled_for_ms for node in flow.nodes), default=0.0),
        latency=_latency(flow.latency),
        brokers=tuple(_broker(node) for node in flow.nodes if node.node_id >= 0),
        topics=tuple(_topic(topic) for topic in flow.topics),
        **_traffic(flow.traffic),
    )
