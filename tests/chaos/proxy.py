"""A TCP proxy between a client and the nodes of a cluster that knows Kafka's frames, to break them on purpose.

`KafkaCluster(proxied=True)` sends its clients to it: one listener per node. The proxy reads every frame of a request or an
answer whole and applies the rules that match it (node, direction, API key, chance); without a rule it passes the frame on
unchanged. One thread, one event loop; every method may be called from any thread. `events` has the latest actions, `counts`
their numbers.

The random generator is seeded, so the same frames in the same order meet the same rules. Threads and a cluster do not send the
same frames in the same order twice: a seed repeats the schedule and its odds, not every byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

PRODUCE, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 3, 18, 22
MAX_FRAME = 128 << 20
KEPT_EVENTS = 10_000
CALL_TIMEOUT_S = 10.0
CHUNK = 16 << 10
POLL_S = 0.02
LAST_TURNS = 5
"""Turns of the loop until every accepted connection has a task."""
RESET_NOW = struct.pack("ii", 1, 0)

Direction = Literal["request", "answer"]
Action = Literal[
    "cut",  # the connection ends before the frame is passed on
    "halve",  # half of the frame is passed on, then the connection ends
    "swallow",  # nothing is passed on in this direction from here, and the connection stays open
    "hold",  # the frame waits until the rule is removed: lost packets that TCP delivers in the end
    "delay",  # the frame waits for `pause` seconds
    "narrow",  # the frame trickles at `bytes_per_s`
    "garble_length",  # a bit of the frame's length is flipped
    "garble_head",  # a bit of the correlation id is flipped
    "garble_body",  # a few bytes after the header are changed
    "shorten",  # the frame is shorter, and its length is too
]


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule for frames. `node` and `api_key` None: for those of all."""

    action: Action
    on: Direction
    node: int | None = None
    api_key: int | None = PRODUCE
    chance: float = 1.0
    reset: bool = False
    """Whether a connection that ends does so by RST, not FIN."""
    pause: Callable[[random.Random], float] = lambda _: 0.0
    """Seconds of one delay, drawn for each frame."""
    bytes_per_s: float = 64_000.0

    def matches(self, node: int, on: Direction, api_key: int | None) -> bool:
        return (
            self.on == on
            and self.node in (None, node)
            and (self.api_key is None or self.api_key == api_key)
        )


class Event(NamedTuple):
    """One action of the proxy, at a time of `time.monotonic`."""

    at_s: float
    node: int
    what: str
    api_key: int | None


