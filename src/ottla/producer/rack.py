"""Which partitions have their leader near: in the client's own rack. Pure but for the log; engine thread only.

Traffic between racks (a cloud's zones) costs money and time, so messages that may go anywhere go to near leaders as
long as there are any. Station: partition; the choice itself is made in `crates/core/src/produce/append/choice.rs`.
References: KIP-1123; Java: BuiltInPartitioner.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.cluster.metadata import MetadataSnapshot, PartitionInfo
    from ottla.observe.log import ClientLog


class Rack:
    """The rack of one producer.

    Args:
        name: As `client_rack`; None: no rack is preferred.
        log: The outbox's.
    """

    def __init__(self, name: str | None, log: ClientLog) -> None:
        self._name = name
        self._log = log
        self._told: frozenset[str] | None = None
        """The racks that the log has named last, when this one was not among them."""

    def near(self, snapshot: MetadataSnapshot, partitions: Iterable[PartitionInfo]) -> list[int]:
        """Those of these partitions whose leader is in the rack, by number."""
        if self._name is None:
            return []
        nodes = {node.node_id for node in snapshot.brokers.values() if node.rack == self._name}
        return [part.partition for part in partitions if part.leader in nodes]

    def check(self, snapshot: MetadataSnapshot) -> None:
        """Warn that no broker is in this rack, once for each set of other racks: then nothing is preferred.

        A rack whose brokers are down looks the same, since metadata names living brokers only.
        """
        racks = frozenset(node.rack or "" for node in snapshot.brokers.values())
        if self._name is None or self._name in racks:
            self._told = None
            return
        if not racks or racks == self._told:
            return
        self._told = racks
        self._log.warning(
            "rack.empty",
            client_rack=self._name,
            racks=sorted(rack or "no rack" for rack in racks),
        )
