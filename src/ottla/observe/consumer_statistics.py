"""Statistics of a consumer or a group: counts since its start and contents now, as values.

Fetching is counted in Rust (`crates/core/src/fetch/stats.rs`) once per request, response or batch, and taken in one hold of
the lock, so its numbers fit together. Leaf; any thread.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ottla.observe.statistics import LatencyStatistics

if TYPE_CHECKING:
    from ottla.seam.fetching import FetchNode, FetchPartition, FetchStatistics
    from ottla.seam.latency import Latency


@dataclass(frozen=True, slots=True)
class FetchBrokerStatistics:
    """Fetches from one broker since the start, over all connections to it."""

    node_id: int
    address: str
    """host:port of the latest connection."""
    requests: int
    """Fetch requests sent."""
    in_flight_requests: int
    """Requests that are not answered yet. A broker without new records answers after `fetch_max_wait_ms`."""
    fetched_bytes: int
    """Bytes of its responses."""
    fetched_batches: int
    throttle_ms: int
    """Total of the pauses that it asked for."""
    throttled_for_ms: float
    """Remaining time in which nothing is requested from it."""
    waiting_for_ms: float
    """Age of the request that it has not answered; 0: there is none."""
    latency: LatencyStatistics
    """From request to response, with the time that the broker waits for records."""


@dataclass(frozen=True, slots=True)
class PartitionStatistics:
    """One assigned partition; counts since it was assigned."""

    topic: str
    partition: int
    node_id: int | None
    """The broker that it is fetched from; None: none now."""
    position: int | None
    """Offset of the next record that a poll returns; None: not known yet."""
    end_offset: int | None
    """Offset after the last record that can be read, by the latest response; None: no response yet."""
    lag: int | None
    """end_offset - position; None where either is not known."""
    buffered_records: int
    """Records that were fetched and not polled."""
    buffered_bytes: int
    handed_records: int
    """Records that polls returned."""
    fetched_bytes: int
    """Bytes of its batches."""
    fetched_batches: int
    paused: bool


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """The membership of a consumer since its start."""

    group_id: str
    member_id: str
    """The id that the coordinator gave this member; empty before it joined."""
    generation: int
    """-1 before it joined."""
    rebalances: int
    """Rebalances that ended with an assignment, the first join included."""
    rebalance_ms: float
    """Total duration of those rebalances."""
    last_rebalance_ms: float
    """Duration of the latest one; 0 before the first."""
    last_rebalance_reason: str
    """Cause of the latest one; empty before the first."""
    rebalancing_for_ms: float
    """Time since the current rebalance began; 0: there is none."""
    lost_partitions: int
    """Partitions that were lost without a revocation."""
    commits: int
    """Commits that the coordinator answered for every partition; several calls may share one."""
    failed_commits: int
    """Commits that failed for a partition or more."""
    commit_latency: LatencyStatistics
    """From the request of a commit to its outcome, retries included."""


@dataclass(frozen=True, slots=True)
class ConsumerStatistics:
    """Counts of a consumer since its start, and its contents now; see `Consumer.statistics`."""

    handed_records: int
    """Records that polls returned."""
    skipped_records: int
    """Records that did not deserialize and were skipped (`on_deserialize_error`)."""
    fetched_bytes: int
    """Bytes of all responses."""
    fetched_batches: int
    records_per_s: float
    """Records that polls returned per second, over the last minute."""
    bytes_per_s: float
    """Bytes of responses per second, over the last minute."""
    lag: int | None
    """Total over the assigned partitions; None where that of one is not known."""
    buffered_records: int
    """Records that were fetched and not polled."""
    buffered_bytes: int
    """Part of `fetch_buffer_bytes` in use."""
    buffer_capacity_bytes: int
    """`fetch_buffer_bytes`."""
    requests: int
    """Fetch requests sent."""
    in_flight_requests: int
    """Requests that are not answered yet."""
    throttle_ms: int
    """Total of the pauses that brokers asked for."""
    throttled_for_ms: float
    """Longest remaining time in which nothing is requested from a broker."""
    holds: int
    """Interruptions of a partition: errors, lost connections, moved leaders."""
    latency: LatencyStatistics
    """Of the requests to all brokers."""
    brokers: tuple[FetchBrokerStatistics, ...]
    """By node id."""
    partitions: tuple[PartitionStatistics, ...]
    """In the order of their assignment."""
    group: GroupStatistics | None
    """None without a `group_id`."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain dicts, lists and numbers, for JSON."""
        values = dataclasses.asdict(self)
        values["brokers"] = list(values["brokers"])
        values["partitions"] = list(values["partitions"])
        return values


def consumer_statistics(
    fetched: FetchStatistics,
    rates: tuple[float, float],
    group: GroupStatistics | None,
    *,
    skipped_records: int,
    read_committed: bool,
) -> ConsumerStatistics:
    """Put together.

    Args:
        fetched: Counts of the fetch flow.
        rates: Records and bytes per second.
        group: The membership, where there is one.
        skipped_records: Records that did not deserialize.
        read_committed: Whether reading ends at the last stable offset.
    """
    partitions = tuple(_partition(one, read_committed) for one in fetched.partitions)
    lags = [one.lag for one in partitions]
    return ConsumerStatistics(
        handed_records=fetched.handed_records,
        skipped_records=skipped_records,
        fetched_bytes=fetched.fetched_bytes,
        fetched_batches=fetched.fetched_batches,
        records_per_s=rates[0],
        bytes_per_s=rates[1],
        lag=None if None in lags else sum(lag for lag in lags if lag is not None),
        buffered_records=sum(one.buffered_records for one in partitions),
        buffered_bytes=fetched.buffered_bytes,
        buffer_capacity_bytes=fetched.buffer_bytes,
        requests=fetched.requests,
        in_flight_requests=sum(one.in_flight for one in fetched.nodes),
        throttle_ms=sum(one.throttle_ms for one in fetched.nodes),
        throttled_for_ms=max((one.throttled_for_ms for one in fetched.nodes), default=0.0),
        holds=fetched.holds,
        latency=_latency(fetched.latency),
        brokers=tuple(_broker(one) for one in fetched.nodes),
        partitions=partitions,
        group=group,
    )


def _broker(node: FetchNode) -> FetchBrokerStatistics:
    return FetchBrokerStatistics(
        node_id=node.node_id,
        address=node.address,
        requests=node.requests,
        in_flight_requests=node.in_flight,
        fetched_bytes=node.fetched_bytes,
        fetched_batches=node.fetched_batches,
        throttle_ms=node.throttle_ms,
        throttled_for_ms=node.throttled_for_ms,
        waiting_for_ms=node.waiting_for_ms,
        latency=_latency(node.latency),
    )


def _partition(part: FetchPartition, read_committed: bool) -> PartitionStatistics:
    position = part.position if part.position >= 0 else None
    end = part.last_stable_offset if read_committed else part.high_watermark
    end_offset = end if end >= 0 else None
    known = position is not None and end_offset is not None
    return PartitionStatistics(
        topic=part.topic,
        partition=part.partition,
        node_id=part.node_id,
        position=position,
        end_offset=end_offset,
        lag=max(0, end - part.position) if known else None,
        buffered_records=part.buffered_records,
        buffered_bytes=part.buffered_bytes,
        handed_records=part.handed_records,
        fetched_bytes=part.fetched_bytes,
        fetched_batches=part.fetched_batches,
        paused=part.paused,
    )


def _latency(known: Latency) -> LatencyStatistics:
    return LatencyStatistics(known.requests, known.p50_ms, known.p95_ms, known.p99_ms, known.max_ms)
