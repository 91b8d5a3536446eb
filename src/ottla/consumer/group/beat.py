"""The heartbeat of a classic member, sent by the I/O thread: Python receives only answers with an error.

Heartbeats stop while the member joins: its pending JoinGroup keeps it alive, and a heartbeat of the old generation would be refused.
The I/O thread sends them, so a held GIL evicts nobody; `liveness` detects a stuck application.

References: Heartbeat (key 12), KIP-62; Java: HeartbeatThread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.protocol.headers import decode_response, encode_request
from ottla.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse

if TYPE_CHECKING:
    from ottla.config.consumer import ConsumerConfig
    from ottla.engine.port import Port
    from ottla.seam.connections import Loss
    from ottla.wire.connection import Connection, LostCause


class Beat:
    """Heartbeats over one connection, until `stop` or the loss of the connection."""

    def __init__(
        self,
        port: Port,
        connection: Connection,
        request: HeartbeatRequest,
        config: ConsumerConfig,
        *,
        on_error: Callable[[int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._port = port
        self._version = connection.version_for(HeartbeatRequest)
        self._on_error = on_error
        self._on_lost = on_lost
        self._address = connection.address
        self._stopped = False
        connection.lost.add_done_callback(self._connection_lost)
        self._id = port.beat(
            self,
            connection.id,
            encode_request(request, self._version, 0, config.client_id),
            interval=config.heartbeat_interval_ms / 1000,
            timeout=config.session_timeout_ms / 1000,
            error_offset=error_offset(self._version),
        )

    def stop(self) -> None:
        """Send no more heartbeats, and call nothing more."""
        self._stopped = True
        self._port.beat_stop(self._id)

    def on_beat(self, frame: bytes) -> None:
        """Event of the port: an answer with an error."""
        self._on_error(decode_response(HeartbeatResponse, self._version, frame)[1].error_code)

    def on_beat_missed(self, loss: Loss) -> None:
        """Event of the port: the heartbeats have ended."""
        self._end(loss.message)

    def _connection_lost(self, lost: asyncio.Future[LostCause]) -> None:
        self._end(lost.result().message)

    def _end(self, reason: str) -> None:
        if not self._stopped:
            self._stopped = True
            self._on_lost(f"{self._address}: {reason}")


def error_offset(version: int) -> int:
    """Offset of the error code in a response, counted from its correlation id: after the header and the throttle time."""
    header = (
        5
        if HeartbeatRequest.FLEXIBLE_FROM is not None and version >= HeartbeatRequest.FLEXIBLE_FROM
        else 4
    )
    return header + (4 if version >= 1 else 0)
