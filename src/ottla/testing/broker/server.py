"""Connections of one node: frames in, each request answered before the next one is read, as in Kafka.

A request that waits (a long poll, a join barrier) delays only its own connection. Requests that were received before their client
closed the connection are carried out all the same, such as a LeaveGroup behind a JoinGroup. Bytes that are no request, and versions that
are not served, close the connection, except for ApiVersions, which is answered in version 0. An exception of a handler is a bug
of the broker: it closes the connection, and `Broker.close` raises it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from struct import Struct

from ottla.errors import DecodeError, UnsupportedVersion
from ottla.protocol.api_keys import APIS, ApiKey
from ottla.protocol.base import Message
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.headers import decode_request, encode_response, peek_request_header
from ottla.protocol.messages.header import RequestHeader
from ottla.testing.broker.apis import HANDLERS
from ottla.testing.broker.apis.api_versions import announce, supported_range
from ottla.testing.broker.call import Call, Disconnect, Spoiled
from ottla.testing.broker.cluster import Cluster
from ottla.testing.broker.controls import Controls, Seen
from ottla.testing.broker.listener_tls import HANDSHAKE_TIMEOUT_S

MAX_FRAME_BYTES = 100 * 1024 * 1024
"""Kafka's `socket.request.max.bytes`."""
MAX_WAITING_FRAMES = 64
"""Maximum number of frames that are read ahead; more wait in the socket."""
_SIZE = Struct(">i")
_log = logging.getLogger("ottla.testing.broker")


