"""Routes to partition leaders: finds each leader, connects to it, gives the connection to a flow, and follows moves.

Used by every role that talks to leaders: the outbox (produce) and the cursors (fetch). A role passes a `RouteTarget`, its
side of the work: the native flow, and the words for the log. Engine thread only.

References: KIP-392, KIP-951; Java: Sender.sendProducerData, FetchCollector, Metadata.currentLeader.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.metadata import leads
from ottla.cluster.retry import Attempts
from ottla.message import TopicPartition

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.cluster.metadata import MetadataSnapshot, PartitionInfo
    from ottla.config.common import CommonConfig
    from ottla.engine.reactor import Reactor
    from ottla.observe.log import ClientLog
    from ottla.observe.summary import Summary
    from ottla.protocol.base import Message
    from ottla.wire.connection import Connection, Role


class Route(NamedTuple):
    """The route that a partition flows by."""

    node_id: int
    """The node that requests go to: the leader, or a follower that the role prefers."""
    leader: int
    leader_epoch: int
    since: float
    """Time at which the flow got the route, by the engine's clock."""


class NoRoute(NamedTuple):
    """A failed attempt to find a route."""

    partition: TopicPartition
    node_id: int | None
    """The node that could not be reached; None: the metadata names no leader."""
    error: errors.Error | None
    """The failed connection; None where there is no leader."""
    failures: int
    """Failed attempts of this search before this one."""


class RouteTarget(Protocol):
    """One role's side of the routes: its flow and its log."""

    @property
    def role(self) -> Role:
        """Role of the connections."""

    @property
    def request(self) -> type[Message]:
        """The request that the flow sends; its version is negotiated per connection."""

    @property
    def log(self) -> ClientLog:
        """Logger for internal errors of a search."""

    def choose_node(self, partition: TopicPartition, leader: int) -> int:
        """The node to send requests to: the leader, or a replica that the role prefers."""

    def accepts(self, partition: TopicPartition) -> bool:
        """Whether the partition still wants a route, now that a connection is open."""

    def attach(self, node_id: int, connection: Connection, version: int) -> None:
        """Give the flow a connection that it does not have yet, and the version of the request on it."""

    def route(
        self, partition: TopicPartition, connection: Connection, leader: PartitionInfo
    ) -> None:
        """Let the partition flow over the connection."""

    def leader_moved(self, partition: TopicPartition, leader: PartitionInfo) -> None:
        """Hold the partition: the metadata names another leader than its route."""

    def report_no_route(self, failure: NoRoute) -> None:
        """Log and record a failed attempt; the next one follows after a pause."""

    def refuse(self, partition: TopicPartition, error: errors.Error) -> None:
        """Fail the partition: no attempt can give it a route. The search has ended."""