class Proxy:
    """`with Proxy(cluster.proxy_ports, seed) as proxy`.

    Args:
        ports: node id -> (port to listen on, port to forward to), all of 127.0.0.1.
        seed: of the dice that rules throw.
    """

    def __init__(self, ports: Mapping[int, tuple[int, int]], seed: int) -> None:
        self._ports = dict(ports)
        self.rng = random.Random(seed)
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self.counts: Counter[str] = Counter()
        self.rules: tuple[Rule, ...] = ()
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="chaos-proxy")
        self._servers: dict[int, asyncio.Server] = {}
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        for node in self._ports:
            self.accept(node)
        return self

    def __exit__(self, *_error: object) -> None:
        self._call(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()

    # ---- faults ----------------------------------------------------------------------------------------------------

    def add(self, *rules: Rule) -> None:
        """Apply these rules from now on, in the order of their addition."""
        with self._lock:
            self.rules += rules

    def remove(self, *rules: Rule) -> None:
        """Stop applying them; the frames that they hold are passed on."""
        with self._lock:
            self.rules = tuple(rule for rule in self.rules if rule not in rules)

    def refuse(self, node: int) -> None:
        """Refuse new connections to this node; open ones continue."""
        self._call(self._unlisten(node))
        self.note(node, "refuse", None)

    def accept(self, node: int) -> None:
        """Accept new connections to this node."""
        self._call(self._listen(node))

    def cut_all(self, node: int, *, reset: bool) -> None:
        """End every connection of this node now."""
        self._call(self._cut_all(node, reset))

    def heal(self) -> None:
        """Remove every rule, and listen for every node."""
        with self._lock:
            self.rules = ()
        for node in self._ports:
            self.accept(node)

    def note(self, node: int, what: str, api_key: int | None) -> None:
        self.events.append(Event(time.monotonic(), node, what, api_key))
        self.counts[what] += 1

    # ---- the loop --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    async def _listen(self, node: int) -> None:
        if node not in self._servers:
            listen, _ = self._ports[node]
            self._servers[node] = await asyncio.start_server(
                lambda reader, writer: self._take(node, reader, writer),
                "127.0.0.1",
                listen,
            )

    async def _unlisten(self, node: int) -> None:
        server = self._servers.pop(node, None)
        if server is None:
            return
        # asyncio fails at a connection that it accepted in the turn in which its server is closed, and leaves it open.
        for listener in server.sockets:
            self._loop.remove_reader(listener.fileno())
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)
        server.close()

    async def _cut_all(self, node: int, reset: bool) -> None:
        for connection in [each for each in self._connections if each.node == node]:
            connection.end(reset=reset)
            self.note(node, "reset" if reset else "close", None)

    def _take(self, node: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(node, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # In every case: a task that is cancelled before its first step has not closed its connections.
        task.add_done_callback(lambda _: _end(writer, reset=False))

    async def _serve(
        self, node: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            broker = await asyncio.open_connection("127.0.0.1", self._ports[node][1])
        except OSError:
            # The node is down. Its own port would refuse; a reset is the closest that a listener can do.
            _end(writer, reset=True)
            return
        connection = _Connection(self, node, (reader, writer), broker)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.end(reset=False)

    async def _shut_down(self) -> None:
        for node in list(self._servers):
            await self._unlisten(node)
        # The connection that was accepted last may not have its task yet.
        for _ in range(LAST_TURNS):
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)


class _Connection:
    """A client's connection and the one to the node behind it."""

    def __init__(
        self,
        proxy: Proxy,
        node: int,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self.node = node
        self._client = client
        self._broker = broker
        self._asked: dict[int, int] = {}
        """Correlation id -> API key of each request without an answer."""

    async def run(self) -> None:
        """Pass frames on until one side ends; then end the other too."""
        pumps = [
            asyncio.ensure_future(self._pump("request", self._client[0], self._broker[1])),
            asyncio.ensure_future(self._pump("answer", self._broker[0], self._client[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def end(self, *, reset: bool) -> None:
        for writer in (self._client[1], self._broker[1]):
            _end(writer, reset=reset)

    async def _pump(
        self, on: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                if not 4 <= size <= MAX_FRAME:
                    return
                body = await reader.readexactly(size)
                if not await self._pass(on, self._api_of(on, body), body, reader, writer):
                    return

    def _api_of(self, on: Direction, body: bytes) -> int | None:
        if on == "answer":
            return self._asked.pop(int.from_bytes(body[:4], "big", signed=True), None)
        if len(body) < 8:
            return None
        api_key, _, correlation_id = struct.unpack_from(">hhi", body)
        self._asked[correlation_id] = api_key
        return int(api_key)

    async def _pass(
        self,
        on: Direction,
        api_key: int | None,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Pass one frame on by the rules; False where the connection ends with it."""
        proxy = self._proxy
        frame = struct.pack(">i", len(body)) + body
        speed: float | None = None
        for rule in self._struck(on, api_key):
            proxy.note(self.node, f"{rule.action} {on}", api_key)
            if rule.action in ("cut", "halve"):
                if rule.action == "halve":
                    writer.write(frame[: len(frame) // 2])
                    await writer.drain()
                self.end(reset=rule.reset)
                return False
            if rule.action == "swallow":
                while await reader.read(CHUNK):
                    pass
                return False
            if rule.action == "hold":
                # Other threads remove rules, and they know no event of this loop.
                while rule in proxy.rules:  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
            elif rule.action == "delay":
                await asyncio.sleep(rule.pause(proxy.rng))
            elif rule.action == "narrow":
                speed = rule.bytes_per_s
            else:
                frame = garbled(frame, rule.action, proxy.rng)
        await _write(writer, frame, speed)
        return True

    def _struck(self, on: Direction, api_key: int | None) -> Iterable[Rule]:
        """The current rules that match a frame and that chance selected."""
        for rule in self._proxy.rules:
            if rule.matches(self.node, on, api_key) and self._proxy.rng.random() < rule.chance:
                yield rule


async def _write(writer: asyncio.StreamWriter, frame: bytes, bytes_per_s: float | None) -> None:
    if bytes_per_s is None:
        writer.write(frame)
        await writer.drain()
        return
    step = max(1, int(bytes_per_s * POLL_S))
    for start in range(0, len(frame), step):
        part = frame[start : start + step]
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(len(part) / bytes_per_s)


def garbled(frame: bytes, how: str, rng: random.Random) -> bytes:
    """A frame (with its length in front) that differs from the received one."""
    data = bytearray(frame)
    if how == "garble_length":
        # The sign, and bits that make the frame longer than the rest of the stream, or than any limit.
        data[0] ^= rng.choice((0x80, 0x40, 0x04, 0x01))
    elif how == "garble_head":
        data[4 + rng.randrange(4)] ^= 1 << rng.randrange(8)
    elif how == "garble_body":
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(8, len(data)) if len(data) > 8 else 4
            data[place] ^= rng.randint(1, 255)
    elif how == "shorten":
        del data[rng.randrange(8, len(data)) if len(data) > 8 else 8 :]
        data[:4] = struct.pack(">i", len(data) - 4)
    else:
        raise ValueError(f"no way to garble: {how}")
    return bytes(data)


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """End a connection, by FIN after the written bytes or by RST at once."""
    if not reset:
        writer.close()
        return
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_NOW)
    writer.transport.abort()
