"""The words for TLS handshakes that failed: the cause with its facts, and the remedy.

References: RFC 5246 and RFC 8446 (alerts), RFC 6125 (names).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from ottla.errors import TlsError

if TYPE_CHECKING:
    from ottla.seam.security import CertificateFacts, TlsFacts, TlsFailure

_FLOOR = "this client accepts TLS 1.2 with ECDHE and AES-GCM or ChaCha20, and TLS 1.3"
_OTHER_PORT = "the port answers, but not with TLS: is it a PLAINTEXT or SASL_PLAINTEXT listener?"


class Trust(NamedTuple):
    """Certificates that a client trusts and presents, for the texts."""

    place: str
    """Option and file of the trusted certificates, or the system's store."""
    facts: TlsFacts

    def __str__(self) -> str:
        count = self.facts.authorities
        return f"{self.place}, {count} certificate{'' if count == 1 else 's'}"


class _Words(NamedTuple):
    cause: str
    remedy: str


def tls_error(failure: TlsFailure, trust: Trust) -> TlsError:
    """The exception of a failed handshake."""
    words = _words(failure, trust)
    return TlsError(
        f"{words.cause}; {words.remedy}" if words.remedy else words.cause,
        reason=failure.reason,
        remedy=words.remedy,
        alert=failure.alert,
    )


def _words(failure: TlsFailure, trust: Trust) -> _Words:
    certificate = failure.certificate
    match failure.reason:
        case "not_tls":
            return _Words(f"{_first_bytes(failure)} {_OTHER_PORT}".strip(), _protocol_remedy())
        case "closed":
            cause = f"the broker closed the connection during the TLS handshake ({failure.detail})"
            if failure.asked_for_certificate:
                return _client_words(cause, trust)
            return _Words(
                cause,
                f"if {_OTHER_PORT[:1].lower()}{_OTHER_PORT[1:].rstrip('?')}, {_protocol_remedy()}",
            )
        case "timeout":
            return _Words(
                "the broker did not answer the TLS handshake in time",
                f"is it a PLAINTEXT listener, or overloaded? {_protocol_remedy()}",
            )
        case "client_certificate":
            return _client_words(
                f"the broker ended the handshake with the alert {failure.alert}", trust
            )
        case "no_common_version" | "no_common_suite":
            return _common_words(failure, trust)
        case "alert":
            return _Words(
                f"the broker ended the TLS connection with the alert {failure.alert}",
                "the log of the broker has the cause",
            )
        case "protocol":
            return _Words(
                f"the broker's TLS is not valid: {failure.detail}",
                "is there a proxy between this client and the broker?",
            )
        case _:
            if certificate is None:
                return _Words(f"the broker's certificate was refused: {failure.detail}", "")
            return _certificate_words(failure, certificate, trust)


# ---- the broker's certificate ----------------------------------------------------------------------------------------


def _certificate_words(failure: TlsFailure, certificate: CertificateFacts, trust: Trust) -> _Words:
    name = f'the broker\'s certificate "{certificate.subject}"'
    match failure.reason:
        case "unknown_issuer":
            signed = f'is signed by "{certificate.issuer}"'
            if certificate.issuer == certificate.subject:
                signed = "is signed by itself"
            return _Words(
                f"{name} {signed}, which is not trusted ({trust})",
                "set ssl_truststore_location to the certificate of its authority, or let the broker send the intermediate certificates",
            )
        case "wrong_name":
            return _Words(_name_cause(failure, certificate), _name_remedy())
        case "authority_as_leaf":
            return _Words(
                f"{name} is one of an authority (CA), used as the broker's own",
                "put exactly this certificate into ssl_truststore_location, or have the broker use one that the CA signed",
            )
        case "version_1":
            return _Words(
                f"{name} is X.509 version 1, which has no names",
                "make it again with a subjectAltName extension",
            )
        case "expired":
            return _Words(
                f"{name} expired at {_time(certificate.not_after_ms)}; this machine's clock says {_time(failure.time_ms)}",
                "renew it, or set the clock",
            )
        case "not_yet_valid":
            return _Words(
                f"{name} is valid only from {_time(certificate.not_before_ms)}; this machine's clock says {_time(failure.time_ms)}",
                "set the clock, or wait",
            )
        case "revoked":
            return _Words(
                f"{name} is revoked by a list of ssl_crl_location",
                "have the broker use another one",
            )
        case "wrong_purpose":
            return _Words(
                f"{name} is not for servers: {failure.detail}",
                "make it again with the extended key usage serverAuth",
            )
        case _:
            return _Words(
                f"{name} was refused: {failure.detail}", "make it again with a current tool"
            )


def _name_cause(failure: TlsFailure, certificate: CertificateFacts) -> str:
    expected = failure.expected_name
    if certificate.names:
        return f'the broker\'s certificate is not for "{expected}" but for {", ".join(certificate.names)}'
    if certificate.common_name == expected:
        return f'the broker\'s certificate has no subjectAltName; it names "{expected}" only as CN, which is not checked'
    return f'the broker\'s certificate has no subjectAltName, so it is not for "{expected}" (CN is "{certificate.common_name}")'


def _name_remedy() -> str:
    return (
        "let the broker advertise a name of its certificate, make the certificate again with that name as subjectAltName, "
        "or set ssl_server_name where a tunnel is between"
    )


# ---- others ----------------------------------------------------------------------------------------------------------


def _client_words(cause: str, trust: Trust) -> _Words:
    own = trust.facts.client_certificate
    if own is None:
        return _Words(
            f"{cause}: the broker wants a client certificate",
            "set ssl_certificate_location and ssl_key_location, or ssl_keystore_location",
        )
    return _Words(
        f'{cause}: the broker does not trust ours (subject "{own.subject}", issuer "{own.issuer}", not after {_time(own.not_after_ms)})',
        "have it signed by an authority in the broker's truststore",
    )


def _common_words(failure: TlsFailure, trust: Trust) -> _Words:
    alert = f" (alert {failure.alert})" if failure.alert else f" ({failure.detail})"
    cause = f"the broker offers nothing that this client accepts{alert}: {_FLOOR}"
    remedy = "change ssl.enabled.protocols or ssl.cipher.suites of the broker, or ssl_enabled_protocols and ssl_cipher_suites here"
    if failure.alert and failure.asked_for_certificate and trust.facts.client_certificate is None:
        return _client_words(
            f"the broker ended the handshake with the alert {failure.alert}", trust
        )
    return _Words(cause, remedy)


def _first_bytes(failure: TlsFailure) -> str:
    head = failure.first_bytes
    if not head or not all(32 <= byte < 127 or byte in b"\r\n\t" for byte in head):
        return ""
    text = head.decode("ascii").splitlines()[0] if head.strip() else ""
    server = "an HTTP server" if text.startswith("HTTP") else "a server without TLS"
    return f'the first bytes are the text "{text}", so {server} answers;'


def _protocol_remedy() -> str:
    return "check the port and security_protocol"


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
