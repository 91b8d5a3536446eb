"""Connections: the events of the I/O thread about them, as `Io.drain` returns them, and its statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ottla.seam.security import TlsFailure, TlsPeer

LossKind = Literal["connect", "eof", "io", "tls", "request_timeout", "protocol", "closed"]
"""Cause of the end of a connection: TCP was never set up, the peer closed it, a read or write failed, TLS failed, a request's deadline passed, the
bytes are not the answer to the request, or this client closed it."""


class Loss(NamedTuple):
    """Cause of the end of a connection, the same for everything that waited on it."""

    kind: LossKind
    message: str
    """The system's or the protocol's own words; they name no address."""


class Connected(NamedTuple):
    """The address has accepted, and TLS is set up where it is wanted."""

    conn: int
    tls: TlsPeer | None = None
    """None: plain TCP."""


class TlsFailed(NamedTuple):
    """TLS has failed; `Lost` of kind tls follows."""

    conn: int
    failure: TlsFailure


class Responded(NamedTuple):
    """The answer to a control request."""

    conn: int
    token: int
    frame: bytes
    """Starts at the correlation id."""


class Lost(NamedTuple):
    """A connection has ended. Once per connection, and once more for each request that was made afterwards."""

    conn: int
    loss: Loss
    tokens: list[int]
    """Of its unanswered control requests, in order."""


class BeatAnswered(NamedTuple):
    """An answer to a heartbeat whose error code is not 0."""

    beat: int
    frame: bytes
    """Starts at the correlation id."""


class BeatMissed(NamedTuple):
    """No answer to a heartbeat came in time, or its connection is gone: the heartbeats have ended."""

    beat: int
    loss: Loss


IoEvent = Connected | TlsFailed | Responded | Lost | BeatAnswered | BeatMissed


class IoStatistics(NamedTuple):
    """Counts of the I/O thread since it started; `connections` and `pooled_bytes` are of now."""

    turns: int
    connections: int
    lost: int
    requests: int
    responses: int
    bytes_written: int
    bytes_read: int
    pooled_bytes: int
