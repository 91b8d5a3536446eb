"""Fetching: the events of a fetch flow, as `FetchFlow.drain` returns them, and what it counts and knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from ottla.seam.connections import Loss

if TYPE_CHECKING:
    from ottla.seam.leaders import LeaderHint


class Divergence(NamedTuple):
    """Where the leader's log differs from the records that were read (KIP-320)."""

    epoch: int
    end_offset: int


class Follower(NamedTuple):
    """The follower that the leader named to fetch from (KIP-392)."""

    node_id: int


FetchHoldCause = Literal["answer", "asked"] | Loss | Divergence | Follower
"""What stopped a partition: an error code or a newer leader, the engine's `hold`, the end of its connection, or what the leader
said of its log or of a follower."""


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


FetchEvent = FetchHeld | FetchThrottled


class PartitionState(NamedTuple):
    """An assigned partition now. Offsets are -1 where they are not known, all of them where it is not assigned."""

    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    position: int
    buffered_records: int
    paused: bool
    flowing: bool


class FetchStatistics(NamedTuple):
    """Counts of a fetch flow since its start; the last three are of now."""

    requests: int
    responses: int
    fetched_bytes: int
    fetched_batches: int
    handed_records: int
    holds: int
    buffered_bytes: int
    sessions: int
    partitions: int
