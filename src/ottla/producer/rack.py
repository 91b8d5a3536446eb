"""The partitions with a leader in the client's own rack. Pure except for the log; engine thread only.

Traffic between racks (a cloud's zones) costs money and time, so messages without a partition go to leaders in the
own rack as long as there are any. Station: partition; the choice itself is made in `crates/core/src/produce/append/choice.rs`.
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
        name: The option `client_rack`; None: no rack is preferred.
        log: The log of the outbox.
    """

    def __init__(self, name: str | None, log: ClientLog) -> None:
        self._name = name
        self._log = log
        self._warned: frozenset[str] | None = None
        """The other racks of the last warning; None: none is due to be repeated."""

    def near(self, snapshot: MetadataSnapshot, partitions: Iterable[PartitionInfo]) -> list[int]:
        """Numbers of the partitions whose leader is in the rack."""
        if self._name is None:
            return []
        nodes = {node.node_id for node in snapshot.brokers.values() if node.rack == self._name}
        return [part.partition for part in partitions if part.leader in nodes]

    def check(self, snapshot: MetadataSnapshot) -> None:
        """Warn once for each set of racks that no broker is in this one, so that no partition is preferred.

        A rack whose brokers are down looks the same, because metadata names only living brokers.
        """
        racks = frozenset(node.rack or "" for node in snapshot.brokers.values())
        if self._name is None or self._name in racks:
            self._warned = None
            return
        if not racks or racks == self._warned:
            return
        self._warned = racks
        self._log.warning(
            "rack.empty",
            client_rack=self._name,
            racks=sorted(rack or "no rack" for rack in racks),
        )
