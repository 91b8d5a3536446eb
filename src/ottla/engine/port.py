"""The port: passes commands of the engine thread to the I/O thread, and its events to connections and heartbeats.

Between connection (Python) and the sockets (Rust). `Io` is the extension's handle, or a double of it in tests; `Port`
passes each event to its connection. Engine thread only.

Order: the engine takes connection events (`Io.drain`) before the events of the flows, so when a lost connection causes a hold, the
connection has been removed before the hold is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, assert_never

from ottla.observe.log import ProcessLog
from ottla.seam.connections import (
    BeatAnswered,
    BeatMissed,
    Connected,
    IoEvent,
    Loss,
    Lost,
    Responded,
    TlsFailed,
)

if TYPE_CHECKING:
    from ottla._native import TlsContext
    from ottla.seam.security import TlsFailure, TlsPeer

_log = ProcessLog("engine")


class Io(Protocol):
    """The part of the I/O thread's handle (`ottla._native.Io`) that the control plane uses."""

    def fileno(self) -> int: ...
    def drain(self) -> list[IoEvent]: ...
    def connect(
        self,
        ip: str,
        port: int,
        *,
        timeout: float,
        send_buffer_bytes: int,
        receive_buffer_bytes: int,
        frame_cap_bytes: int,
        tls: TlsContext | None = None,
        server_name: str = "",
    ) -> int: ...
    def request(
        self, conn: int, token: int, frame: bytes, *, timeout: float, expects_response: bool = True
    ) -> None: ...
    def beat(
        self, conn: int, frame: bytes, *, interval: float, timeout: float, error_offset: int
    ) -> int: ...
    def beat_stop(self, beat: int) -> None: ...
    def close(self, conn: int) -> None: ...
    def shutdown(self, timeout: float) -> bool: ...


class ConnectionEvents(Protocol):
    """Receiver of the events of one connection."""

    def on_connected(self, tls: TlsPeer | None) -> None:
        """The address has accepted, and TLS is set up; None: plain TCP."""

    def on_tls_failed(self, failure: TlsFailure) -> None:
        """TLS has failed; `on_lost` follows."""

    def on_response(self, token: int, frame: bytes) -> None:
        """The answer to a request; the frame starts at the correlation id."""

    def on_lost(self, loss: Loss, tokens: list[int]) -> None:
        """The connection has ended; tokens of the requests without an answer."""


class BeatEvents(Protocol):
    """Receiver of the events of one heartbeat."""

    def on_beat(self, frame: bytes) -> None:
        """An answer whose error code is not 0; the frame starts at the correlation id."""

    def on_beat_missed(self, loss: Loss) -> None:
        """No answer arrived in time, or the connection has ended; so has the heartbeat."""


class Port:
    """Sends through an `Io` and routes its events."""

    def __init__(self, io: Io) -> None:
        self.io = io
        self._connections: dict[int, ConnectionEvents] = {}
        self._beats: dict[int, BeatEvents] = {}

    def connect(
        self,
        listener: ConnectionEvents,
        ip: str,
        port: int,
        *,
        timeout: float,
        send_buffer_bytes: int,
        receive_buffer_bytes: int,
        frame_cap_bytes: int,
        tls: TlsContext | None = None,
        server_name: str = "",
    ) -> int:
        """Begin to connect; the listener receives the events. Returns the connection's id at once."""
        conn = self.io.connect(
            ip,
            port,
            timeout=timeout,
            send_buffer_bytes=send_buffer_bytes,
            receive_buffer_bytes=receive_buffer_bytes,
            frame_cap_bytes=frame_cap_bytes,
            tls=tls,
            server_name=server_name,
        )
        self._connections[conn] = listener
        return conn

    def beat(
        self,
        listener: BeatEvents,
        conn: int,
        frame: bytes,
        *,
        interval: float,
        timeout: float,
        error_offset: int,
    ) -> int:
        """Let the I/O thread send the frame at an interval; returns the id for `beat_stop`."""
        beat = self.io.beat(
            conn, frame, interval=interval, timeout=timeout, error_offset=error_offset
        )
        self._beats[beat] = listener
        return beat

    def beat_stop(self, beat: int) -> None:
        """End a heartbeat; no further event of it is delivered."""
        if self._beats.pop(beat, None) is not None:
            self.io.beat_stop(beat)

    def dispatch(self) -> None:
        """Take the events since the last call and deliver each; an error in one delivery loses no other event."""
        for event in self.io.drain():
            try:
                self._deliver(event)
            except Exception as error:
                kind = type(event).__name__
                _log.error("internal_error.event", exc_info=error, kind=kind, reason=error)

    def _deliver(self, event: IoEvent) -> None:
        match event:
            case Responded(conn, token, frame):
                if (connection := self._connections.get(conn)) is not None:
                    connection.on_response(token, frame)
            case Connected(conn, tls):
                if (connection := self._connections.get(conn)) is not None:
                    connection.on_connected(tls)
            case TlsFailed(conn, failure):
                if (connection := self._connections.get(conn)) is not None:
                    connection.on_tls_failed(failure)
            case Lost(conn, loss, tokens):
                if (connection := self._connections.pop(conn, None)) is not None:
                    connection.on_lost(loss, tokens)
            case BeatAnswered(number, frame):
                if (beat := self._beats.get(number)) is not None:
                    beat.on_beat(frame)
            case BeatMissed(number, loss):
                if (beat := self._beats.pop(number, None)) is not None:
                    beat.on_beat_missed(loss)
            case _:
                assert_never(event)
