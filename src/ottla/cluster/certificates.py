"""Watches the certificates of a client with TLS: reports those that expire soon, and a protection that is switched off.

Checked when a connection is opened and with each search for a broker, so at least once per `metadata_max_age_ms`. Engine thread only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ottla.cluster.context import ClusterContext
    from ottla.wire.connection import Connection

_CLIENT_MS: Final = 7 * 24 * 3600 * 1000
"""Rest of the client certificate's life below which it is reported."""
_BROKER_MS: Final = 24 * 3600 * 1000
"""The same for the certificate of a broker."""


class CertificateWatch:
    """See the module.

    Args:
        context: The cluster's.
    """

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._reported: set[tuple[str, int]] = set()
        self._begun = False

    def opened(self, connection: Connection) -> None:
        """A connection with TLS is open."""
        tls, peer = self._context.config.tls, connection.peer
        if tls is None or peer is None:
            return
        if peer.certificate is not None:
            tls.broker_expiries[connection.shown_host] = peer.certificate.not_after_ms
        if not self._begun:
            self._begun = True
            self._report_switched_off(connection.address)
        self.check()

    def check(self) -> None:
        """Report each certificate that expires soon, once."""
        tls = self._context.config.tls
        if tls is None:
            return
        now_ms = int(time.time() * 1000)
        own = tls.client_certificate
        if own is not None and own.not_after_ms - now_ms < _CLIENT_MS:
            self._report("of this client", own.not_after_ms, now_ms)
        for broker, not_after_ms in tls.broker_expiries.items():
            if not_after_ms - now_ms < _BROKER_MS:
                self._report(f"of {broker}", not_after_ms, now_ms)

    def _report(self, place: str, not_after_ms: int, now_ms: int) -> None:
        if (place, not_after_ms) in self._reported:
            return
        self._reported.add((place, not_after_ms))
        hours = round((not_after_ms - now_ms) / 3_600_000)
        self._context.log.warning("tls.certificate_expires", what=place, count=hours)
        self._context.events.emit(
            "tls.certificate_expires", certificate=place, expires_ms=not_after_ms
        )

    def _report_switched_off(self, address: str) -> None:
        config = self._context.config
        if not config.ssl_verify:
            self._context.log.warning("tls.unverified", address=address)
        if config.ssl_keylog:
            self._context.log.warning("tls.keys_logged")
