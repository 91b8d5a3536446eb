"""One client's view of the cluster: its metadata, and connections to its nodes. The face of this package.

Between the roles (producer, consumer) and connections. `refresh` requests the metadata, `store` keeps it, `bootstrap`
finds a broker, `pool` keeps the connections. Engine thread only.

References: KIP-302, KIP-899, KIP-951, KIP-1102; Java: Metadata, NetworkClient.DefaultMetadataUpdater.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ottla.cluster.bootstrap import BrokerSearch
from ottla.cluster.context import ClusterContext
from ottla.cluster.metadata import (
    BrokerNode,
    MetadataSnapshot,
    with_leader,
    with_node,
    without_topics,
)
from ottla.cluster.pool import Pool
from ottla.cluster.refresh import REFRESH_TIMEOUT_S, Refresher
from ottla.cluster.store import MetadataListener, MetadataStore
from ottla.cluster.wanted import WantedTopics
from ottla.errors import NoBrokersAvailable, for_code
from ottla.protocol.error_codes import ErrorCode
from ottla.wire.connection import Connection, LostCause, Role

if TYPE_CHECKING:
    from ottla.cluster.coordinator import Coordinators
    from ottla.config.common import CommonConfig
    from ottla.engine.reactor import Reactor
    from ottla.observe.events import Events
    from ottla.observe.health import Health
    from ottla.protocol.base import Message

_CHECK_S = 0.25
"""Interval between checks of the metadata while a connection is opened, in seconds."""


class Cluster:
    """See the module.

    Args:
        config: Bootstrap list, time-outs, backoffs.
        reactor: The engine.
        events: Listeners of the client's events; None: there are none.
        health: Troubles of the client; None: a new object.
    """

    def __init__(
        self,
        config: CommonConfig,
        reactor: Reactor,
        events: Events | None = None,
        health: Health | None = None,
    ) -> None:
        self._context = ClusterContext(config, reactor, events, health)
        self._store = MetadataStore(self._context.log)
        self._pool = Pool(
            reactor, config, self._connection_lost, self.events, self._context.certificates
        )
        self._search = BrokerSearch(self._context, self._store, self._pool)
        self._wanted = WantedTopics()
        self._refresher = Refresher(self._context, self._store, self._search, self._wanted)
        self._coordinators: Coordinators | None = None

    @property
    def snapshot(self) -> MetadataSnapshot:
        """The metadata known now. Never changes itself: each change is another snapshot."""
        return self._store.snapshot

    @property
    def events(self) -> Events:
        """Listeners of the client's events."""
        return self._context.events

    @property
    def health(self) -> Health:
        """Troubles of the client."""
        return self._context.health

    @property
    def coordinators(self) -> Coordinators:
        """The coordinators of the client's group and transactions."""
        if self._coordinators is None:
            # Not at the top: a client that needs no coordinator does not load its messages.
            from ottla.cluster.coordinator import Coordinators

            self._coordinators = Coordinators(self, self._context.config, self._context.reactor)
        return self._coordinators

    # ---- life ------------------------------------------------------------------------------------------------------

    async def reached(self) -> None:
        """Wait until a broker has been connected to, and its first metadata request is in flight.

        Requests that do not depend on the answer can be sent then: two requests, one round trip.
        """
        await self._refresher.first_request()

    async def close(self) -> None:
        """Close every connection; callers that wait get `Closed`."""
        self._context.closed = True
        self._refresher.close()
        self._search.close()
        self._pool.close()
        self._context.summary.stop()

    # ---- topics ----------------------------------------------------------------------------------------------------

    def want_topics(self, owner: Hashable, names: Iterable[str], *, create: bool = False) -> None:
        """Let a part of the client want exactly these topics: every refresh requests them from now on.

        Unknown topics are requested at once; the metadata of those that no part wants any more is dropped.

        Args:
            owner: The part of the client. Replaces the topics that it wanted before.
            names: Topics.
            create: Whether the application named them, so that the broker may create those that this client has never
                seen. Without effect where `allow_auto_create_topics` is off.
        """
        wanted = set(names)
        new, gone = self._wanted.replace(owner, wanted)
        snapshot = self.snapshot
        if create and getattr(self._context.config, "allow_auto_create_topics", True):
            seen = snapshot.topics.keys() | snapshot.vanished.keys()
            self._wanted.may_create(wanted - seen)
        if gone and not self._wanted.everything:
            self._store.replace(without_topics(snapshot, gone))
        missing = sorted(name for name in new if snapshot.topic(name) is None)
        if missing:
            self.refresh_soon(f"topics wanted: {', '.join(missing[:5])}", urgent=True)

    @contextlib.contextmanager
    def topics_for_query(self, names: Iterable[str], *, create: bool = False) -> Iterator[None]:
        """Want these topics until the context ends, in addition to other parts of the client."""
        owner = object()
        self.want_topics(owner, names, create=create)
        try:
            yield
        finally:
            self.want_topics(owner, ())

    async def partitions_of(
        self, topic: str, timeout: float | None = REFRESH_TIMEOUT_S
    ) -> list[int]:
        """The numbers of a topic's partitions. A topic that does not exist is created where that is allowed.

        Raises:
            Error: As `refresh`; it waits at most `timeout` seconds.
            KafkaError: The broker's answer about the topic.
        """
        if self._context.closed:
            raise self._context.closed_error()
        with self.topics_for_query([topic], create=True):
            if self.snapshot.topic(topic) is None:
                await self.refresh(f"partitions of {topic} are asked for", timeout)
            known = self.snapshot.topic(topic)
            if known is not None:
                return sorted(known.partitions)
            code = self.snapshot.topic_error(topic) or ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            raise for_code(code, topic=topic)

    def want_all_topics(self, wanted: bool) -> None:
        """Request every topic of the cluster (a pattern subscription), or only those wanted by name."""
        if wanted and not self._wanted.everything:
            self._wanted.everything = True
            self.refresh_soon("all topics wanted", urgent=True)
        elif not wanted and self._wanted.everything:
            self._wanted.everything = False
            unwanted = [name for name in self.snapshot.topics if name not in self._wanted]
            self._store.replace(without_topics(self.snapshot, unwanted))

    # ---- metadata --------------------------------------------------------------------------------------------------

    def listen(self, callback: MetadataListener) -> None:
        """Call it after every change of the metadata, and after every refresh that changed nothing."""
        self._store.listen(callback)

    def unlisten(self, callback: MetadataListener) -> None:
        """No longer call it."""
        self._store.unlisten(callback)

    def apply_leader_hint(
        self,
        topic: str,
        partition: int,
        node_id: int,
        leader_epoch: int,
        node: tuple[str, int] | None = None,
    ) -> None:
        """A broker named a partition's leader in a response (KIP-951): use it if its epoch is newer, and request the metadata.

        Args:
            topic: Name of the topic.
            partition: Its partition.
            node_id: The leader.
            leader_epoch: Its epoch.
            node: Host and port of the leader, where the response has them.
        """
        broker = None if node is None else BrokerNode(node_id, node[0], node[1])
        self._store.replace(
            with_leader(self.snapshot, topic, partition, node_id, leader_epoch, broker)
        )
        self.refresh_soon(f"{topic}-{partition} moved to node {node_id}")

    def add_node(self, node_id: int, host: str, port: int) -> None:
        """Add a broker that another response named (that of a coordinator)."""
        self._store.replace(with_node(self.snapshot, BrokerNode(node_id, host, port)))

    async def refresh(
        self, reason: str, timeout: float | None = REFRESH_TIMEOUT_S, *, urgent: bool = False
    ) -> None:
        """Request the metadata and wait for the answer. Callers that call before the request is sent share it.

        Args:
            reason: For the log.
            timeout: Seconds; None: no bound.
            urgent: Without the pause after the last answer, because that answer cannot contain the reason.

        Raises:
            Error: The attempt failed: no broker can be reached, or its answer is unusable.
            Timeout: The time ran out; the request continues.
            Closed: The client was closed.
        """
        await self._refresher.refresh(reason, timeout, urgent=urgent)

    def refresh_soon(self, reason: str, *, urgent: bool = False) -> None:
        """Request the metadata in the background, repeatedly until there is an answer or a permanent error.

        Args:
            reason: For the log.
            urgent: Without the pause after the last answer, because that answer cannot contain the reason.
        """
        self._refresher.refresh_soon(reason, urgent=urgent)

    def describe_wait(self) -> str:
        """Describe in one line why there is no metadata: for errors of callers that ran out of time."""
        return self._refresher.describe_wait()

    # ---- connections -----------------------------------------------------------------------------------------------

    async def connection(self, node_id: int, role: Role) -> Connection:
        """The connection to a node in a role: the open one, or a new one.

        Raises:
            NoBrokersAvailable: The node is not known, or cannot be reached; one line per address.

        Cancellation: Ends the wait.
        """
        node = self.snapshot.broker(node_id)
        if node is None:
            await self.refresh(f"node {node_id} is not known")
            node = self.snapshot.broker(node_id)
        if node is None:
            raise NoBrokersAvailable(f"node {node_id} is not in the metadata of the cluster")
        try:
            return await self._pool.get(node, role)
        except NoBrokersAvailable as error:
            self.refresh_soon(error.message)
            raise

    async def connection_while(
        self, node_id: int, role: Role, wanted: Callable[[MetadataSnapshot], bool]
    ) -> Connection:
        """Wait for a connection as long as the metadata names this node: a frozen node accepts a connection and never answers.

        Meanwhile the metadata is requested repeatedly, so that a leader that has moved is followed at once.

        Args:
            node_id: The node.
            role: As for `connection`.
            wanted: Returns whether a snapshot still names this node.

        Raises:
            NoBrokersAvailable: As `connection`, or the metadata names another node meanwhile.

        Cancellation: Ends the wait.
        """
        attempt = asyncio.ensure_future(self.connection(node_id, role))
        try:
            while not (await asyncio.wait({attempt}, timeout=_CHECK_S))[0]:
                if not wanted(self.snapshot):
                    raise NoBrokersAvailable(f"node {node_id} is no longer named by the metadata")
                self.refresh_soon(f"node {node_id} does not answer")
            return attempt.result()
        finally:
            attempt.cancel()

    async def any_connection(self) -> Connection:
        """A control connection to any broker: an open one, else to a known broker, else to the bootstrap list.

        Raises:
            NoBrokersAvailable: There is none; one line for each address that was tried.
            Closed: The client was closed.

        Cancellation: Ends the wait.
        """
        return await self._search.any_connection()

    def _connection_lost(self, connection: Connection, cause: LostCause) -> None:
        if cause.kind == "closed" or self._context.closed:
            return
        # The sender of each request in flight logs what becomes of it.
        self._context.summary.add(
            logging.INFO,
            "connection.lost",
            {"role": connection.role.value},
            node=connection.node_id,
            address=connection.address,
            reason=cause.message,
        )
        self.events.emit(
            "connection.lost",
            node=connection.node_id,
            address=connection.address,
            role=connection.role.value,
            kind=cause.kind,
            reason=cause.message,
        )
        self.refresh_soon(f"connection to node {connection.node_id} lost")

    # ---- requests --------------------------------------------------------------------------------------------------

    async def request(self, message: Message) -> Any:
        """Send one control request, once, to any broker.

        Returns:
            The response. Its error codes are not checked.

        Raises:
            NoBrokersAvailable: No broker can be reached; not sent.
            ConnectionLost, Timeout, UnsupportedVersion, EncodeError, DecodeError: As `Connection.request`.
        """
        connection = await self.any_connection()
        return await connection.request(message)

    def __repr__(self) -> str:
        known = self.snapshot
        return (
            f"<Cluster {known.cluster_id} brokers={len(known.brokers)} topics={len(known.topics)} "
            f"connections={len(self._pool.live())}>"
        )