class LeaderRoutes:
    """The routes of one role of one client.

    Args:
        cluster: Metadata and connections.
        reactor: The engine.
        target: The role's flow and log.
        config: Backoff between attempts.
    """

    def __init__(
        self, cluster: Cluster, reactor: Reactor, target: RouteTarget, config: CommonConfig
    ) -> None:
        self._cluster = cluster
        self._reactor = reactor
        self._target = target
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._routes: dict[TopicPartition, Route] = {}
        self._leaving: set[TopicPartition] = set()
        """Routed partitions that were asked to hold because their leader moved."""
        self._suspended: set[TopicPartition] = set()
        """Partitions that get no route until `resume`."""
        self._searches: dict[TopicPartition, asyncio.Task[None]] = {}
        self._attached: dict[int, Connection] = {}
        """node id -> the connection that the flow has been given last."""
        self._closed = False

    def start(self) -> None:
        """Follow the metadata from now on."""
        self._cluster.listen(self._metadata_changed)

    def stop(self) -> None:
        """End every search; no route is given any more."""
        self._closed = True
        self._cluster.unlisten(self._metadata_changed)
        for search in self._searches.values():
            search.cancel()
        self._searches.clear()

    # ---- routes of single partitions ---------------------------------------------------------------------------------

    def find(self, partition: TopicPartition, delay: float = 0.0) -> None:
        """Search a route in the background, unless there is one or a search is running.

        Args:
            partition: The partition.
            delay: Seconds before the first attempt.
        """
        if (
            self._closed
            or partition in self._routes
            or partition in self._searches
            or partition in self._suspended
        ):
            return
        self._searches[partition] = self._reactor.spawn(
            self._search(partition, delay), f"route of {partition}"
        )

    def withdraw(self, partition: TopicPartition) -> Route | None:
        """The flow holds the partition: it has no route any more. Returns the one that it had."""
        self._leaving.discard(partition)
        return self._routes.pop(partition, None)

    def suspend(self, partition: TopicPartition) -> None:
        """Give the partition no route until `resume`; a running search ends."""
        self._suspended.add(partition)
        self.end_search(partition)

    def resume(self, partition: TopicPartition) -> None:
        """Allow routes again after `suspend`; none is searched yet."""
        self._suspended.discard(partition)

    def forget(self, partition: TopicPartition) -> None:
        """The role has given up the partition."""
        self.withdraw(partition)
        self._suspended.discard(partition)
        self.end_search(partition)

    def end_search(self, partition: TopicPartition) -> None:
        """Search no route any more, until the next `find`."""
        if (search := self._searches.pop(partition, None)) is not None:
            search.cancel()

    # ---- nodes -------------------------------------------------------------------------------------------------------

    def nodes_of(self, connection_id: int) -> list[int]:
        """The nodes that a connection of the flow leads to: one, or none where it was replaced."""
        return [
            node_id
            for node_id, connection in self._attached.items()
            if connection.id == connection_id
        ]

    def leads_to(self, node_id: int) -> bool:
        """Whether any partition has a route to the node."""
        return any(route.node_id == node_id for route in self._routes.values())

    def broker_fields(self, node_id: int) -> dict[str, Any]:
        """A node with the address it was reached at last, as fields of the log."""
        connection = self._attached.get(node_id)
        return {"node": node_id, "address": None if connection is None else connection.address}

    def report_throttled(self, connection_id: int, throttle_ms: int, summary: Summary) -> None:
        """Report that a broker asked for a pause, which the flow observes by itself (KIP-219).

        Args:
            connection_id: Connection of the flow.
            throttle_ms: Duration of the pause.
            summary: Writes the log lines of the role.
        """
        for node_id in self.nodes_of(connection_id):
            self._cluster.events.emit("connection.throttled", node=node_id, throttle_ms=throttle_ms)
            summary.add(
                logging.INFO,
                "connection.throttled",
                self.broker_fields(node_id),
                count=throttle_ms,
            )

    # ---- search ------------------------------------------------------------------------------------------------------

    async def _search(self, partition: TopicPartition, delay: float) -> None:
        """Try until the partition has a route, or can have none. An internal error ends no search: the flow asks only once."""
        try:
            if delay:
                await self._reactor.clock.sleep(delay)
            attempts = Attempts(self._backoff, self._reactor.clock)
            async for failures in attempts:
                try:
                    if await self._try(partition, attempts, failures):
                        return
                except errors.Error as error:
                    del self._searches[partition]
                    self._target.refuse(partition, error)
                    return
                except Exception as error:
                    self._target.log.error(
                        "internal_error.route",
                        exc_info=error,
                        topic=partition.topic,
                        partition=partition.partition,
                        reason=error,
                    )
        finally:
            if self._searches.get(partition) is asyncio.current_task():
                del self._searches[partition]

    async def _try(self, partition: TopicPartition, attempts: Attempts, failures: int) -> bool:
        """One attempt. Returns whether the search has ended.

        Raises:
            Error: No attempt can succeed.
        """
        snapshot = self._cluster.snapshot
        known = snapshot.partition(*partition)
        if known is None or known.leader < 0:
            self._target.report_no_route(NoRoute(partition, None, None, failures))
            if known is None and (code := snapshot.topic_error(partition.topic)):
                attempts.record_failure(errors.for_code(code))
        else:
            node_id = self._target.choose_node(partition, known.leader)
            try:
                await self._connect(partition, node_id, known)
                return True
            except errors.Error as error:
                self._target.report_no_route(NoRoute(partition, node_id, error, failures))
                attempts.record_failure(error)
        try:
            await self._cluster.refresh(f"no leader of {partition} can be reached")
        except errors.Error as error:
            attempts.record_failure(error)
        return False

    async def _connect(
        self, partition: TopicPartition, node_id: int, leader: PartitionInfo
    ) -> None:
        """Connect to the node, and give the partition its route unless it wants none any more."""
        connection = await self._cluster.connection_while(
            node_id, self._target.role, leads(*partition, leader.leader)
        )
        if self._target.accepts(partition):
            self._attach(node_id, connection)
            self._give(partition, node_id, connection, leader)

    def _attach(self, node_id: int, connection: Connection) -> None:
        """Give the flow the connection, once."""
        if (attached := self._attached.get(node_id)) is None or attached.id != connection.id:
            version = connection.version_for(self._target.request)
            self._target.attach(node_id, connection, version)
            self._attached[node_id] = connection

    def _give(
        self, partition: TopicPartition, node_id: int, connection: Connection, leader: PartitionInfo
    ) -> None:
        now = self._reactor.clock.now()
        self._routes[partition] = Route(node_id, leader.leader, leader.leader_epoch, now)
        self._target.route(partition, connection, leader)

    def _metadata_changed(
        self, _old: MetadataSnapshot, new: MetadataSnapshot, _changes: object
    ) -> None:
        """Hold each partition whose route leads to a node that no longer leads it."""
        for partition, route in list(self._routes.items()):
            known = new.partition(*partition)
            if partition in self._leaving or known is None or known.leader < 0:
                continue
            if known.leader != route.leader and known.leader_epoch >= route.leader_epoch:
                self._leaving.add(partition)
                self._target.leader_moved(partition, known)
