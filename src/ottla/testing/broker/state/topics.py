"""Topics, their partitions, and which node leads each.

Every node replicates every partition, up to three; there is one log, as replication itself is not modelled. A leader
change raises the leader epoch, as in Kafka, so that clients with old metadata are fenced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from ottla.testing.broker.state.log import PartitionLog

NO_LEADER = -1
MAX_REPLICAS = 3
MAX_NAME = 249
MAX_MESSAGE_BYTES, TIMESTAMP_TYPE = "max.message.bytes", "message.timestamp.type"
MIN_IN_SYNC, CLEANUP = "min.insync.replicas", "cleanup.policy"
CREATE_TIME, LOG_APPEND_TIME = "CreateTime", "LogAppendTime"
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]+")


@dataclass(eq=False, slots=True)
class Partition:
    """One partition."""

    topic: str
    index: int
    replicas: tuple[int, ...]
    leader: int
    leader_epoch: int = 0
    log: PartitionLog = field(default_factory=PartitionLog)
    waiters: set[Callable[[], None]] = field(default_factory=set)
    """Called once when something changes: fetches that wait for bytes."""

    def wake(self) -> None:
        """Call the fetches that wait for a change."""
        for waiter in tuple(self.waiters):
            waiter()

    def lead(self, node: int) -> None:
        """Make `node` the leader; the epoch rises."""
        self.leader = node
        self.leader_epoch += 1
        self.log.begin_epoch(self.leader_epoch)
        self.wake()

    def lose(self, offset: int, node: int) -> None:
        """Make `node` the leader, whose log ends at `offset` (an unclean election)."""
        self.log.truncate(offset)
        self.lead(node)


@dataclass(eq=False, slots=True)
class Topic:
    """One topic; its id is a random UUID, never reused."""

    name: str
    id: bytes
    partitions: list[Partition]
    config: dict[str, str | None]


def is_legal_name(name: str) -> bool:
    """Return whether Kafka accepts the topic name."""
    return (
        0 < len(name) <= MAX_NAME
        and name not in (".", "..")
        and _LEGAL_NAME.fullmatch(name) is not None
    )


def config_error(config: Mapping[str, str | None]) -> str | None:
    """Return the fault of a topic's configuration, among the settings that the broker applies; None if there is none."""
    for name in (MAX_MESSAGE_BYTES, MIN_IN_SYNC):
        number = config.get(name)
        if number is not None and not number.isdecimal():
            return f"{name} is a number, not {number!r}"
    kind = config.get(TIMESTAMP_TYPE)
    if kind not in (None, CREATE_TIME, LOG_APPEND_TIME):
        return f"{TIMESTAMP_TYPE} is {CREATE_TIME} or {LOG_APPEND_TIME}, not {kind!r}"
    return None


_NAMED = 20
"""Maximum number of topics in the text about a missing one."""


class Topics:
    """All topics, by name and by id."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self.by_name: dict[str, Topic] = {}
        self.by_id: dict[bytes, Topic] = {}
        self._nodes = tuple(nodes)
        self._next_leader = 0

    def create(
        self, name: str, partitions: int, config: Mapping[str, str | None], alive: Sequence[int]
    ) -> Topic:
        """Create a topic that does not exist; leaders go round the living nodes."""
        topic = Topic(name, uuid4().bytes, [], dict(config))
        self.by_name[name] = self.by_id[topic.id] = topic
        self.grow(topic, partitions, alive)
        return topic

    def grow(self, topic: Topic, partitions: int, alive: Sequence[int]) -> None:
        """Add partitions until there are `partitions`."""
        for index in range(len(topic.partitions), partitions):
            first = self._next_leader % len(self._nodes)
            self._next_leader += 1
            ring = self._nodes[first:] + self._nodes[:first]
            replicas = ring[:MAX_REPLICAS]
            leader = next((node for node in replicas if node in alive), NO_LEADER)
            topic.partitions.append(Partition(topic.name, index, replicas, leader))

    def delete(self, topic: Topic) -> None:
        """Forget a topic, and wake the requests that wait for it."""
        del self.by_name[topic.name]
        del self.by_id[topic.id]
        for partition in topic.partitions:
            partition.wake()

    def partition(self, topic: str, index: int) -> Partition | None:
        """Return a partition if it exists."""
        known = self.by_name.get(topic)
        if known is None or not 0 <= index < len(known.partitions):
            return None
        return known.partitions[index]

    def missing(self, topic: str, index: int) -> str:
        """For people: why there is no such partition, and which there are."""
        known = self.by_name.get(topic)
        if known is not None:
            last = len(known.partitions) - 1
            there = f"partitions 0 to {last}" if last else "partition 0 alone"
            return f"topic {topic} has {there}, and no {index}"
        if not self.by_name:
            return f"there is no topic {topic}, nor any other"
        names = sorted(self.by_name)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"there is no topic {topic}; there are: {', '.join(names[:_NAMED])}{more}"

    def elect(self, alive: Sequence[int]) -> None:
        """Give every partition whose leader is dead to a living replica, if there is one."""
        for topic in self.by_name.values():
            for partition in topic.partitions:
                if partition.leader in alive:
                    continue
                leader = next((node for node in partition.replicas if node in alive), NO_LEADER)
                if leader != partition.leader:
                    partition.lead(leader)
