"""Snapshots of the cluster's metadata, and their change by a Metadata response. Pure: time is passed in.

A snapshot never changes; `merge` makes the next one and returns the changes. Three rules keep it true when answers
come from brokers that lag behind: a leader epoch never decreases, a topic id distinguishes a recreated topic from a
changed one, and a vanished topic leaves its epochs behind in case the answer was only late.

References: KIP-320, KIP-516, KIP-899, KIP-951; Java Metadata, MetadataSnapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ottla.message import TopicPartition
from ottla.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from ottla.protocol.messages.metadata import MetadataResponse, MetadataResponseTopic

_GONE = frozenset({3, 17, 29, 100})
"""Topic errors after which there is no such topic for this client: unknown, invalid name, not authorized, unknown id. Any
other one (a leader being elected, a listener not yet there) changes nothing."""


class BrokerNode(NamedTuple):
    """One broker as the cluster advertises it."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


class PartitionInfo(NamedTuple):
    """One partition."""

    topic: str
    partition: int
    leader: int
    """Node id, -1 where there is none."""
    leader_epoch: int
    """-1 where the broker does not send it."""
    replicas: tuple[int, ...] = ()
    isr: tuple[int, ...] = ()
    offline: tuple[int, ...] = ()
    error_code: int = 0


class TopicInfo(NamedTuple):
    """One topic."""

    name: str
    topic_id: bytes
    """16 bytes, all zero where the broker does not send one."""
    partitions: Mapping[int, PartitionInfo]
    internal: bool = False


class TopicError(NamedTuple):
    """Why there is no metadata of a topic."""

    code: int
    at: float
    """Time of the answer, by the engine's clock."""


class MetadataSnapshot(NamedTuple):
    """The metadata at one moment."""

    brokers: Mapping[int, BrokerNode] = MappingProxyType({})
    controller_id: int = -1
    cluster_id: str | None = None
    topics: Mapping[str, TopicInfo] = MappingProxyType({})
    errors: Mapping[str, TopicError] = MappingProxyType({})
    """Topics without metadata, by their last answer."""
    vanished: Mapping[str, TopicInfo] = MappingProxyType({})
    """Topics that have vanished, with their last epochs."""
    updated_at: float | None = None
    """Time of the last answer, by the engine's clock."""

    def topic(self, name: str) -> TopicInfo | None:
        """The topic, if it is known and exists."""
        return self.topics.get(name)

    def topic_error(self, name: str) -> int:
        """The error code of the last answer about the topic, 0 where it was none."""
        error = self.errors.get(name)
        return 0 if error is None else error.code

    def partition(self, topic: str, partition: int) -> PartitionInfo | None:
        """The partition, if it is known."""
        info = self.topics.get(topic)
        return None if info is None else info.partitions.get(partition)

    def broker(self, node_id: int) -> BrokerNode | None:
        """The broker, if it is known."""
        return self.brokers.get(node_id)


class Changes(NamedTuple):
    """The changes of one response."""

    new_topics: frozenset[str] = frozenset()
    recreated: frozenset[str] = frozenset()
    """Topics that were deleted and recreated: their id changed."""
    vanished: frozenset[str] = frozenset()
    resized: frozenset[str] = frozenset()
    """Topics with another number of partitions."""
    moved: frozenset[TopicPartition] = frozenset()
    """Partitions with another leader or leader epoch."""
    refused: frozenset[str] = frozenset()
    """Topics whose error code is another one than before."""
    brokers: bool = False
    """Whether a broker came, went or changed its address."""
    other_cluster: bool = False
    """Whether the answer came from another cluster: nothing that was known before holds."""

    def __bool__(self) -> bool:
        return self != NO_CHANGES

    def topics(self) -> list[str]:
        """The topics of which something is different."""
        moved = {place.topic for place in self.moved}
        return sorted(
            moved.union(self.new_topics, self.recreated, self.vanished, self.resized, self.refused)
        )


NO_CHANGES = Changes()


def merge(
    old: MetadataSnapshot,
    response: MetadataResponse,
    now: float,
    asked: Iterable[str] | None = None,
) -> tuple[MetadataSnapshot, Changes]:
    """Return the snapshot after a response, and the changes.

    Args:
        old: The snapshot before.
        response: The broker's answer.
        now: Time of the answer, by the engine's clock.
        asked: The requested topics; None: all topics of the cluster, so a topic that is not named has vanished.
    """
    other_cluster = (
        old.cluster_id is not None
        and response.cluster_id is not None
        and old.cluster_id != response.cluster_id
    )
    base = MetadataSnapshot(brokers=old.brokers) if other_cluster else old
    topics = dict(base.topics)
    errors = dict(base.errors)
    vanished = dict(base.vanished)
    _Merge(topics, errors, vanished, now).apply(response, None if asked is None else set(asked))
    brokers = {b.node_id: BrokerNode(b.node_id, b.host, b.port, b.rack) for b in response.brokers}
    new = MetadataSnapshot(
        brokers=MappingProxyType(brokers),
        controller_id=response.controller_id,
        cluster_id=response.cluster_id or base.cluster_id,
        topics=MappingProxyType(topics),
        errors=MappingProxyType(errors),
        vanished=MappingProxyType(vanished),
        updated_at=now,
    )
    return new, compare(old, new, other_cluster=other_cluster)


