"""The I/O thread and the brokers behind it, in memory: what the control plane's unit tests run against.

`FakeIo` keeps the contract of `ottla._native.Io`: ids at once, everything else as events, `lost` exactly once. A
`FakeNode` answers requests by functions that a test may replace; nothing happens unless the reactor's loop runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

from ottla.config.common import CommonConfig
from ottla.config.producer import producer_config
from ottla.engine.clock import ManualClock
from ottla.engine.reactor import Reactor
from ottla.protocol.api_keys import ApiKey
from ottla.protocol.base import Message
from ottla.protocol.headers import decode_request, encode_response, peek_request_header
from ottla.protocol.messages.api_versions import ApiVersion, ApiVersionsResponse
from ottla.protocol.messages.find_coordinator import Coordinator, FindCoordinatorResponse
from ottla.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from ottla.seam.connections import Connected, IoEvent, Loss, LossKind, Lost, Responded

Answer = Callable[[Any, int], Message | bytes | None]
"""(request, version) -> the response, a whole frame behind the correlation id, or None: silence."""

SPOKEN: dict[int, tuple[int, int]] = {
    ApiKey.METADATA: (0, 12),
    ApiKey.API_VERSIONS: (0, 4),
    ApiKey.FIND_COORDINATOR: (0, 4),
    ApiKey.PRODUCE: (0, 12),
    ApiKey.HEARTBEAT: (0, 4),
}


class FakeCluster:
    """The answers of the nodes: brokers, topics, coordinators."""

    def __init__(self) -> None:
        self.cluster_id = "cluster-a"
        self.nodes: dict[int, FakeNode] = {}
        self.topics: dict[str, MetadataResponseTopic] = {}
        self.metadata_error = 0
        self.coordinator: tuple[int, int] = (0, 1)
        """(error code, node id) that FindCoordinator answers."""

    def add_node(self, node_id: int, ip: str = "10.0.0.1", port: int = 0) -> FakeNode:
        node = FakeNode(self, node_id, ip, port or 9000 + node_id)
        self.nodes[node_id] = node
        return node

    def add_topic(
        self, name: str, leaders: dict[int, tuple[int, int]], topic_id: int = 1, error: int = 0
    ) -> None:
        """leaders: partition -> (node id, leader epoch)."""
        self.topics[name] = MetadataResponseTopic(
            error_code=error,
            name=name,
            topic_id=topic_id.to_bytes(16, "big"),
            partitions=[
                MetadataResponsePartition(
                    partition_index=number, leader_id=leader, leader_epoch=epoch
                )
                for number, (leader, epoch) in leaders.items()
            ],
        )

    def metadata(self, request: Any, version: int) -> MetadataResponse:
        wanted = self.topics if request.topics is None else [t.name for t in request.topics]
        return MetadataResponse(
            brokers=[
                MetadataResponseBroker(node_id=n.node_id, host=n.ip, port=n.port)
                for n in self.nodes.values()
                if n.advertised
            ],
            cluster_id=self.cluster_id,
            controller_id=min(self.nodes, default=-1),
            topics=[
                self.topics.get(name) or MetadataResponseTopic(error_code=3, name=name)
                for name in wanted
            ],
            error_code=self.metadata_error if version >= 13 else 0,
        )


class FakeNode:
    """One broker."""

    def __init__(self, cluster: FakeCluster, node_id: int, ip: str, port: int) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.ip = ip
        self.port = port
        self.up = True
        self.advertised = True
        self.versions: dict[int, tuple[int, int]] = dict(SPOKEN)
        self.seen: list[tuple[int, Any]] = []
        """(version, request) of everything it was asked."""
        self.answers: dict[int, Answer] = {
            ApiKey.API_VERSIONS: self._api_versions,
            ApiKey.METADATA: cluster.metadata,
            ApiKey.FIND_COORDINATOR: self._coordinator,
        }

    def answer(self, frame: bytes) -> bytes | None:
        header = peek_request_header(frame)
        key, version = header.request_api_key, header.request_api_version
        low, high = self.versions[key]
        if key == ApiKey.API_VERSIONS and not low <= version <= high:
            self.seen.append((version, None))
            refusal = ApiVersionsResponse(
                error_code=35,
                api_keys=[ApiVersion(api_key=key, min_version=low, max_version=high)],
            )
            return encode_response(refusal, 0, 0)
        assert low <= version <= high, f"asked for {key} in version {version}"
        request = decode_request(frame)[1]
        self.seen.append((version, request))
        response = self.answers[key](request, version)
        if response is None or isinstance(response, bytes):
            return response
        return encode_response(response, version, 0)

    def asked(self, key: ApiKey) -> list[Any]:
        """The requests of one API so far."""
        return [
            request for _, request in self.seen if request is not None and key == request.API_KEY
        ]

    def _api_versions(self, request: Any, version: int) -> ApiVersionsResponse:
        return ApiVersionsResponse(
            api_keys=[
                ApiVersion(api_key=key, min_version=low, max_version=high)
                for key, (low, high) in self.versions.items()
            ]
        )

    def _coordinator(self, request: Any, version: int) -> FindCoordinatorResponse:
        code, node_id = self.cluster.coordinator
        node = self.cluster.nodes[node_id]
        if version < 4:
            return FindCoordinatorResponse(
                error_code=code, node_id=node_id, host=node.ip, port=node.port
            )
        return FindCoordinatorResponse(
            coordinators=[
                Coordinator(key=key, error_code=code, node_id=node_id, host=node.ip, port=node.port)
                for key in request.coordinator_keys
            ]
        )


class FakeIo:
    """`ottla._native.Io` without sockets."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.ring: Callable[[], None] = lambda: None
        self.events: list[IoEvent] = []
        self.open: dict[int, FakeNode] = {}
        self.pending: dict[int, list[int]] = {}
        self.dialled: list[tuple[str, int, float]] = []
        self.silent: set[tuple[str, int]] = set()
        """Addresses that neither accept nor refuse."""
        self.dialling: list[tuple[int, str, int]] = []
        """Attempts to connect to one of those: id, address, port."""
        self.beats: dict[int, int] = {}
        self._next = 0
        self.is_shut_down = False

    def _emit(self, event: IoEvent) -> None:
        self.events.append(event)
        self.ring()

    def fileno(self) -> int:
        return -1

    def drain(self) -> list[IoEvent]:
        events, self.events = self.events, []
        return events

    def connect(self, ip: str, port: int, *, timeout: float, **_options: Any) -> int:
        self._next += 1
        conn = self._next
        self.dialled.append((ip, port, timeout))
        if (ip, port) in self.silent:
            self.dialling.append((conn, ip, port))
            return conn
        self._answer_dial(conn, ip, port)
        return conn

    def accept(self, *, refuse: bool = False) -> None:
        """Every silent address answers, now and from now on: those who dialled are connected, or refused."""
        self.silent.clear()
        waiting, self.dialling = self.dialling, []
        for conn, ip, port in waiting:
            if refuse:
                self._emit(Lost(conn, Loss("connect", "connection refused"), []))
            else:
                self._answer_dial(conn, ip, port)

    def _answer_dial(self, conn: int, ip: str, port: int) -> None:
        for node in self.cluster.nodes.values():
            if (node.ip, node.port) == (ip, port) and node.up:
                self.open[conn] = node
                self.pending[conn] = []
                self._emit(Connected(conn))
                return
        self._emit(Lost(conn, Loss("connect", "connection refused"), []))

    def request(
        self, conn: int, token: int, frame: bytes, *, timeout: float, expects_response: bool = True
    ) -> None:
        if conn not in self.open:
            self._emit(Lost(conn, Loss("io", "gone"), [token]))
            return
        self.pending[conn].append(token)
        answer = self.open[conn].answer(frame)
        if answer is not None and conn in self.open:
            self.respond(conn, answer)

    def respond(self, conn: int, frame: bytes) -> None:
        """Answer the oldest request of a connection."""
        self._emit(Responded(conn, self.pending[conn].pop(0), frame))

    def lose(
        self, conn: int, kind: LossKind = "eof", message: str = "closed by the broker"
    ) -> None:
        """The connection ends."""
        del self.open[conn]
        self._emit(Lost(conn, Loss(kind, message), self.pending.pop(conn)))

    def take_down(self, node: FakeNode) -> None:
        """The node dies, and every connection to it."""
        node.up = False
        for conn in [c for c, known in self.open.items() if known is node]:
            self.lose(conn)

    def beat(
        self, conn: int, frame: bytes, *, interval: float, timeout: float, error_offset: int
    ) -> int:
        self._next += 1
        self.beats[self._next] = conn
        return self._next

    def beat_stop(self, beat: int) -> None:
        del self.beats[beat]

    def close(self, conn: int) -> None:
        if conn in self.open:
            self.lose(conn, "closed", "closed")

    def shutdown(self, timeout: float) -> bool:
        self.is_shut_down = True
        return True


