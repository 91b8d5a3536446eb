"""Partitions that were added after a subscription: they start at their beginning, so that nothing written to them is lost.

A partition counts as added if the first metadata of its topic after the subscription lacked it, or named no such topic. Pure.
Java's consumers start such a partition by `auto.offset.reset` and with latest lose the records written before its assignment.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ottla.protocol.error_codes import ErrorCode

if TYPE_CHECKING:
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.message import TopicPartition


class AddedPartitions:
    """The partitions of each topic at the subscription.

    Args:
        enabled: Option `added_partitions`; otherwise no partition counts as added.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._partitions: dict[str, int] = {}
        """Number of partitions of each topic in its first metadata after the subscription; 0: it did not exist."""
        self._all_known = False
        """Whether every topic of the cluster was seen after the subscription."""

    def subscribe(self, topics: Iterable[str], snapshot: MetadataSnapshot) -> None:
        """These topics are subscribed to; the state of those that were before is retained."""
        wanted = set(topics)
        self._all_known = False
        self._partitions = {
            topic: count for topic, count in self._partitions.items() if topic in wanted
        }
        self.observe(wanted, snapshot)

    def subscribe_matching(self, snapshot: MetadataSnapshot) -> None:
        """A pattern is subscribed to; the snapshot has every topic."""
        self._partitions = {name: len(topic.partitions) for name, topic in snapshot.topics.items()}
        self._all_known = True

    def observe(self, topics: Iterable[str], snapshot: MetadataSnapshot) -> None:
        """Newer metadata: note the topics among these that it has for the first time, or that do not exist."""
        for topic in topics:
            known = snapshot.topic(topic)
            if known is not None:
                self._partitions.setdefault(topic, len(known.partitions))
            elif snapshot.topic_error(topic) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                self._partitions.setdefault(topic, 0)

    def is_added(self, tp: TopicPartition) -> bool:
        """Whether the partition was added after the subscription."""
        count = self._partitions.get(tp.topic, 0 if self._all_known else None)
        return self._enabled and count is not None and tp.partition >= count
