"""Finds a broker: an open connection, else a known broker, else an address of the bootstrap list.

Engine thread only. References: KIP-302, KIP-899; Java: NetworkClient.leastLoadedNode, ClusterConnectionStates.
"""

from __future__ import annotations

import asyncio
import random
from types import MappingProxyType
from typing import TYPE_CHECKING

from ottla.errors import Error, NoBrokersAvailable, TlsError
from ottla.wire.connection import Connection, Role

if TYPE_CHECKING:
    from ottla.cluster.context import ClusterContext
    from ottla.cluster.pool import Pool
    from ottla.cluster.store import MetadataStore
    from ottla.config.readers import Address


class BrokerSearch:
    """Control connections to any broker of one client's cluster.

    Args:
        context: The cluster's.
        store: Known brokers; they are forgotten when the search starts over.
        pool: Connections by node.
    """

    def __init__(self, context: ClusterContext, store: MetadataStore, pool: Pool) -> None:
        self._context = context
        self._store = store
        self._pool = pool
        self._connection: Connection | None = None
        """Open to an address of the bootstrap list, while its node is not known."""
        self._address: Address | None = None
        self._finding: asyncio.Future[Connection] | None = None
        self._has_reached = False
        """Whether any address has ever answered."""
        self.dialling = ""
        """Address that the search tries now, or tried last; empty before the first one."""

    def close(self) -> None:
        """Close the bootstrap connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def any_connection(self) -> Connection:
        """A control connection to any broker that can be reached.

        Raises:
            NoBrokersAvailable: There is none; one line for each address that was tried.
            Closed: The client was closed.

        Cancellation: Ends the wait.
        """
        self._context.certificates.check()
        if (live := self._live()) is not None:
            return live
        if self._context.closed:
            raise self._context.closed_error()
        if self._finding is None:
            self._finding = asyncio.get_running_loop().create_future()
            self._context.reactor.spawn(self._find(self._finding), "search for a broker")
        return await asyncio.shield(self._finding)

    def _live(self) -> Connection | None:
        live = self._pool.live(Role.CONTROL)
        if live:
            return min(live, key=Connection.pending)
        if self._connection is not None and not self._connection.lost.done():
            return self._connection
        return None

    async def _find(self, found: asyncio.Future[Connection]) -> None:
        try:
            found.set_result(await self._dial_any())
        except Error as error:
            found.set_exception(error)
            found.exception()  # the callers may have given up meanwhile
        except BaseException:
            found.set_exception(self._context.closed_error())
            found.exception()
            raise
        finally:
            self._finding = None

    async def _dial_any(self) -> Connection:
        attempts: list[tuple[str, str]] = []
        nodes = list(self._store.snapshot.brokers.values())
        random.shuffle(nodes)
        nodes.sort(key=lambda node: self._pool.wait_of(node.node_id))
        for node in nodes:
            self.dialling = f"{node.host}:{node.port}"
            try:
                return await self._pool.get(node, Role.CONTROL)
            except NoBrokersAvailable as error:
                attempts += error.attempts
        recovers = self._context.config.metadata_recovery_strategy != "none"
        if nodes and (not recovers or self._pool.live()):
            raise NoBrokersAvailable("no known broker can be reached", attempts=attempts)
        if nodes:
            self.start_over("no known broker can be reached")
        return await self._dial_bootstrap(attempts)

    async def _dial_bootstrap(self, attempts: list[tuple[str, str]]) -> Connection:
        config = self._context.config
        addresses = list(config.bootstrap_servers)
        causes: list[BaseException | None] = []
        random.shuffle(addresses)
        for address in addresses:
            self.dialling = "{}:{}".format(*address)
            try:
                self._connection = await Connection.open(
                    self._context.reactor, address, Role.CONTROL, config
                )
            except NoBrokersAvailable as error:
                attempts += error.attempts
                causes.append(error.__cause__)
                continue
            self._address = address
            self._has_reached = True
            self._context.certificates.opened(self._connection)
            return self._connection
        first = causes[0] if causes else None
        if not self._has_reached and isinstance(first, TlsError) and all(causes):
            # At the start the configuration is the likely cause; later it is one of the brokers, whose certificate changes.
            raise first
        raise NoBrokersAvailable("no broker can be reached", attempts=attempts)

    def adopt(self) -> None:
        """Give the bootstrap connection to the pool once the metadata names the node at its address."""
        connection = self._connection
        if connection is None or connection.lost.done():
            self._connection = None
            return
        for node in self._store.snapshot.brokers.values():
            if (node.host, node.port) == self._address:
                self._connection = None
                self._pool.adopt(connection, node.node_id)
                return

    def start_over(self, why: str) -> None:
        """Forget the brokers and start from the bootstrap list (KIP-899).

        Topics and their epochs stay: they hold if it is the same cluster.
        """
        if self._context.config.metadata_recovery_strategy == "none":
            return
        self._context.log.info("cluster.rebootstrapped", reason=why)
        self._context.events.emit("cluster.rebootstrapped", reason=why)
        self._pool.forget()
        self.close()
        forgotten = self._store.snapshot._replace(brokers=MappingProxyType({}), controller_id=-1)
        self._store.replace(forgotten)
