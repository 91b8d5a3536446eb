"""Leaders: what a broker's answer names as the leader of a partition (KIP-951)."""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int


class LeaderHint(NamedTuple):
    """A broker that is not the leader any more named this one."""

    node_id: int
    leader_epoch: int
    endpoint: Endpoint | None
    """None: the broker did not say where it listens."""
