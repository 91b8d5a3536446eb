"""Leaders: the leader of a partition that a broker's answer names (KIP-951)."""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """The address of a broker."""

    host: str
    port: int


class LeaderHint(NamedTuple):
    """A broker that is not the leader any more named this one."""

    node_id: int
    leader_epoch: int
    endpoint: Endpoint | None
    """None: the answer has no address."""
