"""Fetching: the events of a fetch flow, as `FetchFlow.drain` returns them, its counts and its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from ottla.seam.connections import Loss

if TYPE_CHECKING:
    from ottla.seam.latency import Latency
    from ottla.seam.leaders import LeaderHint


class Divergence(NamedTuple):
    """The point at which the leader's log differs from the records that were read (KIP-320)."""

    epoch: int
    """Largest leader epoch in the leader's log up to that of the record before the position."""
    end_offset: int
    """End of this epoch in the leader's log."""
    fetched_epoch: int
    """Leader epoch of the record before the position, once the waiting records that are not in the log are dropped."""


class Follower(NamedTuple):
    """The follower that the leader named to fetch from (KIP-392)."""

    node_id: int


FetchHoldCause = Literal["answer", "asked"] | Loss | Divergence | Follower
"""Cause of a hold: an error code or a newer leader, the engine's `hold`, the end of its connection, or a leader that reported
another log or a follower."""


class FetchHeld(NamedTuple):
    """A partition no longer flows; it waits for `route`."""

    topic: str
    partition: int
    cause: FetchHoldCause
    code: int
    """The broker's error code; 0: none."""
    fetch_offset: int
    leader: LeaderHint | None


class FetchThrottled(NamedTuple):
    """A broker asked for a pause (KIP-219), which the flow observes."""

    conn: int
    throttle_ms: int


class FetchLaneWanted(NamedTuple):
    """A second connection to this node would let its partitions be read without waiting for each other; the flow wants it attached."""

    node_id: int


FetchEvent = FetchHeld | FetchThrottled | FetchLaneWanted


class PartitionState(NamedTuple):
    """An assigned partition now. Offsets are -1 where they are not known, all of them where it is not assigned."""

    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    position: int
    buffered_records: int
    paused: bool
    flowing: bool


class FetchNode(NamedTuple):
    """Counts of one broker since the start, over all connections to it."""

    node_id: int
    address: str
    """host:port of the latest connection."""
    requests: int
    in_flight: int
    fetched_bytes: int
    fetched_batches: int
    throttle_ms: int
    throttled_for_ms: float
    """Remaining time in which nothing is requested from it."""
    waiting_for_ms: float
    """Age of the request that it has not answered; 0: there is none."""
    latency: Latency


class FetchPartition(NamedTuple):
    """An assigned partition; counts since it was assigned."""

    topic: str
    partition: int
    node_id: int | None
    """The node that it is fetched from; None: it has no route."""
    position: int
    """-1 before it has one."""
    high_watermark: int
    """-1 before the first response."""
    last_stable_offset: int
    buffered_records: int
    buffered_bytes: int
    handed_records: int
    fetched_bytes: int
    fetched_batches: int
    paused: bool


class FetchStatistics(NamedTuple):
    """Counts of a fetch flow since its start, and its contents now."""

    requests: int
    responses: int
    fetched_bytes: int
    fetched_batches: int
    handed_records: int
    holds: int
    buffered_bytes: int
    buffer_bytes: int
    sessions: int
    """Open fetch sessions."""
    latency: Latency
    nodes: list[FetchNode]
    partitions: list[FetchPartition]
