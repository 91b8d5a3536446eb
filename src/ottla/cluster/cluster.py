"""One client's view of the cluster: it keeps the metadata fresh and gives connections to the nodes.

Between the roles (producer, consumer) and connections. What a response changes is decided in `metadata`, when to ask in
`schedule`; this module does the asking. Engine thread only.

References: KIP-302, KIP-899, KIP-951, KIP-1102; Java Metadata, NetworkClient.DefaultMetadataUpdater.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ottla.cluster.metadata import (
    BrokerNode,
    Changes,
    MetadataSnapshot,
    compare,
    merge,
    with_leader,
    with_node,
    without_topics,
)
from ottla.cluster.pool import Pool
from ottla.cluster.schedule import RefreshSchedule
from ottla.errors import (
    Closed,
    ConnectionLost,
    Error,
    NoBrokersAvailable,
    Timeout,
    for_code,
    line_of,
)
from ottla.observe.events import Events
from ottla.observe.health import Health
from ottla.observe.log import ClientLog, counted
from ottla.observe.summary import Summary
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from ottla.wire.connection import Connection, LostCause, Role

if TYPE_CHECKING:
    from ottla.config.common import CommonConfig
    from ottla.config.readers import Address
    from ottla.engine.reactor import Reactor
    from ottla.protocol.base import Message

MetadataListener = Callable[[MetadataSnapshot, MetadataSnapshot, Changes], None]
"""Called with the snapshot before, the one after, and what is different."""

REFRESH_TIMEOUT_S = 60.0
"""How long one caller waits for a refresh; the refresh itself goes on."""

_REBOOTSTRAP_REQUIRED = 129
_LOOK_S = 0.25
"""How often a connection that is being made is looked at beside the metadata."""


class Cluster:
    """See the module.

    Args:
        config: Bootstrap list, time-outs, backoffs.
        reactor: The engine.
        events: Who is told of what happens; None: nobody.
        health: Where troubles are noted; None: nowhere.
    """

    def __init__(
        self,
        config: CommonConfig,
        reactor: Reactor,
        events: Events | None = None,
        health: Health | None = None,
    ) -> None:
        self.snapshot = MetadataSnapshot()
        """What is known now. Never changes itself: each change is another snapshot."""
        self.events = Events() if events is None else events
        self.health = Health() if health is None else health
        self._config = config
        self._reactor = reactor
        self._log = ClientLog("cluster", config.who)
        self._summary = Summary(
            self._log, lambda s, call: asyncio.get_running_loop().call_later(s, call)
        )
        self._pool = Pool(reactor, config, self._connection_lost, self.events)
        self._schedule = RefreshSchedule(config)
        self._listeners: list[MetadataListener] = []
        self._wanted: set[str] = set()
        self._want_all = False
        self._bootstrap: Connection | None = None
        """Open to an address of the bootstrap list, while it is not known to which node."""
        self._bootstrap_address: Address | None = None
        self._finding: asyncio.Future[Connection] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._pausing: asyncio.Task[None] | None = None
        self._ageing: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        """Who waits for the next refresh that begins."""
        self._requested: str | None = None
        """Why the next refresh is due."""
        self._urgent = False
        self._reached = asyncio.Event()
        self._closed = False

    # ---- life ------------------------------------------------------------------------------------------------------

    async def start(self, timeout: float | None = REFRESH_TIMEOUT_S) -> None:
        """Reach the cluster and learn its brokers.

        Raises:
            NoBrokersAvailable: No address of `bootstrap_servers` works; one line for each. Asking goes on in the
                background until `close`; `start` may be called again.
            Timeout: The time ran out.
        """
        await self.refresh("start", timeout)

    async def reached(self) -> None:
        """Wait until a broker has been connected to, and its first metadata request is on its way.

        For what need not wait for the answer: two questions, one round trip.
        """
        await self._reached.wait()

    async def close(self) -> None:
        """Close every connection; who waits gets `Closed`."""
        self._closed = True
        for task in (self._refreshing, self._pausing, self._ageing):
            if task is not None:
                task.cancel()
        self._fail_waiters(Closed("the client was closed", outcome="not_written"))
        if self._bootstrap is not None:
            self._bootstrap.close()
        self._pool.close()
        self._summary.stop()

    # ---- topics ----------------------------------------------------------------------------------------------------

    def want_topics(self, names: Iterable[str]) -> None:
        """Have these topics in every refresh from now on; those not known yet are asked for at once."""
        new = set(names) - self._wanted
        self._wanted |= new
        missing = sorted(name for name in new if self.snapshot.topic(name) is None)
        if missing:
            self.refresh_soon(f"topics wanted: {', '.join(missing[:5])}", urgent=True)

    def forget_topics(self, names: Iterable[str]) -> None:
        """Refreshes no longer ask for these topics, and what is known of them is dropped."""
        gone = set(names) & self._wanted
        self._wanted -= gone
        if gone and not self._want_all:
            self._replace(without_topics(self.snapshot, gone))

    async def partitions_of(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions; it is in every refresh from then on, if there is such a topic.

        Raises:
            Error: As `refresh`.
            KafkaError: What the broker says of the topic.
        """
        if self._closed:
            raise Closed("the client was closed", outcome="not_written")
        was_wanted = topic in self._wanted
        self.want_topics([topic])
        if self.snapshot.topic(topic) is None:
            await self.refresh(f"partitions of {topic} are asked for")
        known = self.snapshot.topic(topic)
        if known is not None:
            return sorted(known.partitions)
        code = self.snapshot.topic_error(topic)
        if not was_wanted:
            self.forget_topics([topic])
        raise for_code(code or ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, topic=topic)

    def want_all_topics(self, wanted: bool) -> None:
        """Ask for every topic of the cluster (a pattern subscription), or again only for those wanted by name."""
        if wanted and not self._want_all:
            self._want_all = True
            self.refresh_soon("all topics wanted", urgent=True)
        elif not wanted and self._want_all:
            self._want_all = False
            self.forget_unwanted()

    def forget_unwanted(self) -> None:
        """Drop what is known of topics that nobody wants by name."""
        self._replace(without_topics(self.snapshot, self.snapshot.topics.keys() - self._wanted))

    def listen(self, callback: MetadataListener) -> None:
        """Call it after every change of the metadata, and after every refresh that changed nothing."""
        if callback not in self._listeners:
            self._listeners.append(callback)

    def unlisten(self, callback: MetadataListener) -> None:
        """No longer call it."""
        if callback in self._listeners:
            self._listeners.remove(callback)

    def apply_leader_hint(
        self,
        topic: str,
        partition: int,
        node_id: int,
        leader_epoch: int,
        node: tuple[str, int] | None = None,
    ) -> None:
        """A broker named a partition's leader in a response (KIP-951): take it if it is newer, and ask for metadata.

        Args:
            topic: Name of the topic.
            partition: Its partition.
            node_id: The leader.
            leader_epoch: Its epoch.
            node: Host and port of the leader, where the response told them.
        """
        broker = None if node is None else BrokerNode(node_id, node[0], node[1])
        self._replace(with_leader(self.snapshot, topic, partition, node_id, leader_epoch, broker))
        self.refresh_soon(f"{topic}-{partition} moved to node {node_id}")

    def add_node(self, node_id: int, host: str, port: int) -> None:
        """Learn of a broker from another response (a coordinator's)."""
        self._replace(with_node(self.snapshot, BrokerNode(node_id, host, port)))

    def _replace(self, new: MetadataSnapshot, changes: Changes | None = None) -> None:
        old = self.snapshot
        if new is old:
            return
        self.snapshot = new
        changes = compare(old, new) if changes is None else changes
        for listener in tuple(self._listeners):
            try:
                listener(old, new, changes)
            except Exception:
                self._log.exception("a bug: a listener of the metadata failed")

    # ---- refreshing ------------------------------------------------------------------------------------------------

    async def refresh(self, reason: str, timeout: float | None = REFRESH_TIMEOUT_S) -> None:
        """Ask for metadata and wait for the answer. Whoever asks before a request has begun shares it.

        Args:
            reason: For the log.
            timeout: Seconds; None: no bound.

        Raises:
            Error: The attempt failed: no broker can be reached, or its answer cannot be used.
            Timeout: The time ran out; asking goes on.
            Closed: The client was closed.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        self.refresh_soon(reason)
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            raise Timeout(f"no metadata within {timeout} s ({reason})") from None

    def refresh_soon(self, reason: str, *, urgent: bool = False) -> None:
        """Ask for metadata in the background, again and again until there is an answer."""
        if self._closed:
            self._fail_waiters(Closed("the client was closed", outcome="not_written"))
            return
        self._requested = self._requested or reason
        if urgent and not self._urgent:
            self._urgent = True
            if self._pausing is not None:
                self._pausing.cancel()
        if self._refreshing is None:
            self._refreshing = self._reactor.spawn(self._refresh_while_requested(), "metadata")

    async def _refresh_while_requested(self) -> None:
        try:
            # One turn of the loop, so that what is asked for in the same breath is in the first request.
            await asyncio.sleep(0)
            while self._requested is not None:
                await self._pause()
                await self._refresh_once()
        finally:
            self._refreshing = None

    async def _pause(self) -> None:
        """Wait as the schedule says; an urgent request ends the wait and has it computed anew."""
        while seconds := self._schedule.pause(self._reactor.clock.now(), self._urgent):
            self._pausing = self._reactor.spawn(self._reactor.sleep(seconds), "metadata pause")
            try:
                await asyncio.wait({self._pausing})
            finally:
                self._pausing.cancel()
                self._pausing = None

    async def _refresh_once(self) -> None:
        try:
            # Whoever asks for something while a broker is looked for has it in this very request.
            connection = await self._connection_to_ask()
        except Error as error:
            _, waiters = self._begin()
            self._refresh_failed(error, waiters)
            return
        except BaseException:
            self._fail_waiters(Closed("the client was closed", outcome="not_written"))
            raise
        reason, waiters = self._begin()
        self._log.debug("asking for metadata: %s", reason)
        self._reached.set()
        try:
            await self._ask(connection)
        except Error as error:
            self._refresh_failed(error, waiters)
        except BaseException:
            _settle(waiters, Closed("the client was closed", outcome="not_written"))
            raise
        else:
            self._recovered()
            self._schedule.succeeded(self._reactor.clock.now())
            self._watch_age()
            _settle(waiters, None)

    def _begin(self) -> tuple[str | None, list[asyncio.Future[None]]]:
        """A request begins: why, and who waits for it. What is asked for from here on is for the next one."""
        reason, self._requested, self._urgent = self._requested, None, False
        waiters, self._waiters = self._waiters, []
        return reason, waiters

    async def _connection_to_ask(self) -> Connection:
        if self._schedule.too_long_without(self._reactor.clock.now()):
            self._rebootstrap("no metadata for metadata_recovery_rebootstrap_trigger_ms")
        return await self.any_connection()

    def _refresh_failed(self, error: Error, waiters: list[asyncio.Future[None]]) -> None:
        now = self._reactor.clock.now()
        self._schedule.failed(now)
        text = line_of(error)
        config = self._config
        self._summary.add(
            logging.WARNING,
            f"no metadata of the cluster: {text}. Tried again every {config.retry_backoff_ms:g} to "
            f"{config.retry_backoff_max_ms:g} ms until there is",
            "cluster",
            still=self._troubled,
        )
        self.health.trouble("cluster", text, now)
        self.events.tell("cluster.unreachable", reason=text, attempts=self._schedule.failures)
        self._requested = self._requested or "the last attempt failed"
        _settle(waiters, error)

    def _troubled(self) -> tuple[str, ...]:
        return tuple(part for part in self.health.report() if part == "cluster")

    def _recovered(self) -> None:
        trouble = self.health.report().get("cluster")
        if trouble is not None:
            self.health.recovered("cluster")
            self._summary.over(self._troubled)
            failures = counted(self._schedule.failures, "attempt")
            passed = self._reactor.clock.now() - trouble.since
            self._log.info("metadata again, after %s in %.1f s", failures, passed)

    async def _ask(self, connection: Connection) -> None:
        """One answer, from this connection or from whichever broker gives one.

        Raises:
            NoBrokersAvailable, KafkaError, UnsupportedVersion, DecodeError: There was none.
        """
        names = None if self._want_all else sorted(self._wanted)
        request = MetadataRequest(
            topics=None if names is None else [MetadataRequestTopic(name=name) for name in names],
            allow_auto_topic_creation=getattr(self._config, "allow_auto_create_topics", True),
        )
        attempts: list[tuple[str, str]] = []
        while True:
            try:
                response = await connection.request(request)
                break
            except (ConnectionLost, Timeout) as error:
                attempts.append((connection.address, error.message))
                if len(attempts) > len(self.snapshot.brokers):
                    raise NoBrokersAvailable(
                        "no broker answers a metadata request", attempts=attempts
                    ) from None
            connection = await self.any_connection()
        if response.error_code == _REBOOTSTRAP_REQUIRED:
            self._rebootstrap("the broker asks for it")
        if response.error_code:
            raise for_code(response.error_code, f"{connection.address} gives no metadata")
        if not response.brokers:
            raise NoBrokersAvailable(
                "the metadata names no broker", attempts=[(connection.address, "empty answer")]
            )
        new, changes = merge(self.snapshot, response, self._reactor.clock.now(), names)
        self._tell(changes, new)
        self._replace(new, changes)
        self._adopt_bootstrap()

    def _tell(self, changes: Changes, new: MetadataSnapshot) -> None:
        if changes.other_cluster:
            self._log.error(
                "the brokers now belong to cluster %s, before it was %s: all metadata is forgotten",
                new.cluster_id,
                self.snapshot.cluster_id,
            )
        for name in sorted(changes.recreated):
            self._log.warning("topic %s was deleted and made anew: its offsets start again", name)
        for name in sorted(changes.refused):
            # Whoever wants the topic says what follows from it.
            self._log.debug("topic %s has no metadata: %s", name, for_code(new.topic_error(name)))
        if changes:
            self.events.tell("cluster.changed", brokers=len(new.brokers), topics=changes.topics())

    def _watch_age(self) -> None:
        if self._ageing is None:
            self._ageing = self._reactor.spawn(self._refresh_at_age(), "metadata age")

    async def _refresh_at_age(self) -> None:
        while not self._closed:
            now = self._reactor.clock.now()
            left = self._schedule.age_left(now, self.snapshot.updated_at)
            if left == 0:
                self.refresh_soon("metadata_max_age_ms has passed")
                left = self._config.metadata_max_age_ms / 1000
            await self._reactor.sleep(left)

    def _fail_waiters(self, error: Error) -> None:
        waiters, self._waiters = self._waiters, []
        _settle(waiters, error)

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
        """As `connection`, for as long as the metadata agrees: a node that is frozen takes the connection and says nothing.

        Meanwhile the metadata is asked for again and again, so that a leader that has moved is followed at once.

        Args:
            node_id: The node.
            role: As for `connection`.
            wanted: Whether this node is still the one to talk to.

        Raises:
            NoBrokersAvailable: As `connection`, or the metadata names another node by now.

        Cancellation: Ends the wait.
        """
        attempt = asyncio.ensure_future(self.connection(node_id, role))
        try:
            while not (await asyncio.wait({attempt}, timeout=_LOOK_S))[0]:
                if not wanted(self.snapshot):
                    raise NoBrokersAvailable(f"node {node_id} is not the one to talk to any more")
                self.refresh_soon(f"node {node_id} does not answer")
            return attempt.result()
        finally:
            attempt.cancel()

    async def any_connection(self) -> Connection:
        """A control connection to whichever broker can be reached: an open one, else a known one, else the bootstrap list.

        Raises:
            NoBrokersAvailable: There is none; one line for each address that was tried.

        Cancellation: Ends the wait.
        """
        if (live := self._live_control()) is not None:
            return live
        if self._closed:
            raise Closed("the client was closed", outcome="not_written")
        if self._finding is None:
            self._finding = asyncio.get_running_loop().create_future()
            self._reactor.spawn(self._find(self._finding), "search for a broker")
        return await asyncio.shield(self._finding)

    def _live_control(self) -> Connection | None:
        live = self._pool.live(Role.CONTROL)
        if live:
            return min(live, key=Connection.pending)
        if self._bootstrap is not None and not self._bootstrap.lost.done():
            return self._bootstrap
        return None

    async def _find(self, found: asyncio.Future[Connection]) -> None:
        try:
            found.set_result(await self._dial_any())
        except Error as error:
            found.set_exception(error)
            found.exception()  # whoever asked may have given up meanwhile
        except BaseException:
            found.set_exception(Closed("the client was closed", outcome="not_written"))
            found.exception()
            raise
        finally:
            self._finding = None

    async def _dial_any(self) -> Connection:
        attempts: list[tuple[str, str]] = []
        nodes = list(self.snapshot.brokers.values())
        random.shuffle(nodes)
        nodes.sort(key=lambda node: self._pool.wait_of(node.node_id))
        for node in nodes:
            try:
                return await self._pool.get(node, Role.CONTROL)
            except NoBrokersAvailable as error:
                attempts += error.attempts
        if nodes and (self._config.metadata_recovery_strategy == "none" or self._pool.live()):
            raise NoBrokersAvailable("no known broker can be reached", attempts=attempts)
        if nodes:
            self._rebootstrap("no known broker can be reached")
        return await self._dial_bootstrap(attempts)

    async def _dial_bootstrap(self, attempts: list[tuple[str, str]]) -> Connection:
        addresses = list(self._config.bootstrap_servers)
        random.shuffle(addresses)
        for address in addresses:
            try:
                self._bootstrap = await Connection.open(
                    self._reactor, address, Role.CONTROL, self._config
                )
            except NoBrokersAvailable as error:
                attempts += error.attempts
                continue
            self._bootstrap_address = address
            return self._bootstrap
        raise NoBrokersAvailable("no broker can be reached", attempts=attempts)

    def _adopt_bootstrap(self) -> None:
        """Metadata says which node the bootstrap connection leads to: then it is that node's."""
        connection = self._bootstrap
        if connection is None or connection.lost.done():
            self._bootstrap = None
            return
        for node in self.snapshot.brokers.values():
            if (node.host, node.port) == self._bootstrap_address:
                self._bootstrap = None
                self._pool.adopt(connection, node.node_id)
                return

    def _rebootstrap(self, why: str) -> None:
        """Start over from the bootstrap list (KIP-899). Topics and their epochs stay: they hold if it is the same cluster."""
        if self._config.metadata_recovery_strategy == "none":
            return
        self._log.info("starting over from bootstrap_servers: %s", why)
        self.events.tell("cluster.rebootstrapped", reason=why)
        self._pool.forget()
        if self._bootstrap is not None:
            self._bootstrap.close()
            self._bootstrap = None
        self._replace(self.snapshot._replace(brokers=MappingProxyType({}), controller_id=-1))

    def _connection_lost(self, connection: Connection, cause: LostCause) -> None:
        if cause.kind == "closed" or self._closed:
            return
        # What was on its way is told by whoever had sent it, with what becomes of it.
        self._summary.add(
            logging.INFO,
            f"connection to {_node(connection)} lost ({{places}}): {cause.message}; opened again when it is needed",
            connection.role.value,
        )
        self.events.tell(
            "connection.lost",
            node_id=connection.node_id,
            address=connection.address,
            role=connection.role.value,
            kind=cause.kind,
            reason=cause.message,
        )
        self.refresh_soon(f"connection to node {connection.node_id} lost")

    def drop(self, connection: Connection) -> None:
        """Close a connection that is of no more use; the next request dials anew."""
        self._pool.drop(connection)

    # ---- requests --------------------------------------------------------------------------------------------------

    async def request(
        self,
        message: Message,
        *,
        node_id: int | None = None,
        controller: bool = False,
        role: Role = Role.CONTROL,
        timeout: float | None = None,
        version: int | None = None,
    ) -> Any:
        """Send one control request, once, to a certain node, the controller or any broker.

        Args:
            message: The request.
            node_id: The node; None: see `controller`.
            controller: To the controller instead of any broker.
            role: The connection's role, where a node is named.
            timeout: As `Connection.request`; the dial has its own time-outs.
            version: As `Connection.request`.

        Returns:
            The response, whatever error codes it holds.

        Raises:
            NoBrokersAvailable: Nobody to ask; not sent.
            ConnectionLost, Timeout, UnsupportedVersion, EncodeError, DecodeError: As `Connection.request`.
        """
        if node_id is None and controller:
            if self.snapshot.controller_id < 0:
                await self.refresh("the controller is not known")
            node_id = self.snapshot.controller_id
        if node_id is None:
            connection = await self.any_connection()
        else:
            connection = await self.connection(node_id, role)
        return await connection.request(message, timeout=timeout, version=version)

    def __repr__(self) -> str:
        known = self.snapshot
        return (
            f"<Cluster {known.cluster_id} brokers={len(known.brokers)} topics={len(known.topics)} "
            f"connections={len(self._pool.live())}>"
        )


def _node(connection: Connection) -> str:
    """The node of a connection for people; before metadata has told which it is, its address."""
    if connection.node_id < 0:
        return connection.address
    return f"node {connection.node_id} at {connection.address}"


def _settle(waiters: list[asyncio.Future[None]], error: Error | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # whoever waited may have given up meanwhile
