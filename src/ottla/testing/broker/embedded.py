"""`Broker`: starts and stops the cluster's thread, and the controls a test uses.

Every method may be called from any thread: it is carried out on the broker's thread, which alone touches the state.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from ottla.protocol.error_codes import ErrorCode
from ottla.testing.broker.cluster import Cluster, Node, Options
from ottla.testing.broker.controls import Answer, Controls, Rule, Seen, api_key
from ottla.testing.broker.group_watch import GroupWatch
from ottla.testing.broker.server import NodeServer
from ottla.testing.broker.state.topics import Partition
from ottla.testing.plain_records import Record

HOST = "127.0.0.1"
STOP_S = 10.0
R = TypeVar("R")


class Broker:
    """A Kafka cluster in this process, on ports of its own, for any Kafka client.

    Use it with `with` or `async with`: leaving closes it. It keeps everything in memory. Nodes are numbered from 1.

    Args:
        nodes: How many nodes.
        auto_create_topics: Whether naming a topic in Metadata creates it.
        num_partitions: Partitions of a topic that is created without a number.
        message_max_bytes: Largest batch; a topic's `max.message.bytes` goes before it.
        group_initial_rebalance_delay: Seconds a new group waits for more members.
        group_min_session_timeout_ms: Shorter session timeouts are INVALID_SESSION_TIMEOUT.
        group_max_session_timeout_ms: Longer ones too.
        validate_crc: Whether a wrong CRC-32C of a batch is CORRUPT_MESSAGE. The check runs at about 150 MB/s in plain
            Python; a benchmark may do without.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        auto_create_topics: bool = True,
        num_partitions: int = 1,
        message_max_bytes: int = 1048588,
        group_initial_rebalance_delay: float = 0.0,
        group_min_session_timeout_ms: int = 1,
        group_max_session_timeout_ms: int = 1_800_000,
        validate_crc: bool = True,
    ) -> None:
        if nodes < 1:
            raise ValueError("a cluster has at least one node")
        self._node_ids = range(1, nodes + 1)
        self._options = Options(
            auto_create_topics=auto_create_topics,
            num_partitions=num_partitions,
            message_max_bytes=message_max_bytes,
            group_initial_rebalance_delay=group_initial_rebalance_delay,
            group_min_session_timeout_ms=group_min_session_timeout_ms,
            group_max_session_timeout_ms=group_max_session_timeout_ms,
            validate_crc=validate_crc,
        )
        self._controls = Controls()
        self._errors: list[Exception] = []
        self._cluster: Cluster
        self._servers: dict[int, NodeServer]
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread: threading.Thread | None = None

    # ---- life ----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start all nodes; they accept connections when this returns.

        Raises:
            RuntimeError: It runs already.
            OSError: No port is free.
        """
        if self._thread is not None:
            raise RuntimeError("the broker runs already")
        listeners = {node: _listen(0) for node in self._node_ids}
        nodes = [Node(id_, HOST, sock.getsockname()[1]) for id_, sock in listeners.items()]
        self._cluster = Cluster(nodes, self._options)
        self._servers = {
            node: NodeServer(node, self._cluster, self._controls, self._errors.append)
            for node in self._node_ids
        }
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._run, args=(listeners, started), name="ottla-broker"
        )
        self._thread.start()
        started.result()
        return self

    def close(self) -> None:
        """Stop all nodes, drop all connections and join the thread; a closed broker may be closed again.

        Raises:
            ExceptionGroup: Handlers failed while the broker ran: bugs of the broker.
            TimeoutError: The thread did not end.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(STOP_S)
        if thread.is_alive():
            raise TimeoutError("the broker's thread did not end")
        if self._errors:
            raise ExceptionGroup("the broker failed", self._errors)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(
        self, listeners: Mapping[int, socket.socket], started: concurrent.futures.Future[None]
    ) -> None:
        asyncio.run(self._serve(listeners, started))

    async def _serve(
        self, listeners: Mapping[int, socket.socket], started: concurrent.futures.Future[None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        watch = GroupWatch(self._cluster, self._loop)
        self._cluster.groups_changed = watch.set
        try:
            for node, listener in listeners.items():
                await self._servers[node].start(listener)
                self._cluster.set_alive(node, True)
        except Exception as error:
            started.set_exception(error)
            raise
        started.set_result(None)
        await self._stop.wait()
        watch.cancel()
        for server in self._servers.values():
            await server.stop()

    def _on_thread(self, function: Callable[[], R]) -> R:
        """Carry out a function on the broker's thread, also when called from there (an answering rule)."""
        if self._thread is None:
            raise RuntimeError("the broker does not run")
        if threading.current_thread() is self._thread:
            return function()
        done: concurrent.futures.Future[R] = concurrent.futures.Future()

        def carry_out() -> None:
            try:
                done.set_result(function())
            except Exception as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(carry_out)
        return done.result(STOP_S)

    # ---- looking -------------------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, separated by commas."""
        return ",".join(f"{node.host}:{node.port}" for node in self._cluster.nodes.values())

    @property
    def requests(self) -> list[Seen]:
        """The requests that arrived, oldest first: node, name of the API, version, client id."""
        return self._controls.seen()

    def count(self, api: str) -> int:
        """Return how many requests of an API, such as "Produce", arrived."""
        return self._controls.count(api)

    def records(self, topic: str, partition: int = 0) -> list[Record]:
        """Return the records of a partition.

        Raises:
            KeyError: There is no such partition.
            DecodeError: A batch has a codec that is not read here (snappy, lz4, zstd).
        """
        return self._on_thread(lambda: self._partition(topic, partition).log.records())

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """Return the offset after the last record.

        Raises:
            KeyError: There is no such partition.
        """
        return self._on_thread(lambda: self._partition(topic, partition).log.end_offset)

    def leader(self, topic: str, partition: int = 0) -> int:
        """Return the node that leads a partition, -1 if none does.

        Raises:
            KeyError: There is no such partition.
        """
        return self._on_thread(lambda: self._partition(topic, partition).leader)

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Return the offsets a group committed, by topic and partition; none for a group nobody knows."""

        def committed() -> dict[tuple[str, int], int]:
            known = self._cluster.groups.by_name.get(group)
            found = known.offsets.by_partition if known is not None else {}
            return {place: entry.offset for place, entry in found.items()}

        return self._on_thread(committed)

    def members(self, group: str) -> list[str]:
        """Return the ids of a group's members, in the order they came."""

        def members() -> list[str]:
            known = self._cluster.groups.by_name.get(group)
            return list(known.members) if known is not None else []

        return self._on_thread(members)

    def _partition(self, topic: str, partition: int) -> Partition:
        found = self._cluster.topics.partition(topic, partition)
        if found is None:
            raise KeyError(f"{topic}-{partition}")
        return found

    # ---- topics and nodes ----------------------------------------------------------------------------------------

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str | None] | None = None
    ) -> None:
        """Create a topic.

        Raises:
            ValueError: It exists.
        """

        def create() -> None:
            if name in self._cluster.topics.by_name:
                raise ValueError(f"topic {name!r} exists")
            self._cluster.topics.create(name, partitions, config or {}, self._cluster.alive)

        self._on_thread(create)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset, which becomes the first."""
        self._on_thread(lambda: self._partition(topic, partition).log.delete_before(before))

    def move_leader(self, topic: str, partition: int, node: int) -> None:
        """Make a node the leader of a partition; the leader epoch rises."""
        self._on_thread(lambda: self._partition(topic, partition).lead(node))

    def expire_member(self, group: str, member_id: str) -> None:
        """Remove a member, as when its session ends.

        Raises:
            KeyError: There is no such group or member.
        """

        def expire() -> None:
            self._cluster.groups.by_name[group].remove(member_id, self._loop.time())
            self._cluster.groups_changed()

        self._on_thread(expire)

    def kill(self, node: int) -> None:
        """Close a node's listener and connections; its partitions and groups move to other nodes."""

        async def kill() -> None:
            self._cluster.set_alive(node, False)
            await self._servers[node].stop()

        self._run_on_thread(kill)

    def restart(self, node: int) -> None:
        """Start a killed node again, on the same port.

        Raises:
            OSError: The port is in use by somebody else.
        """

        async def restart() -> None:
            await self._servers[node].start(_listen(self._cluster.nodes[node].port))
            self._cluster.set_alive(node, True)

        self._run_on_thread(restart)

    def _run_on_thread(self, function: Callable[[], Any]) -> None:
        if self._thread is None:
            raise RuntimeError("the broker does not run")
        asyncio.run_coroutine_threadsafe(function(), self._loop).result(STOP_S)

    # ---- doing something to requests -----------------------------------------------------------------------------

    def fail(self, api: str, error: int, times: int | None = 1, **match: Any) -> None:
        """Answer requests with an error and do nothing else.

        Args:
            api: Kafka's name, such as "Produce".
            error: An error code.
            times: How many requests; None for all.
            match: Only requests with node=, version=, client_id=, topic=, group= or a field of the request.
        """
        self._add(Rule(api_key(api), "fail", times, match, error=ErrorCode(error)))

    def delay(self, api: str, seconds: float, times: int | None = 1, **match: Any) -> None:
        """Wait before requests are carried out; arguments as `fail`."""
        self._add(Rule(api_key(api), "delay", times, match, seconds=seconds))

    def answer(self, api: str, function: Answer, times: int | None = 1, **match: Any) -> None:
        """Let a function answer: it gets request and call, on the broker's thread; None means as usual."""
        self._add(Rule(api_key(api), "answer", times, match, function=function))

    def disconnect(self, api: str, times: int | None = 1, **match: Any) -> None:
        """Close the connection instead of carrying out requests; arguments as `fail`."""
        self._add(Rule(api_key(api), "disconnect", times, match))

    def lose_answer(self, api: str, times: int | None = 1, **match: Any) -> None:
        """Carry requests out, then close the connection instead of answering; arguments as `fail`."""
        self._add(Rule(api_key(api), "lose_answer", times, match))

    def clear_rules(self) -> None:
        """Forget what `fail`, `delay`, `answer`, `disconnect` and `lose_answer` said."""
        self._controls.clear()

    def _add(self, rule: Rule) -> None:
        self._controls.add(rule)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
