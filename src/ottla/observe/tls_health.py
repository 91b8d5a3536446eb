"""The certificates of a client, as `health()` reports them. Leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.security.client_tls import ClientTls


@dataclass(frozen=True, slots=True)
class TlsHealth:
    """When the certificates expire, in milliseconds since 1970."""

    client_certificate_expires_ms: int | None
    """None: the client has none."""
    broker_certificates_expire_ms: dict[str, int]
    """By host:port of the broker, of the latest connection to it."""


def tls_health(tls: ClientTls | None) -> TlsHealth | None:
    """The certificates of a client; None: it has no TLS."""
    if tls is None:
        return None
    own = tls.client_certificate
    return TlsHealth(None if own is None else own.not_after_ms, dict(tls.broker_expiries))
