"""The port: what the engine thread says to the I/O thread, and who gets its answers.

Between connection (Python) and the sockets (Rust). `Io` is the extension's handle, or a double of it in tests; `Port`
gives each event to the connection that it belongs to. Engine thread only.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

_log = logging.getLogger("ottla.engine")


class Io(Protocol):
    """What the control plane needs of the I/O thread's handle (`ottla._native.Io`)."""

    def fileno(self) -> int: ...
    def drain(self) -> list[tuple[Any, ...]]: ...
    def connect(
        self,
        ip: str,
        port: int,
        *,
        timeout: float,
        send_buffer_bytes: int,
        receive_buffer_bytes: int,
        frame_cap_bytes: int,
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
    """Who opened a connection, and is told what becomes of it."""

    def on_connected(self) -> None:
        """The address has accepted."""

    def on_response(self, token: int, frame: bytes) -> None:
        """The answer to a request; the frame starts at the correlation id."""

    def on_lost(self, kind: str, message: str, tokens: list[int]) -> None:
        """It is gone, once and for all; tokens of the requests without an answer."""


class BeatEvents(Protocol):
    """Who started a beat."""

    def on_beat(self, frame: bytes) -> None:
        """An answer whose error code is not 0; the frame starts at the correlation id."""

    def on_beat_missed(self, message: str) -> None:
        """No answer came in time, or the connection is gone; the beat has ended."""


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
    ) -> int:
        """Begin to connect; the listener hears of it. Returns the connection's id at once."""
        conn = self.io.connect(
            ip,
            port,
            timeout=timeout,
            send_buffer_bytes=send_buffer_bytes,
            receive_buffer_bytes=receive_buffer_bytes,
            frame_cap_bytes=frame_cap_bytes,
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
        """Let the I/O thread send the frame at an interval; returns the beat's id for `beat_stop`."""
        beat = self.io.beat(
            conn, frame, interval=interval, timeout=timeout, error_offset=error_offset
        )
        self._beats[beat] = listener
        return beat

    def beat_stop(self, beat: int) -> None:
        """End a beat; nothing more is heard of it."""
        if self._beats.pop(beat, None) is not None:
            self.io.beat_stop(beat)

    def dispatch(self) -> None:
        """Take the events since the last call and give each to whom it belongs; an error in one loses no other."""
        for event in self.io.drain():
            try:
                self._deliver(event)
            except Exception:
                _log.exception("the event %r could not be served", event[0])

    def _deliver(self, event: tuple[Any, ...]) -> None:
        kind, number = event[0], event[1]
        if kind == "response":
            if (connection := self._connections.get(number)) is not None:
                connection.on_response(event[2], event[3])
        elif kind == "connected":
            if (connection := self._connections.get(number)) is not None:
                connection.on_connected()
        elif kind == "lost":
            if (connection := self._connections.pop(number, None)) is not None:
                connection.on_lost(event[2], event[3], event[4])
        elif kind == "beat":
            if (beat := self._beats.get(number)) is not None:
                beat.on_beat(event[2])
        elif kind == "beat_missed":
            if (beat := self._beats.pop(number, None)) is not None:
                beat.on_beat_missed(event[2])
        else:
            raise RuntimeError(f"the I/O thread told an event of unknown kind {kind!r}")
