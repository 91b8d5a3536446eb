"""The connections of one client: at most one per node and role, dialled once for all callers. Engine thread only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.cluster.schedule import DialState
from ottla.errors import Closed, Error, line_of
from ottla.wire.connection import Connection, LostCause, Role

if TYPE_CHECKING:
    from ottla.cluster.certificates import CertificateWatch
    from ottla.cluster.metadata import BrokerNode
    from ottla.config.common import CommonConfig
    from ottla.engine.reactor import Reactor
    from ottla.observe.events import Events

Key = tuple[int, Role]


class Pool:
    """See the module.

    Args:
        reactor: The engine thread's side.
        settings: As `Connection.open` takes them.
        on_lost: Called with each connection that ended, and the cause.
        events: Receives opened and failed connections.
        certificates: Receives opened connections.
    """

    def __init__(
        self,
        reactor: Reactor,
        settings: CommonConfig,
        on_lost: Callable[[Connection, LostCause], None],
        events: Events,
        certificates: CertificateWatch,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._on_lost = on_lost
        self._events = events
        self._certificates = certificates
        self._open: dict[Key, Connection] = {}
        self._dialling: dict[Key, asyncio.Future[Connection]] = {}
        self._states: dict[int, DialState] = {}
        self._closed = False

    def live(self, role: Role | None = None) -> list[Connection]:
        """The open connections, of one role or of all."""
        return [c for (_, known), c in self._open.items() if role in (None, known)]

    def wait_of(self, node_id: int) -> float:
        """Seconds until this node may be dialled."""
        state = self._states.get(node_id)
        return 0.0 if state is None else state.wait(self._reactor.clock.now())

    async def get(self, node: BrokerNode, role: Role) -> Connection:
        """The connection to a node in a role: the open one, or a new one after the node's reconnect backoff.

        Raises:
            NoBrokersAvailable: It cannot be reached; one line per address.
            Closed: The pool was closed.

        Cancellation: Ends the wait; a dial goes on for others.
        """
        key = (node.node_id, role)
        if (connection := self._open.get(key)) is not None:
            return connection
        future = self._dialling.get(key)
        if future is None:
            if self._closed:
                raise Closed("the client was closed", outcome="not_written")
            future = self._dialling[key] = asyncio.get_running_loop().create_future()
            self._reactor.spawn(self._dial(node, role, future), f"dial of node {node.node_id}")
        return await asyncio.shield(future)

    async def _dial(self, node: BrokerNode, role: Role, future: asyncio.Future[Connection]) -> None:
        key = (node.node_id, role)
        state = self._states.setdefault(node.node_id, DialState(self._settings))
        clock = self._reactor.clock
        try:
            await clock.sleep(state.wait(clock.now()))
            connection = await Connection.open(
                self._reactor,
                (node.host, node.port),
                role,
                self._settings,
                node_id=node.node_id,
                setup_timeout=state.setup_timeout(),
            )
            state.succeeded()
            self.adopt(connection, node.node_id)
            future.set_result(connection)
        except Error as error:
            state.failed(clock.now())
            self._events.emit(
                "connection.failed",
                node=node.node_id,
                role=role.value,
                reason=line_of(error),
            )
            _fail(future, error)
        except BaseException:
            _fail(future, Closed("the dial was given up", outcome="not_written"))
            raise
        finally:
            del self._dialling[key]

    def adopt(self, connection: Connection, node_id: int) -> None:
        """Take a connection that is open already as the node's, in its role."""
        key = (node_id, connection.role)
        connection.node_id = node_id
        self._open[key] = connection
        self._events.emit(
            "connection.opened",
            node=node_id,
            address=connection.address,
            role=connection.role.value,
        )
        self._certificates.opened(connection)
        connection.lost.add_done_callback(
            lambda lost: self._remove_lost(key, connection, lost.result())
        )

    def _remove_lost(self, key: Key, connection: Connection, cause: LostCause) -> None:
        if self._open.get(key) is connection:
            del self._open[key]
        self._states.setdefault(key[0], DialState(self._settings)).connection_lost(
            self._reactor.clock.now()
        )
        self._on_lost(connection, cause)

    def drop(self, connection: Connection) -> None:
        """Close a connection; the next `get` dials again."""
        key = (connection.node_id, connection.role)
        if self._open.get(key) is connection:
            del self._open[key]
        connection.close()

    def forget(self) -> None:
        """Close every connection and forget every failure: the nodes may be others from now on."""
        for connection in list(self._open.values()):
            self.drop(connection)
        self._states.clear()

    def close(self) -> None:
        """Close every connection, for good."""
        self._closed = True
        self.forget()


def _fail(future: asyncio.Future[Connection], error: Exception) -> None:
    future.set_exception(error)
    # The callers may have been cancelled meanwhile: the exception counts as retrieved.
    future.exception()
