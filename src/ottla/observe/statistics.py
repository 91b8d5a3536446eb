"""Statistics: the counters of a producer since its start, and its current buffer, as values.

Counted in Rust once per batch or request (`crates/core/src/produce/stats.rs`); one snapshot is taken in one hold of
the lock, so the numbers fit together. Leaf; any thread.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def _traffic(counted: Mapping[str, Any]) -> dict[str, Any]:
    batches, records = counted["batches"], counted["batched_records"]
    raw, sent = counted["raw_bytes"], counted["sent_bytes"]
    return {
        "batches": batches,
        "retries": counted["retries"],
        "batched_records": records,
        "sent_bytes": sent,
        "average_batch_bytes": sent / batches if batches else 0.0,
        "average_batch_records": records / batches if batches else 0.0,
        "compression_ratio": sent / raw if raw else 1.0,
    }


def _broker(counted: Mapping[str, Any]) -> BrokerStatistics:
    return BrokerStatistics(
        node_id=counted["node_id"],
        address=counted["address"],
        requests=counted["requests"],
        in_flight_requests=counted["in_flight"],
        throttle_ms=counted["throttle_ms"],
        throttled_for_ms=counted["throttled_for_ms"],
        silent_for_ms=counted["silent_for_ms"],
        latency=LatencyStatistics(**counted["latency"]),
        **_traffic(counted),
    )


def _topic(counted: Mapping[str, Any]) -> TopicStatistics:
    delivered, failed, unknown = counted["delivered"], counted["failed"], counted["unknown"]
    return TopicStatistics(
        topic=counted["topic"],
        accepted=delivered + failed + unknown + counted["buffered_records"],
        delivered=delivered,
        failed=failed,
        unknown=unknown,
        buffered_records=counted["buffered_records"],
        buffered_bytes=counted["buffered_bytes"],
        **_traffic(counted),
    )


def producer_statistics(counted: Mapping[str, Any]) -> ProducerStatistics:
    """The value of a snapshot of `ProduceFlow.statistics`."""
    brokers = tuple(_broker(one) for one in counted["brokers"] if one["node_id"] >= 0)
    accepted = counted["accepted"]
    delivered, failed, unknown = counted["delivered"], counted["failed"], counted["unknown"]
    return ProducerStatistics(
        accepted=accepted,
        delivered=delivered,
        failed=failed,
        unknown=unknown,
        buffered_records=accepted - delivered - failed - unknown,
        buffered_bytes=counted["buffered_bytes"],
        buffer_capacity_bytes=counted["buffer_bytes"],
        waiting_senders=counted["waiting_senders"],
        requests=counted["requests"],
        in_flight_requests=sum(one["in_flight"] for one in counted["brokers"]),
        throttle_ms=sum(one["throttle_ms"] for one in counted["brokers"]),
        throttled_for_ms=max((one["throttled_for_ms"] for one in counted["brokers"]), default=0.0),
        latency=LatencyStatistics(**counted["latency"]),
        brokers=brokers,
        topics=tuple(_topic(one) for one in counted["topics"]),
        **_traffic(counted),
    )