class _Merge:
    """The parts of a new snapshot while it is built."""

    def __init__(
        self,
        topics: dict[str, TopicInfo],
        errors: dict[str, TopicError],
        vanished: dict[str, TopicInfo],
        now: float,
    ) -> None:
        self._topics = topics
        self._errors = errors
        self._vanished = vanished
        self._now = now

    def apply(self, response: MetadataResponse, asked: set[str] | None) -> None:
        named: set[str] = set()
        for answer in response.topics:
            if answer.name is None:
                continue
            named.add(answer.name)
            self._topic(answer.name, answer)
        for name in list(self._topics):
            # An answer that leaves out a requested topic means that there is none.
            if name not in named and (asked is None or name in asked):
                self._vanish(name)

    def _topic(self, name: str, answer: MetadataResponseTopic) -> None:
        if answer.error_code:
            self._errors[name] = TopicError(answer.error_code, self._now)
            if answer.error_code in _GONE:
                self._vanish(name)
            return
        self._errors.pop(name, None)
        known = self._topics.get(name)
        if known is None:
            known = self._vanished.get(name)
            if known is not None and (
                answer.topic_id == ZERO_UUID or known.topic_id != answer.topic_id
            ):
                # Without ids nothing proves that it is the same topic, and its epochs may start again.
                known = None
        elif ZERO_UUID not in (answer.topic_id, known.topic_id) and (
            known.topic_id != answer.topic_id
        ):
            known = None
        self._vanished.pop(name, None)
        self._topics[name] = _topic_info(name, answer, known)

    def _vanish(self, name: str) -> None:
        gone = self._topics.pop(name, None)
        if gone is not None:
            self._vanished[name] = gone


def _topic_info(name: str, answer: MetadataResponseTopic, known: TopicInfo | None) -> TopicInfo:
    partitions: dict[int, PartitionInfo] = {}
    for part in sorted(answer.partitions, key=lambda p: p.partition_index):
        info = PartitionInfo(
            name,
            part.partition_index,
            part.leader_id,
            part.leader_epoch,
            tuple(part.replica_nodes),
            tuple(part.isr_nodes),
            tuple(part.offline_replicas),
            part.error_code,
        )
        before = None if known is None else known.partitions.get(info.partition)
        if before is not None and 0 <= info.leader_epoch < before.leader_epoch:
            info = before
        partitions[info.partition] = info
    topic_id = answer.topic_id
    if topic_id == ZERO_UUID and known is not None:
        topic_id = known.topic_id
    return TopicInfo(name, topic_id, MappingProxyType(partitions), answer.is_internal)


def compare(
    old: MetadataSnapshot, new: MetadataSnapshot, *, other_cluster: bool = False
) -> Changes:
    """Return the changes between two snapshots."""
    recreated: set[str] = set()
    resized: set[str] = set()
    moved: set[TopicPartition] = set()
    for name, info in new.topics.items():
        before = old.topics.get(name) or old.vanished.get(name)
        if before is None or before is info:
            continue
        if ZERO_UUID not in (before.topic_id, info.topic_id) and before.topic_id != info.topic_id:
            recreated.add(name)
        if len(before.partitions) != len(info.partitions):
            resized.add(name)
        moved.update(_moved(before, info))
    return Changes(
        new_topics=frozenset(new.topics.keys() - old.topics.keys()),
        recreated=frozenset(recreated),
        vanished=frozenset(old.topics.keys() - new.topics.keys()),
        resized=frozenset(resized),
        moved=frozenset(moved),
        refused=frozenset(
            name for name, error in new.errors.items() if old.topic_error(name) != error.code
        ),
        brokers=dict(old.brokers) != dict(new.brokers),
        other_cluster=other_cluster,
    )


def _moved(before: TopicInfo, after: TopicInfo) -> Iterable[TopicPartition]:
    for number, info in after.partitions.items():
        known = before.partitions.get(number)
        if known is not None and (known.leader, known.leader_epoch) != (
            info.leader,
            info.leader_epoch,
        ):
            yield TopicPartition(after.name, number)


def with_leader(
    old: MetadataSnapshot,
    topic: str,
    partition: int,
    leader: int,
    leader_epoch: int,
    node: BrokerNode | None = None,
) -> MetadataSnapshot:
    """The snapshot after a broker named a partition's leader in a produce or fetch response (KIP-951).

    The same snapshot where the epoch is not newer, or the address of the node is not known.
    """
    info = old.partition(topic, partition)
    if info is None or leader < 0 or leader_epoch <= info.leader_epoch:
        return old
    if node is not None:
        old = with_node(old, node)
    if leader not in old.brokers:
        return old
    topic_info = old.topics[topic]
    partitions = dict(topic_info.partitions)
    partitions[partition] = info._replace(leader=leader, leader_epoch=leader_epoch, error_code=0)
    topics = dict(old.topics)
    topics[topic] = topic_info._replace(partitions=MappingProxyType(partitions))
    return old._replace(topics=MappingProxyType(topics))


def with_node(old: MetadataSnapshot, node: BrokerNode) -> MetadataSnapshot:
    """The snapshot with a broker that another response named; a known broker keeps its rack."""
    known = old.brokers.get(node.node_id)
    if known is not None and known[:3] == node[:3]:
        return old
    brokers = dict(old.brokers)
    brokers[node.node_id] = node
    return old._replace(brokers=MappingProxyType(brokers))


def without_topics(old: MetadataSnapshot, names: Iterable[str]) -> MetadataSnapshot:
    """The snapshot without these topics."""
    gone = set(names)
    topics = {name: info for name, info in old.topics.items() if name not in gone}
    return old._replace(
        topics=MappingProxyType(topics),
        errors=MappingProxyType({n: e for n, e in old.errors.items() if n not in gone}),
        vanished=MappingProxyType({n: i for n, i in old.vanished.items() if n not in gone}),
    )


def leads(topic: str, partition: int, node_id: int) -> Callable[[MetadataSnapshot], bool]:
    """Return a check whether a snapshot still names this node as the leader; a snapshot without the partition passes it."""

    def check(snapshot: MetadataSnapshot) -> bool:
        known = snapshot.partition(topic, partition)
        return known is None or known.leader in (node_id, -1)

    return check
