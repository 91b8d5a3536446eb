"""The consumer's side of the routes to leaders: the fetch flow, followers to fetch from, and the log.

Station: inbox. Engine thread only. References: KIP-392, KIP-516; Java: FetchCollector, SubscriptionState.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ottla import errors
from ottla.cluster.retry import Attempts
from ottla.protocol.messages.fetch import FetchRequest
from ottla.protocol.primitives import ZERO_UUID
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla._native import FetchFlow
    from ottla.cluster.backoff import Backoff
    from ottla.cluster.cluster import Cluster
    from ottla.cluster.leaders import NoRoute
    from ottla.cluster.metadata import MetadataSnapshot, PartitionInfo
    from ottla.consumer.cursor import Cursor
    from ottla.engine.thread import Engine
    from ottla.message import TopicPartition
    from ottla.observe.log import ClientLog
    from ottla.observe.summary import Summary
    from ottla.wire.connection import Connection


class FetchTarget:
    """The `RouteTarget` of one consumer.

    Args:
        cluster: Source of the metadata.
        flow: The fetch flow.
        log: Logger of the cursors.
        summary: Sums up the lines of many partitions.
        cursors: The assigned partitions.
        on_recreated: Called with a cursor whose topic was recreated.
        on_refused: Called with a cursor that can have no route, and the reason.
    """

    role = Role.FETCH
    request = FetchRequest

    def __init__(
        self,
        cluster: Cluster,
        flow: FetchFlow,
        log: ClientLog,
        summary: Summary,
        cursors: Mapping[TopicPartition, Cursor],
        on_recreated: Callable[[Cursor], None],
        on_refused: Callable[[Cursor, errors.Error], None],
    ) -> None:
        self._cluster = cluster
        self._flow = flow
        self.log = log
        self._summary = summary
        self._cursors = cursors
        self._on_recreated = on_recreated
        self._on_refused = on_refused

    def choose_node(self, partition: TopicPartition, leader: int) -> int:
        """The follower that the leader named, else the leader."""
        cursor = self._cursors.get(partition)
        return leader if cursor is None or cursor.replica is None else cursor.replica

    def accepts(self, partition: TopicPartition) -> bool:
        """Whether the partition is assigned, and its position belongs to the topic of this id."""
        cursor = self._cursors.get(partition)
        return cursor is not None and cursor.refusal is None and self._is_same_topic(cursor)

    def attach(self, node_id: int, connection: Connection, version: int) -> None:
        """Give the flow a connection."""
        self._flow.attach(connection.id, version, node_id, connection.address)

    def route(
        self, partition: TopicPartition, connection: Connection, leader: PartitionInfo
    ) -> None:
        """Let the partition flow from its position."""
        self._cursors[partition].is_routed = True
        self._cluster.health.recovered(str(partition))
        self._flow.route(*partition, connection.id, leader.leader_epoch)
        self._cluster.events.emit(
            "partition.routed",
            topic=partition.topic,
            partition=partition.partition,
            node=connection.node_id,
            leader_epoch=leader.leader_epoch,
        )

    def leader_moved(self, partition: TopicPartition, leader: PartitionInfo) -> None:
        """Hold the partition; it gets a route to the new leader then."""
        self._cluster.events.emit(
            "partition.moved",
            topic=partition.topic,
            partition=partition.partition,
            node=leader.leader,
            leader_epoch=leader.leader_epoch,
        )
        self._flow.hold(*partition)

    def refuse(self, partition: TopicPartition, error: errors.Error) -> None:
        """Fetch nothing more of the partition until a seek or another assignment."""
        if (cursor := self._cursors.get(partition)) is not None:
            self._on_refused(cursor, error)

    def report_no_route(self, failure: NoRoute) -> None:
        """Log the first failure of a search as a warning; leave a follower that cannot be reached."""
        if failure.error is None:
            why = why_no_leader(self._cluster.snapshot, failure.partition)
        else:
            why = f"no connection to node {failure.node_id}: {errors.line_of(failure.error)}"
            self._cursors[failure.partition].replica = None
        if why is not None:
            now = asyncio.get_running_loop().time()  # the engine's clock
            self._cluster.health.trouble(str(failure.partition), why, now)
            self._summary.add(
                logging.DEBUG if failure.failures else logging.WARNING,
                "partition.unroutable",
                failure.partition,
                reason=why,
                next_step="its leader is searched again",
            )

    def _is_same_topic(self, cursor: Cursor) -> bool:
        """Give the flow the topic's id. False where the topic was recreated: the position means nothing there."""
        topic, partition = cursor.tp
        info = self._cluster.snapshot.topic(topic)
        if info is None or info.topic_id in (ZERO_UUID, cursor.topic_id):
            return True
        before, cursor.topic_id = cursor.topic_id, info.topic_id
        self._flow.assign(topic, info.topic_id, partition)
        if before == ZERO_UUID:
            return True
        self._on_recreated(cursor)
        return False


class FetchLanes:
    """The second connections of one consumer, one per node at most, opened when the flow wants them.

    Args:
        cluster: Source of the connections.
        engine: Runs the dials.
        flow: The fetch flow.
        log: Logger of the cursors.
        backoff: Pauses between the attempts for a node.
    """

    def __init__(
        self, cluster: Cluster, engine: Engine, flow: FetchFlow, log: ClientLog, backoff: Backoff
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._flow = flow
        self._log = log
        self._backoff = backoff
        self._dials: dict[int, asyncio.Task[None]] = {}

    def open(self, node_id: int, is_routed: Callable[[int], bool]) -> None:
        """Dial the node in the background, until it answers or no partition is routed to it any more."""
        if node_id not in self._dials:
            task = self._engine.spawn(
                self._dial(node_id, is_routed), f"second connection to node {node_id}"
            )
            self._dials[node_id] = task
            task.add_done_callback(lambda _: self._dials.pop(node_id, None))

    def stop(self) -> None:
        """End all dials."""
        for task in self._dials.values():
            task.cancel()

    async def _dial(self, node_id: int, is_routed: Callable[[int], bool]) -> None:
        async for _ in Attempts(self._backoff, self._engine.clock):
            if not is_routed(node_id):
                return
            try:
                connection = await self._cluster.connection(node_id, Role.FETCH_LANE)
            except errors.Error as error:
                self._log.debug("lane.unavailable", node=node_id, reason=errors.line_of(error))
                continue
            version = connection.version_for(FetchRequest)
            self._flow.attach(connection.id, version, node_id, connection.address)
            return


def why_no_leader(snapshot: MetadataSnapshot, tp: TopicPartition) -> str | None:
    """Why the metadata names no leader of the partition; None: there is no metadata of its topic yet."""
    if code := snapshot.topic_error(tp.topic):
        return errors.line_of(errors.for_code(code))
    topic = snapshot.topic(tp.topic)
    if topic is None:
        return None
    return "it does not exist" if snapshot.partition(*tp) is None else "it has no leader"
