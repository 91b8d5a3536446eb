"""The broker's thread: starts the nodes, reserves their ports, and carries out the calls of other threads.

All state belongs to this thread; other threads use `call` and `run`. A second socket, bound and not listening, reserves the port
of a node while the broker runs: no other process gets the port of a dead node, and no socket of a client either, which would
then connect to itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ottla.testing.broker.cluster import Cluster
from ottla.testing.broker.controls import Controls
from ottla.testing.broker.group_watch import GroupWatch
from ottla.testing.broker.server import NodeServer
from ottla.virtual_time import ClockLoop, jump

WAIT_S = 10.0
R = TypeVar("R")


def reserve_ports(nodes: Iterable[int], host: str, port: int) -> dict[int, socket.socket]:
    """Return a socket for each node, bound to a port on which another socket may listen.

    Args:
        nodes: Their ids.
        host: An IPv4 address of this machine, or a name of one.
        port: Port of the first node; the others have the ports after it. 0: any free ports.

    Raises:
        OSError: A port is taken, none is free, or the address is not of this machine.
    """
    reserved: dict[int, socket.socket] = {}
    try:
        for place, node in enumerate(nodes):
            reserved[node] = _bound(host, port + place if port else 0)
    except OSError:
        for sock in reserved.values():
            sock.close()
        raise
    return reserved


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None
    return bound


class BrokerThread:
    """One running cluster: it runs from its creation until its only close."""

    def __init__(
        self,
        cluster: Cluster,
        controls: Controls,
        reserved: dict[int, socket.socket],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.cluster = cluster
        self.errors: list[Exception] = []
        """Exceptions of handlers: bugs of the broker."""
        self._controls = controls
        self._reserved = reserved
        self._servers = {
            node: NodeServer(node, cluster, controls, self.errors.append, tls)
            for node in cluster.nodes
        }
        self._loop = ClockLoop(cluster.clock)
        self._stop = asyncio.Event()
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        # A daemon: a program may end without closing the broker.
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="ottla-broker", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join(WAIT_S)
            raise

    def close(self) -> None:
        """Stop all nodes, drop all connections and join the thread.

        Raises:
            TimeoutError: The thread did not end.
        """
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)
        if self._thread.is_alive():
            raise TimeoutError("the broker's thread did not end")

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve(started))
        except Exception as error:
            if started.done():
                self.errors.append(error)
            else:
                started.set_exception(error)
        finally:
            for reserved in self._reserved.values():
                reserved.close()

    async def _serve(self, started: concurrent.futures.Future[None]) -> None:
        watch = GroupWatch(self.cluster, self._loop)
        self.cluster.groups_changed = watch.set
        try:
            for node in self._servers:
                await self.start_node(node)
            started.set_result(None)
            await self._stop.wait()
        finally:
            watch.cancel()
            for server in self._servers.values():
                await server.stop()

    async def start_node(self, node: int) -> None:
        """Listen on the port of a node, unless it listens already."""
        if self.cluster.nodes[node].alive:
            return
        address = self.cluster.nodes[node]
        listener = _bound(address.host, address.port)
        listener.listen(128)
        self._servers[node].start(listener)
        self.cluster.set_alive(node, True)

    async def stop_node(self, node: int) -> None:
        """Close the listener and the connections of a node; other nodes take its leaders and groups."""
        self.cluster.set_alive(node, False)
        await self._servers[node].stop()

    def connections(self) -> int:
        """Number of open connections of clients. On this thread."""
        servers = self._servers.values()
        return sum(one.is_open for server in servers for one in server.connections)

    def call(self, function: Callable[[], R]) -> R:
        """Carry out a function on this thread, also when called from there (by a rule that answers)."""
        if threading.current_thread() is self._thread:
            return function()
        done: concurrent.futures.Future[R] = concurrent.futures.Future()

        def carry_out() -> None:
            try:
                done.set_result(function())
            except Exception as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(carry_out)
        return done.result(WAIT_S)

    def jump(self, seconds: float) -> int:
        """Let the time of the cluster jump ahead, and return when every due timer has fired.

        Returns:
            int: Number of requests since the start.

        Raises:
            RuntimeError: Called from this thread, which cannot wait for itself.
        """
        self.run(lambda: jump(self.cluster.clock, seconds))
        return self._controls.total()

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Carry out a coroutine on this thread and wait for it.

        Raises:
            RuntimeError: Called from this thread, which cannot wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a rule that answers cannot do this: it runs on the broker's thread")
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(WAIT_S)
