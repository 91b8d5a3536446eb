"""Statistics: what a producer has counted since its start and what it holds now, as values.

Counted in Rust once per batch or request (`crates/core/src/produce/stats.rs`); one look takes everything in one hold of the
lock, so the numbers fit together. Leaf; any thread.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class LatencyStatistics:
    """How long requests took, from the choice of their batches to their answer; those of the last 30 to 60 seconds.

    Percentiles are told to an eighth of their value, upwards; all are 0 where no request was answered.
    """

    count: int
    """Requests answered in this time."""
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
    """Time for which it asked to be sent less, all in all."""
    throttled_for_ms: float
    """Time from now on in which nothing is sent to it."""
    silent_for_ms: float
    """Age of the oldest request that it has not answered; goes on over a lost connection. 0: it owes nothing."""
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
    """What they take of `buffer_memory`."""
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
    """What a producer has counted since its start, and what it holds now; see `Producer.statistics`.

    accepted = delivered + failed + unknown + buffered_records, at any moment.
    """

    accepted: int
    """Messages that `send` took."""
    delivered: int
    """Of them, written, as the broker said (with acks=0: handed to the socket)."""
    failed: int
    """Certainly not written."""
    unknown: int
    """May or may not be written."""
    buffered_records: int
    """Accepted and without an outcome yet."""
    buffered_bytes: int
    """Of `buffer_memory`, in use: what has no outcome, and outcomes that were asked for and not read."""
    buffer_capacity_bytes: int
    """`buffer_memory`."""
    waiting_senders: int
    """Calls of `send` that wait for room now."""
    batches: int
    """Batches sent for the first time."""
    retries: int
    """Batches sent again."""
    batched_records: int
    """Records in those batches."""
    sent_bytes: int
    """Bytes of those batches as they were sent."""
    average_batch_bytes: float
    """As they were sent."""
    average_batch_records: float
    compression_ratio: float
    """Bytes sent for a byte of batch as it was appended; 1.0: no gain."""
    requests: int
    """Produce requests sent."""
    in_flight_requests: int
    """Of them, those without an answer yet."""
    throttle_ms: int
    """Time for which brokers asked to be sent less, all in all."""
    throttled_for_ms: float
    """The longest time from now on in which some broker is sent nothing."""
    latency: LatencyStatistics
    """Of the requests to all brokers."""
    brokers: tuple[BrokerStatistics, ...]
    """By node id."""
    topics: tuple[TopicStatistics, ...]
    """In the order of their first message."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain dicts, lists and numbers, for JSON."""
        told = dataclasses.asdict(self)
        told["brokers"] = list(told["brokers"])
        told["topics"] = list(told["topics"])
        return told


def _traffic(told: Mapping[str, Any]) -> dict[str, Any]:
    batches, records = told["batches"], told["batched_records"]
    raw, sent = told["raw_bytes"], told["sent_bytes"]
    return {
        "batches": batches,
        "retries": told["retries"],
        "batched_records": records,
        "sent_bytes": sent,
        "average_batch_bytes": sent / batches if batches else 0.0,
        "average_batch_records": records / batches if batches else 0.0,
        "compression_ratio": sent / raw if raw else 1.0,
    }


def _broker(told: Mapping[str, Any]) -> BrokerStatistics:
    return BrokerStatistics(
        node_id=told["node_id"],
        address=told["address"],
        requests=told["requests"],
        in_flight_requests=told["in_flight"],
        throttle_ms=told["throttle_ms"],
        throttled_for_ms=told["throttled_for_ms"],
        silent_for_ms=told["silent_for_ms"],
        latency=LatencyStatistics(**told["latency"]),
        **_traffic(told),
    )


def _topic(told: Mapping[str, Any]) -> TopicStatistics:
    delivered, failed, unknown = told["delivered"], told["failed"], told["unknown"]
    return TopicStatistics(
        topic=told["topic"],
        accepted=delivered + failed + unknown + told["buffered_records"],
        delivered=delivered,
        failed=failed,
        unknown=unknown,
        buffered_records=told["buffered_records"],
        buffered_bytes=told["buffered_bytes"],
        **_traffic(told),
    )


def producer_statistics(told: Mapping[str, Any]) -> ProducerStatistics:
    """The value for what `ProduceFlow.statistics` tells."""
    brokers = tuple(_broker(one) for one in told["brokers"] if one["node_id"] >= 0)
    accepted = told["accepted"]
    delivered, failed, unknown = told["delivered"], told["failed"], told["unknown"]
    return ProducerStatistics(
        accepted=accepted,
        delivered=delivered,
        failed=failed,
        unknown=unknown,
        buffered_records=accepted - delivered - failed - unknown,
        buffered_bytes=told["buffered_bytes"],
        buffer_capacity_bytes=told["buffer_bytes"],
        waiting_senders=told["waiting_senders"],
        requests=told["requests"],
        in_flight_requests=sum(one["in_flight"] for one in told["brokers"]),
        throttle_ms=sum(one["throttle_ms"] for one in told["brokers"]),
        throttled_for_ms=max((one["throttled_for_ms"] for one in told["brokers"]), default=0.0),
        latency=LatencyStatistics(**told["latency"]),
        brokers=brokers,
        topics=tuple(_topic(one) for one in told["topics"]),
        **_traffic(told),
    )