class BellIo(FakeIo):
    """A `FakeIo` with a real bell, for engines with a thread of their own."""

    def __init__(self) -> None:
        super().__init__(FakeCluster())
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.ring = lambda: os.eventfd_write(self._bell, 1)

    def fileno(self) -> int:
        return self._bell

    def drain(self) -> list[IoEvent]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        return super().drain()

    def shutdown(self, timeout: float) -> bool:
        os.close(self._bell)
        return super().shutdown(timeout)


class LoopTime:
    """The running loop's time as the engine's clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class World:
    """A reactor in the running loop, with a cluster of one node behind it."""

    def __init__(self, **config: Any) -> None:
        self.cluster = FakeCluster()
        self.node = self.cluster.add_node(1)
        self.io = FakeIo(self.cluster)
        self.clock = ManualClock()
        self.reactor = Reactor(self.io, self.clock)
        self.names: dict[str, list[str] | OSError] = {}
        self.reactor.resolve = self._resolve
        loop = asyncio.get_running_loop()
        self.io.ring = lambda: loop.call_soon(self.reactor.on_bell)  # type: ignore[assignment]
        bootstrap = config.pop("bootstrap_servers", "10.0.0.1:9001")
        self.config: CommonConfig = producer_config(bootstrap, {"client_id": "test", **config})

    async def _resolve(self, host: str) -> list[str]:
        found = self.names.get(host, [host])
        if isinstance(found, OSError):
            raise found
        return found

    async def run(self, work: Awaitable[Any], *, step: float = 0.05, most: float = 300.0) -> Any:
        """Await something while time goes on in small steps."""
        task = asyncio.ensure_future(work)
        passed = 0.0
        while not task.done():
            await self.clock.advance(step)
            passed += step
            assert passed < most, "nothing came of it"
        return task.result()
