"""The committed offsets of one group."""

from __future__ import annotations

from dataclasses import dataclass

MAX_METADATA = 4096
"""Kafka's `offset.metadata.max.bytes`."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One committed offset: of the next record to read."""

    offset: int
    leader_epoch: int = -1
    metadata: str = ""


class Offsets:
    """Committed offsets by topic and partition."""

    def __init__(self) -> None:
        self.by_partition: dict[tuple[str, int], Committed] = {}

    def commit(self, topic: str, partition: int, committed: Committed) -> None:
        """Set an offset, forward or back."""
        self.by_partition[topic, partition] = committed

    def get(self, topic: str, partition: int) -> Committed | None:
        """Return the offset of a partition, None if there is none."""
        return self.by_partition.get((topic, partition))

    def topics(self) -> dict[str, list[int]]:
        """Return which partitions have offsets."""
        found: dict[str, list[int]] = {}
        for topic, partition in sorted(self.by_partition):
            found.setdefault(topic, []).append(partition)
        return found

    def forget_topic(self, topic: str) -> None:
        """Drop all offsets of a topic."""
        for place in [place for place in self.by_partition if place[0] == topic]:
            del self.by_partition[place]