class NodeServer:
    """One node: a listening socket and its connections."""

    def __init__(
        self,
        node: int,
        cluster: Cluster,
        controls: Controls,
        failed: Callable[[Exception], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.node = node
        self.cluster = cluster
        self.controls = controls
        self.failed = failed
        self._tls = tls
        self.connections: set[Connection] = set()
        """The open connections, and those whose client has gone while requests of it wait."""
        self._listener: socket.socket | None = None
        self._accepting: set[asyncio.Task[None]] = set()

    def start(self, listener: socket.socket) -> None:
        """Accept connections on a listening socket; the server owns it from now on."""
        listener.setblocking(False)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def stop(self) -> None:
        """Close the listener and every connection, and wait for their tasks."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        # An asyncio.Server that is closed at this moment would lose a connection that it has just accepted.
        await asyncio.gather(*self._accepting)
        connections = list(self.connections)
        for connection in connections:
            connection.close()
        await asyncio.gather(*(connection.closed for connection in connections))

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the client closed it before it was accepted
        accepted.setblocking(False)
        # As Kafka does. asyncio does it only for a listener that was created with IPPROTO_TCP; without it the second of two
        # pipelined answers waits for the client's delayed acknowledgement, 40 ms.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.get_running_loop().create_task(self._connect(accepted))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._tls is None:
            await loop.connect_accepted_socket(lambda: Connection(self), accepted)
            return
        try:
            await loop.connect_accepted_socket(
                lambda: Connection(self),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            _log.warning("TLS handshake failed: %s", error)

    async def answer(self, frame: bytes, client_host: str) -> bytes | None:
        """Return the response frame to a request frame, None if there is no response.

        Raises:
            DecodeError: The frame is no request.
            UnsupportedVersion: This API or version is not served.
            Disconnect: A rule of the test, or the protocol, demands it.
            Spoiled: A rule of the test returned the bytes to write.
        """
        header = peek_request_header(frame)
        key, version = header.request_api_key, header.request_api_version
        if key not in HANDLERS:
            raise UnsupportedVersion(f"API {key} is not served")
        self.controls.see(Seen(self.node, APIS[key].name, version, header.client_id))
        first, last = supported_range(key)
        if not first <= version <= last:
            if key != ApiKey.API_VERSIONS:
                raise UnsupportedVersion(f"{APIS[key].name} {version} is not served")
            unsupported = announce(HANDLERS, ErrorCode.UNSUPPORTED_VERSION)
            return encode_response(unsupported, 0, header.correlation_id)
        _, request = decode_request(frame)
        call = Call(
            self.cluster, self.node, version, header.client_id, client_host, HANDLERS.keys()
        )
        response = await self._carry_out(request, call, header)
        if response is None:
            return None
        return encode_response(response, version, header.correlation_id)

    async def _carry_out(
        self, request: Message, call: Call, header: RequestHeader
    ) -> Message | None:
        handler = HANDLERS[header.request_api_key]
        rule = self.controls.take(request, call)
        if rule is None:
            return await handler.handle(request, call)
        match rule.kind:
            case "fail":
                return handler.refuse(request, call, ErrorCode(rule.error))
            case "answer":
                assert rule.function is not None
                made = rule.function(request, call)
                return await handler.handle(request, call) if made is None else made
            case "delay":
                await asyncio.sleep(rule.seconds)
                return await handler.handle(request, call)
            case "fail_late":
                await handler.handle(request, call)
                return handler.refuse(request, call, ErrorCode(rule.error))
            case "spoil":
                assert rule.spoil is not None
                response = await handler.handle(request, call)
                frame = b""
                if response is not None:
                    frame = encode_response(response, call.version, header.correlation_id)
                raise Spoiled(rule.spoil(_SIZE.pack(len(frame)) + frame), rule.close)
            case "disconnect":
                raise Disconnect
            case "lose_answer":
                await handler.handle(request, call)
                raise Disconnect


class Connection(asyncio.Protocol):
    """One client's connection; one task answers its requests, in order."""

    def __init__(self, server: NodeServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._frames: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._dropped = False
        self.is_open = True
        """Whether the client has not closed the connection."""
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._task = asyncio.get_running_loop().create_task(self._serve(f"/{peer[0]}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._writable.set()
        self._task.add_done_callback(self._ended)
        if self._dropped or not self._frames:
            self._task.cancel()

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self._server.connections.discard(self)
        self.closed.set_result(None)

    def close(self) -> None:
        """Drop the connection with everything unsent, and the requests that wait."""
        self._dropped = True
        if not self.is_open:
            self._task.cancel()
        self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        pos = 0
        while len(buffer) - pos >= 4:
            (size,) = _SIZE.unpack_from(buffer, pos)
            if not 0 <= size <= MAX_FRAME_BYTES:
                _log.warning("a frame of %d bytes: connection closed", size)
                self.close()
                return
            if len(buffer) - pos < 4 + size:
                break
            self._frames.append(bytes(memoryview(buffer)[pos + 4 : pos + 4 + size]))
            pos += 4 + size
        if pos:
            del buffer[:pos]
            self._arrived.set()
        if len(self._frames) > MAX_WAITING_FRAMES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    async def _serve(self, client_host: str) -> None:
        try:
            while True:
                frame = await self._next_frame()
                try:
                    response = await self._server.answer(frame, client_host)
                except Spoiled as spoiled:
                    await self._write(spoiled.data)
                    if spoiled.close:
                        self._transport.close()
                        return
                    continue
                if response is not None:
                    await self._write(_SIZE.pack(len(response)), response)
        except Disconnect:
            self.close()
        except (DecodeError, UnsupportedVersion) as error:
            _log.warning("connection closed: %s", error)
            self.close()
        except Exception as error:
            self._server.failed(error)
            self.close()

    async def _write(self, *parts: bytes) -> None:
        """Write, unless the connection is closed: asyncio would warn."""
        if not self._transport.is_closing():
            self._transport.writelines(parts)
            await self._writable.wait()

    async def _next_frame(self) -> bytes:
        while not self._frames:
            if not self.is_open:
                raise Disconnect
            self._arrived.clear()
            await self._arrived.wait()
        if self._paused and len(self._frames) <= MAX_WAITING_FRAMES // 2:
            self._paused = False
            self._transport.resume_reading()
        return self._frames.popleft()
