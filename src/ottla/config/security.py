"""The options of TLS, which every role has, and the rules between them.

Kafka's names, and those of librdkafka and the clients for Python as aliases. SASL has a table of its own next to this one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ottla.config.readers import (
    LATER_PROTOCOLS,
    Choice,
    boolean,
    choices,
    duration,
    optional_text,
)
from ottla.config.secret import Secret
from ottla.config.table import Config, option, options

if TYPE_CHECKING:
    from ottla.security.client_tls import ClientTls

TLS_PROTOCOLS = ("SSL", "SASL_SSL")
"""Security protocols with TLS."""

SUITES = {
    "TLS_AES_256_GCM_SHA384": "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256": "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256": "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
"""The nine cipher suites: OpenSSL's name and IANA's, which Java uses too."""


# ---- readers ---------------------------------------------------------------------------------------------------------


def path(value: Any) -> str | None:
    """A path as text or path object, or None."""
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"expected a path, not {type(value).__name__}")
    found = os.fspath(value)
    if not isinstance(found, str):
        raise ValueError("expected a path of str, not bytes")
    if "-----BEGIN" in found:
        raise ValueError(
            "expected a path; an option whose name ends in _certificates, _key or _chain takes PEM text"
        )
    return found


def secret(value: Any) -> Secret | None:
    """A secret text: str or Secret."""
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected a str, not {type(value).__name__}")
    return Secret(value)


def pem(value: Any) -> str | Callable[[], Any] | None:
    """PEM text, or a function that returns it."""
    if value is None or callable(value):
        given: Callable[[], Any] | None = value
        return given
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("ascii", "replace")
    if not isinstance(value, str) or "-----BEGIN" not in value:
        raise ValueError(
            "expected PEM text, which has a line -----BEGIN …-----, or a function that returns it"
        )
    return value


def secret_pem(value: Any) -> Secret | Callable[[], Any] | None:
    """The same for a private key."""
    if isinstance(value, Secret):
        value = value.reveal()
    text = pem(value)
    return Secret(text) if isinstance(text, str) else text


def endpoint_check(value: Any) -> str:
    """https, or an empty text: host names are not checked."""
    words = {"https": "https", "": "", "none": "", "true": "https", "false": ""}
    word = words.get(str(value).strip().lower())
    if word is None:
        raise ValueError(f'expected "https" or "", not {value!r}')
    return word


def suites(value: Any) -> tuple[str, ...] | None:
    """Cipher suites by the names of Java (IANA) or OpenSSL."""
    if value is None:
        return None
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"expected names of cipher suites, not {type(value).__name__}")
    names = value.replace(":", ",").split(",") if isinstance(value, str) else list(value)
    names = [str(name).strip().upper() for name in names if str(name).strip()]
    found = [SUITES.get(name, name) for name in names]
    if unknown := [name for name in found if name not in SUITES.values()]:
        raise ValueError(
            f"there is no {', '.join(unknown)}; there are {', '.join(SUITES.values())}"
        )
    return tuple(dict.fromkeys(found)) or None


_versions: Callable[[Any], tuple[str, ...]] = choices("TLSv1.2", "TLSv1.3")


def versions(value: Any) -> tuple[str, ...]:
    """TLSv1.2, TLSv1.3 or both."""
    old = [
        word
        for word in str(value).replace(",", " ").split()
        if word.strip("()'\"[]") in ("TLSv1", "TLSv1.1", "SSLv3")
    ]
    if old:
        raise ValueError("TLS below 1.2 is not supported: its ciphers are broken")
    return _versions(value)


# ---- options ---------------------------------------------------------------------------------------------------------


class SecurityConfig(Config):
    """Options of TLS."""

    security_protocol: str = option(
        "PLAINTEXT",
        Choice("PLAINTEXT", "SSL", later=LATER_PROTOCOLS),
        "Protection of the connections: SSL is TLS.",
        values="PLAINTEXT, SSL",
    )
    ssl_truststore_location: str | None = option(
        None,
        path,
        "Certificates of the authorities that sign those of the brokers: a file (PEM, DER or PKCS12) or a folder of them. They "
        "replace the ones of the system, which count where none are given. A broker's own certificate counts if it is exactly "
        "one of these.",
        aliases=("ssl.ca.location", "ssl.cafile", "ssl.capath"),
    )
    ssl_truststore_certificates: str | Callable[[], str] | None = option(
        None,
        pem,
        "The same as PEM text, or a function that returns it.",
        aliases=("ssl.ca.pem", "ssl.cadata"),
    )
    ssl_truststore_password: Secret | None = option(
        None, secret, "Password of a PKCS12 file in ssl_truststore_location.", secret=True
    )
    ssl_certificate_location: str | None = option(
        None,
        path,
        "Certificate of this client and its intermediate ones, in any order: PEM or DER. The key may be in the same file.",
        aliases=("ssl.certfile",),
    )
    ssl_key_location: str | None = option(
        None,
        path,
        "Private key of this client: PEM or DER, PKCS#8 (encrypted too), PKCS#1 or SEC1.",
        aliases=("ssl.keyfile",),
    )
    ssl_keystore_location: str | None = option(
        None, path, "Key and certificates of this client in one file: PEM or PKCS12."
    )
    ssl_keystore_key: Secret | Callable[[], str] | None = option(
        None,
        secret_pem,
        "Private key of this client as PEM text, or a function that returns it.",
        aliases=("ssl.key.pem",),
        secret=True,
    )
    ssl_keystore_certificate_chain: str | Callable[[], str] | None = option(
        None,
        pem,
        "Certificates to ssl_keystore_key as PEM text, or a function that returns it.",
        aliases=("ssl.certificate.pem",),
    )
    ssl_key_password: Secret | None = option(
        None,
        secret,
        "Password of an encrypted private key.",
        aliases=("ssl.password",),
        secret=True,
    )
    ssl_keystore_password: Secret | None = option(
        None, secret, "Password of ssl_keystore_location if it is PKCS12.", secret=True
    )
    ssl_endpoint_identification_algorithm: str = option(
        "https",
        endpoint_check,
        "https: the certificate of a broker must have the host name that the broker advertises. Empty: any name, which lets "
        "every holder of a trusted certificate pose as the broker.",
        aliases=("ssl.check.hostname", "ssl.hostname.verification"),
        values='https, ""',
    )
    ssl_server_name: str | None = option(
        None,
        optional_text,
        "Name that the certificates of all brokers must have, and that they are asked for, in place of the advertised one: for "
        "tunnels.",
    )
    ssl_verify: bool = option(
        True,
        boolean,
        "False accepts every certificate: a machine between client and broker can read and change all data. The client warns.",
        aliases=("enable.ssl.certificate.verification",),
    )
    ssl_enabled_protocols: tuple[str, ...] = option(
        ("TLSv1.2", "TLSv1.3"),
        versions,
        "Versions of TLS.",
        aliases=("ssl.protocol",),
        values="TLSv1.2, TLSv1.3",
    )
    ssl_cipher_suites: tuple[str, ...] | None = option(
        None,
        suites,
        "Cipher suites in order of preference, by the names of Java or OpenSSL. None: all that are safe.",
        aliases=("ssl.ciphers",),
    )
    ssl_crl_location: str | None = option(
        None,
        path,
        "Lists of revoked certificates: a file (PEM or DER) or a folder of them. OCSP is not supported.",
        aliases=("ssl.crlfile",),
    )
    ssl_reload_interval_ms: float = option(
        1_000,
        duration(-1),
        "Minimum time between checks whether the certificate files have changed. They are checked before a connection is "
        "opened; new connections use new content, open ones continue. -1: never.",
        aliases=("ssl.certificate.refresh.interval.ms",),
    )
    ssl_keylog: bool = option(
        False,
        boolean,
        "True writes the keys of all sessions to the file that the environment variable SSLKEYLOGFILE names, to decrypt "
        "recorded traffic. The client warns.",
    )

    tls: ClientTls | None = None
    """The TLS of the client; None: its connections are plain."""


# ---- rules -----------------------------------------------------------------------------------------------------------

_TOGETHER = (
    ("ssl_keystore_key", "ssl_keystore_location", "both have the private key"),
    ("ssl_keystore_key", "ssl_key_location", "both have the private key"),
    ("ssl_keystore_location", "ssl_key_location", "both have the private key"),
    ("ssl_keystore_location", "ssl_certificate_location", "both have the certificate"),
    (
        "ssl_truststore_location",
        "ssl_truststore_certificates",
        "both have the trusted certificates",
    ),
)
_NEEDED = (
    ("ssl_keystore_password", "ssl_keystore_location"),
    ("ssl_truststore_password", "ssl_truststore_location"),
    ("ssl_keystore_certificate_chain", "ssl_keystore_key"),
)


def security_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    """Check the options together, and load certificates and keys: every problem at once."""
    if values["security_protocol"] not in TLS_PROTOCOLS:
        _without_tls(values, problems)
        return
    for one, other, why in _TOGETHER:
        if values[one] is not None and values[other] is not None:
            problems.append(f"{one}: {why} as {other}: give one of them")
    for one, other in _NEEDED:
        if values[one] is not None and values[other] is None:
            problems.append(f"{one}: needs {other}")
    if values["ssl_keystore_key"] is not None and values["ssl_keystore_certificate_chain"] is None:
        problems.append("ssl_keystore_key: needs ssl_keystore_certificate_chain")
    if not values["ssl_verify"] and values["ssl_crl_location"] is not None:
        problems.append("ssl_crl_location: without effect where ssl_verify is False")
    if problems:
        return
    from ottla.security.client_tls import ClientTls, load

    config = SecurityConfig({name: values[name] for name in options(SecurityConfig)}, given)
    loaded = load(config)
    if isinstance(loaded, list):
        problems += loaded
    else:
        values["tls"] = ClientTls(config, loaded)


def _without_tls(values: dict[str, Any], problems: list[str]) -> None:
    """TLS options are without effect on plain connections: the protocol was most likely forgotten."""
    rows = options(SecurityConfig)
    set_ = [name for name in rows if name.startswith("ssl_") and values[name] != rows[name].default]
    if set_:
        problems.append(
            f"{set_[0]}: without effect, because security_protocol is {values['security_protocol']}; set it to SSL"
        )
