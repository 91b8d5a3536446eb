"""The state that all nodes share: living nodes, topics, groups, offsets, producer ids, options.

A node is only an address: it decides of which partitions the node is the leader, and of which groups the coordinator. Owned by
the broker's thread.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

from ottla.protocol.error_codes import ErrorCode
from ottla.testing.broker.state.fetch_sessions import FetchSessions
from ottla.testing.broker.state.groups import Groups
from ottla.testing.broker.state.log import Appended
from ottla.testing.broker.state.topics import (
    CLEANUP,
    LOG_APPEND_TIME,
    MAX_MESSAGE_BYTES,
    MIN_IN_SYNC,
    TIMESTAMP_TYPE,
    Partition,
    Topic,
    Topics,
    is_legal_name,
)
from ottla.virtual_time import SystemClock


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of `Broker`; Kafka's names if Kafka has the setting."""

    auto_create_topics: bool = True
    num_partitions: int = 1
    message_max_bytes: int = 1048588
    group_initial_rebalance_delay: float = 0.0
    group_min_session_timeout_ms: int = 1
    group_max_session_timeout_ms: int = 1_800_000
    validate_crc: bool = True


@dataclass(slots=True)
class Node:
    """One node's address and whether it is up."""

    id: int
    host: str
    port: int
    alive: bool = False
    rack: str | None = None


class Cluster:
    """State shared by all nodes."""

    def __init__(self, nodes: list[Node], options: Options, clock: SystemClock) -> None:
        self.id = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        self.clock = clock
        self.nodes = {node.id: node for node in nodes}
        self.options = options
        self.topics = Topics(list(self.nodes))
        self.fetch_sessions = {node.id: FetchSessions() for node in nodes}
        self.groups = Groups(options.group_initial_rebalance_delay)
        self.groups_changed: Callable[[], None] = lambda: None
        """Called after each change of a group, so that its deadlines are watched."""
        self._producer_ids = count(1000)

    @property
    def alive(self) -> list[int]:
        """Ids of the nodes that are up."""
        return [node.id for node in self.nodes.values() if node.alive]

    @property
    def controller(self) -> int:
        """The node that Metadata names as the controller; any node carries out all requests, as in KRaft."""
        return next(iter(self.alive), -1)

    def coordinator(self, key: str) -> int:
        """Return the node that coordinates a group: by its name, the next living one."""
        ids = list(self.nodes)
        first = zlib.crc32(key.encode()) % len(ids)
        return next((id_ for id_ in ids[first:] + ids[:first] if self.nodes[id_].alive), -1)

    def group_error(self, node: int, group: str) -> ErrorCode:
        """Return why `node` does not serve a group, NONE if it does."""
        if not group:
            return ErrorCode.INVALID_GROUP_ID
        return ErrorCode.NONE if self.coordinator(group) == node else ErrorCode.NOT_COORDINATOR

    def new_producer_id(self) -> int:
        """Return an unused producer id."""
        return next(self._producer_ids)

    def set_alive(self, node: int, alive: bool) -> None:
        """Set whether a node is alive, and move leaders."""
        self.nodes[node].alive = alive
        self.fetch_sessions[node] = FetchSessions()
        self.topics.elect(self.alive)

    def auto_create(self, name: str) -> Topic | ErrorCode:
        """Create a topic that a client named, if the options and the name allow it."""
        if not is_legal_name(name):
            return ErrorCode.INVALID_TOPIC_EXCEPTION
        return self.topics.create(name, self.options.num_partitions, {}, self.alive)

    def delete_topic(self, topic: Topic) -> None:
        """Delete a topic with its records and the offsets that groups committed for it."""
        self.topics.delete(topic)
        self.groups.forget_topic(topic.name)

    def append(self, partition: Partition, batch: bytes | memoryview, *, acks: int = 1) -> Appended:
        """Append a batch to a partition under its topic's configuration, and wake the fetches that wait for it.

        Every living replica is in sync, at once.
        """
        config = self.topics.by_name[partition.topic].config
        in_sync = sum(self.nodes[node].alive for node in partition.replicas)
        # As in Kafka: if a topic has fewer replicas than that, all of them suffice.
        needed = min(int(config.get(MIN_IN_SYNC) or 1), len(partition.replicas))
        if acks == -1 and in_sync < needed:
            text = f"{in_sync} replicas are in sync"
            return Appended(ErrorCode.NOT_ENOUGH_REPLICAS, message=text)
        max_bytes = config.get(MAX_MESSAGE_BYTES)
        appended = partition.log.append(
            batch,
            partition.leader_epoch,
            max_bytes=self.options.message_max_bytes if max_bytes is None else int(max_bytes),
            validate_crc=self.options.validate_crc,
            append_time_ms=self.clock.wall_ms()
            if config.get(TIMESTAMP_TYPE) == LOG_APPEND_TIME
            else None,
            keys_only="compact" in (config.get(CLEANUP) or ""),
        )
        if not appended.error:
            partition.wake()
        return appended

    def delete_records(self, partition: Partition, before: int) -> None:
        """Delete the records of a partition before an offset, and wake the fetches that wait for it."""
        partition.log.delete_before(before)
        partition.wake()

    def led_partition(
        self, node: int, topic: str, index: int, epoch: int = -1
    ) -> Partition | ErrorCode:
        """Return a partition that `node` leads, or why it cannot serve it.

        Args:
            node: The node that got the request.
            topic: Name of the topic.
            index: Number of the partition.
            epoch: The leader epoch that the client knows, -1 if the request has none.
        """
        partition = self.topics.partition(topic, index)
        if partition is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if partition.leader != node:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if epoch >= 0 and epoch < partition.leader_epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        if epoch > partition.leader_epoch:
            return ErrorCode.UNKNOWN_LEADER_EPOCH
        return partition
