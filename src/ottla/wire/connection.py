"""One connection to one broker: it is dialled, agrees on versions, carries requests, and is lost once, with one cause.

Station: connection. Control requests go through here; a connection in a flow's role (produce, fetch) is opened here and
then carries the requests of the flow, which Python does not see. Engine thread only.

A reconnect has a new id; bytes of a lost connection are never parsed, and every request on it fails with one cause. Connections are
separate by role (`Role`), so that a long poll or a join delays nothing else. A flow's requests and those of Python share one
queue per connection, because a broker answers in the order of the requests.

References: KIP-35, KIP-219, KIP-302, KIP-511; Java NetworkClient, Selector.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, NamedTuple

from ottla.errors import ConnectionLost, DecodeError, Error, NoBrokersAvailable, Timeout, TlsError
from ottla.observe.log import ClientLog
from ottla.protocol.headers import decode_response, encode_request
from ottla.protocol.registry import response_class
from ottla.wire.throttle import mute_seconds
from ottla.wire.versions import Agreed, Negotiation, VersionRange, choose, hello

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ottla.config.common import CommonConfig
    from ottla.config.readers import Address
    from ottla.engine.reactor import Reactor
    from ottla.errors import Outcome
    from ottla.protocol.base import Message
    from ottla.seam.connections import Loss, LossKind
    from ottla.seam.security import TlsFailure, TlsPeer
    from ottla.security.client_tls import ClientTls


class Role(enum.Enum):
    """Purpose of a connection. Each role has its own connections, so that a long poll delays no other request."""

    PRODUCE = "produce"
    FETCH = "fetch"
    FETCH_LANE = "fetch_lane"
    GROUP = "group"
    JOIN = "join"
    """JoinGroup and SyncGroup, which the coordinator answers when every member has sent one."""
    CONTROL = "control"


class LostCause(NamedTuple):
    """Why a connection ended."""

    kind: LossKind
    message: str
    address: str

    def error(self, outcome: Outcome | None = None) -> ConnectionLost:
        """The exception of the callers that waited for an answer."""
        return ConnectionLost(self.message, kind=self.kind, address=self.address, outcome=outcome)


class Connection:
    """See the module. Made by `open`."""

    def __init__(
        self, reactor: Reactor, address: str, role: Role, settings: CommonConfig, node_id: int
    ) -> None:
        self.id = -1
        """Its number for the I/O thread and the flows; -1 before the dial."""
        self.node_id = node_id
        """-1 for an address of the bootstrap list, until the metadata names its node."""
        self.role = role
        self.address = address
        """host:port, with the numeric address where the host is a name."""
        self.versions: Mapping[int, VersionRange] = {}
        """Versions of the broker, by API key."""
        self.peer: TlsPeer | None = None
        """Facts of the TLS handshake; None: plain TCP, or no handshake yet."""
        self.tls_error: TlsError | None = None
        """Why TLS failed."""
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[LostCause] = loop.create_future()
        """Done once the connection has ended."""
        self._reactor = reactor
        self._settings = settings
        self._log = ClientLog("connection", settings.who)
        self._connected: asyncio.Future[None] = loop.create_future()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._next_token = 0
        self._muted_until = 0.0

    @property
    def shown_host(self) -> str:
        """host:port, without the numeric address."""
        return self.address.partition(" ")[0]

    # ---- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        reactor: Reactor,
        address: Address,
        role: Role,
        settings: CommonConfig,
        *,
        node_id: int = -1,
        setup_timeout: float | None = None,
    ) -> Connection:
        """Connect to a broker and agree on versions. Tries every address of the host in turn.

        Args:
            reactor: The engine thread's side.
            address: Host name or address, and port.
            role: Purpose of the connection.
            settings: Time-outs, buffer sizes, client id.
            node_id: The broker's id where it is known.
            setup_timeout: Seconds for one address to accept; None: `socket_connection_setup_timeout_ms`.

        Raises:
            NoBrokersAvailable: No address of the host works; one line for each with its reason. `__cause__` is a TlsError where
                TLS failed on each of them.
            UnsupportedVersion: The broker supports no version of ApiVersions that this client knows.

        Cancellation: Closes the connection.
        """
        host, port = address
        if setup_timeout is None:
            setup_timeout = settings.socket_connection_setup_timeout_ms / 1000
        attempts: list[tuple[str, str]] = []
        refusals: list[TlsError | None] = []
        for ip in await _addresses(reactor, host, port, setup_timeout):
            shown = shown_address(host, port, ip)
            connection = cls(reactor, shown, role, settings, node_id)
            try:
                await connection._dial(host, ip, port, setup_timeout)
                await connection._negotiate()
                return connection
            except (ConnectionLost, DecodeError, Timeout) as error:
                connection.close()
                refusals.append(connection.tls_error)
                attempts.append((shown, str(connection.tls_error or error.message)))
            except BaseException:
                connection.close()
                raise
        cause = refusals[0] if all(refusals) else None
        raise NoBrokersAvailable(f"{host}:{port} cannot be reached", attempts=attempts) from cause

    async def _dial(self, host: str, ip: str, port: int, timeout: float) -> None:
        settings = self._settings
        tls = settings.tls
        if tls is not None:
            await self._refresh(tls, timeout)
        try:
            self.id = self._reactor.port.connect(
                self,
                ip,
                port,
                timeout=timeout,
                send_buffer_bytes=settings.send_buffer_bytes,
                receive_buffer_bytes=settings.receive_buffer_bytes,
                frame_cap_bytes=settings.frame_cap_bytes,
                tls=None if tls is None else tls.context,
                server_name="" if tls is None else tls.server_name(host),
            )
        except ValueError as error:
            # The resolver accepts addresses that the I/O thread does not, such as those with a scope.
            raise LostCause("connect", str(error), self.address).error("not_written") from None
        await self._connected

    async def _refresh(self, tls: ClientTls, timeout: float) -> None:
        """Use the certificate files as they are now."""
        try:
            async with asyncio.timeout(timeout):
                reload = await tls.refresh()
        except TimeoutError:
            return  # a slow disk, or a function of the application: the certificates from before stay in use
        if reload.changed:
            self._log.info("tls.reloaded")
        if reload.problems:
            self._log.warning("tls.reload_failed", reason="; ".join(reload.problems))

    async def _negotiate(self) -> None:
        negotiation = Negotiation()
        timeout = self._settings.request_timeout_ms / 1000
        try:
            while True:
                frame = await self._exchange(hello(), negotiation.version, timeout)
                step = negotiation.step(frame)
                if isinstance(step, Agreed):
                    self.versions = step.versions
                    return
        except ConnectionLost as error:
            hint = ""
            if error.kind in ("eof", "io"):
                hint = self._hint()
            error.message = f"lost while agreeing on versions: {error.message}{hint}"
            raise

    def _hint(self) -> str:
        """The likely cause of a loss before the first answer."""
        if self.peer is None:
            return " (does this port expect TLS or SASL, or is it not a Kafka broker?)"
        tls = self._settings.tls
        if self.peer.asked_for_certificate and tls is not None:
            own = tls.client_certificate
            if own is None:
                return " (the broker wants a client certificate: set ssl_certificate_location and ssl_key_location)"
            return f' (the broker may not trust the client certificate "{own.subject}")'
        return " (does this port expect SASL, or is it not a Kafka broker?)"

    # ---- asking ----------------------------------------------------------------------------------------------------

    def version_for(self, request: type[Message]) -> int:
        """The newest version of a request that both sides support.

        Raises:
            UnsupportedVersion: There is none; the message names both ranges.
        """
        return choose(request, self.versions, self.address)

    async def request(
        self, message: Message, *, timeout: float | None = None, version: int | None = None
    ) -> Any:
        """Send a control request and wait for its response.

        Args:
            message: The request; encoded at once.
            timeout: Seconds until the answer; None: `request_timeout_ms`. A time-out after the request was written ends
                the connection.
            version: None: the newest that both support.

        Returns:
            The response. Its error codes are not checked.

        Raises:
            ConnectionLost: `outcome` is unknown where the request was written, else not_written.
            Timeout: The broker's throttling lasts longer; not sent.
            UnsupportedVersion, EncodeError: Not sent.
            DecodeError: The answer is unreadable; the connection is closed.

        Cancellation: Ends the wait; the request may have been sent, and its answer is dropped.
        """
        if timeout is None:
            timeout = self._settings.request_timeout_ms / 1000
        if version is None:
            version = self.version_for(type(message))
        timeout = await self._unmuted(timeout)
        frame = await self._exchange(message, version, timeout)
        assert message.API_KEY is not None
        try:
            response = decode_response(response_class(message.API_KEY), version, frame)[1]
        except Error as error:
            self._log.error(
                "response.unreadable", node=self.node_id, address=self.address, reason=error
            )
            self.close()
            raise
        self.throttled(
            mute_seconds(message.API_KEY, version, getattr(response, "throttle_time_ms", 0))
        )
        return response

    async def _exchange(self, message: Message, version: int, timeout: float) -> bytes:
        """Send a request, return the response frame."""
        if self.lost.done():
            raise self.lost.result().error("not_written")
        frame = encode_request(message, version, 0, self._settings.client_id)
        self._next_token += 1
        token = self._next_token
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        try:
            self._reactor.port.io.request(self.id, token, frame, timeout=timeout)
            return await future
        finally:
            del self._waiting[token]

    def throttled(self, seconds: float) -> None:
        """The broker throttles this client: requests wait this long, at most `request_timeout_ms`.

        The broker enforces its quota itself, and a garbled number would stop the connection for weeks.
        """
        if seconds > 0:
            self._log.info(
                "connection.throttled",
                node=self.node_id,
                address=self.address,
                count=round(seconds * 1000),
            )
            seconds = min(seconds, self._settings.request_timeout_ms / 1000)
            self._muted_until = max(self._muted_until, self._reactor.clock.now() + seconds)

    async def _unmuted(self, timeout: float) -> float:
        """Wait until the throttling has ended; returns the rest of the time-out, in seconds."""
        clock = self._reactor.clock
        deadline = clock.now() + timeout
        while (muted := self._muted_until - clock.now()) > 0:
            if clock.now() + muted >= deadline:
                await clock.sleep(deadline - clock.now())
                raise Timeout(
                    f"{self.address}: the broker's throttling ends only in {muted:.1f} s",
                    outcome="not_written",
                )
            await clock.sleep(muted)
        return deadline - clock.now()

    def pending(self) -> int:
        """Number of control requests without an answer."""
        return len(self._waiting)

    # ---- the port's events -----------------------------------------------------------------------------------------

    def on_connected(self, tls: TlsPeer | None) -> None:
        """The address has accepted, and TLS is set up."""
        self.peer = tls
        if not self._connected.done():
            self._connected.set_result(None)

    def on_tls_failed(self, failure: TlsFailure) -> None:
        """TLS has failed; the loss follows."""
        if self._settings.tls is not None:
            self.tls_error = self._settings.tls.error(failure)

    def on_response(self, token: int, frame: bytes) -> None:
        """An answer; it is dropped where its caller no longer waits."""
        future = self._waiting.get(token)
        if future is not None and not future.done() and not self.lost.done():
            future.set_result(frame)

    def on_lost(self, loss: Loss, tokens: list[int]) -> None:
        """The connection is gone."""
        message = loss.message if self.tls_error is None else self.tls_error.message
        self._poison(LostCause(loss.kind, message, self.address))

    # ---- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it; waiting callers get `ConnectionLost`. Closing again does nothing."""
        if not self.lost.done():
            if self.id >= 0:
                self._reactor.port.io.close(self.id)
            self._poison(LostCause("closed", "closed by this client", self.address))

    def _poison(self, cause: LostCause) -> None:
        """Fail every waiting caller with the cause; only the first cause counts."""
        if self.lost.done():
            return
        self.lost.set_result(cause)
        if not self._connected.done():
            self._connected.set_exception(cause.error("not_written"))
            # The dialling caller may have been cancelled: the exception counts as retrieved.
            self._connected.exception()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(cause.error("unknown"))

    def __repr__(self) -> str:
        state = "open" if not self.lost.done() else f"lost: {self.lost.result().message}"
        return (
            f"<Connection {self.id} {self.role.value} node={self.node_id} {self.address} {state}>"
        )


def shown_address(host: str, port: int, ip: str) -> str:
    """host:port for logs and errors; a host name is followed by the numeric address."""
    if ":" in host:
        return f"[{host}]:{port}"
    return f"{host}:{port}" if host == ip else f"{host}:{port} ({ip})"


async def _addresses(reactor: Reactor, host: str, port: int, timeout: float) -> list[str]:
    """The host's addresses, or NoBrokersAvailable."""
    try:
        async with asyncio.timeout(timeout):
            found = await reactor.resolve(host)
    except TimeoutError:
        reason = f"the name was not resolved within {timeout:.1f} s"
    except OSError as error:
        reason = f"the name cannot be resolved: {error.strerror or error}"
    else:
        if found:
            return found
        reason = "the name has no address"
    raise NoBrokersAvailable(
        f"{host}:{port} cannot be reached", attempts=[(f"{host}:{port}", reason)]
    )
