"""TLS: the settings of a client with the bytes of its files, and the facts of certificates, handshakes and their failures.

The words for all of it are in `ottla.security`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# ---- settings --------------------------------------------------------------------------------------------------------


class TlsSource(NamedTuple):
    """Bytes of a file, or of a text that was given."""

    place: str
    """Option, with the path of the file: texts about problems begin with it."""
    data: bytes
    password: str | None

    def __repr__(self) -> str:
        return f"TlsSource({self.place})"


class TlsSettings(NamedTuple):
    """Settings of one client."""

    trust: list[TlsSource]
    trust_is_system: bool
    """Unusable certificates of the system's store are skipped."""
    key: TlsSource | None
    chain: TlsSource | None
    """None: the certificates are next to the key."""
    revocation: list[TlsSource]
    verifies_chain: bool
    verifies_name: bool
    versions: list[str]
    suites: list[str]
    """IANA names; empty: all that the TLS library has."""
    key_log: bool


ProblemKind = Literal[
    "no_certificate",
    "no_key",
    "no_list",
    "unreadable",
    "password_missing",
    "password_wrong",
    "old_encryption",
    "key_mismatch",
    "unusable_key",
    "unusable_authority",
    "client_expired",
    "client_not_yet_valid",
    "unknown_suite",
    "no_suite_left",
]
"""Kinds of problems that Rust finds in settings."""


class TlsProblem(NamedTuple):
    """Problem of one source or option."""

    place: str
    kind: ProblemKind
    detail: str


# ---- facts -----------------------------------------------------------------------------------------------------------


class CertificateFacts(NamedTuple):
    """Fields of one certificate; times are milliseconds since 1970."""

    subject: str
    issuer: str
    common_name: str
    names: list[str]
    """Names and addresses of the extension subjectAltName."""
    not_before_ms: int
    not_after_ms: int
    is_authority: bool
    version: int


class TlsFacts(NamedTuple):
    """Facts of a client's context."""

    authorities: int
    skipped: int
    """Unusable certificates of the system's store."""
    client_certificate: CertificateFacts | None


class TlsPeer(NamedTuple):
    """Facts of a handshake that succeeded."""

    version: str
    suite: str
    resumed: bool
    certificate: CertificateFacts | None
    asked_for_certificate: bool


TlsReason = Literal[
    "not_tls",
    "closed",
    "timeout",
    "unknown_issuer",
    "wrong_name",
    "authority_as_leaf",
    "version_1",
    "expired",
    "not_yet_valid",
    "revoked",
    "revocation_unknown",
    "wrong_purpose",
    "bad_certificate",
    "client_certificate",
    "no_common_version",
    "no_common_suite",
    "alert",
    "protocol",
]
"""Kinds of failed handshakes. not_tls: the peer's first bytes are no TLS; closed: it ended the connection; timeout: the deadline passed;
client_certificate: it refused the client's certificate, or misses one; alert: any other alert; protocol: invalid bytes."""


class TlsFailure(NamedTuple):
    """Facts of a connection whose TLS failed."""

    reason: TlsReason
    detail: str
    """Words of the TLS library."""
    alert: str
    """Name of the alert that the broker sent, else empty."""
    expected_name: str
    certificate: CertificateFacts | None
    """Certificate that was refused."""
    asked_for_certificate: bool
    first_bytes: bytes
    """First bytes of the broker, where they are no TLS."""
    time_ms: int
    """Clock of this machine."""
