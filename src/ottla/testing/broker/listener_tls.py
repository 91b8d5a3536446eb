"""TLS of the embedded broker's listeners: Python's `ssl`, a second opinion on the client's own TLS."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path
from typing import Literal

ServerTls = (
    ssl.SSLContext | str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]]
)
"""A ready context, a PEM file with key and certificates, or a certificate file and a key file."""
ClientAuth = Literal["none", "requested", "required"]
"""Kafka's `ssl.client.auth`."""

HANDSHAKE_TIMEOUT_S = 10.0

_MODES = {"none": ssl.CERT_NONE, "requested": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def server_context(
    tls: ServerTls | None,
    client_auth: ClientAuth = "none",
    client_authorities: str | os.PathLike[str] | None = None,
) -> ssl.SSLContext | None:
    """The context of all listeners; None: they are plain.

    Raises:
        ValueError: Client certificates are wanted, but not TLS, or without authorities.
        OSError: A file cannot be read, or has no certificate or key.
    """
    if client_auth not in _MODES:
        raise ValueError(f"client_auth: expected {', '.join(_MODES)}, not {client_auth!r}")
    if tls is None:
        if client_auth != "none":
            raise ValueError("client_auth: only listeners with tls have client certificates")
        return None
    context = tls if isinstance(tls, ssl.SSLContext) else _from_files(tls)
    if client_auth != "none":
        if client_authorities is not None:
            context.load_verify_locations(client_authorities)
        elif not isinstance(tls, ssl.SSLContext):
            raise ValueError("client_auth: needs client_authorities, a PEM file")
        context.verify_mode = _MODES[client_auth]
    return context


def _from_files(
    tls: str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]],
) -> ssl.SSLContext:
    certificate, key = tls if isinstance(tls, tuple) else (tls, None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def self_signed(folder: Path, host: str) -> Path:
    """Make a certificate for tests: `broker.pem`, which clients can trust, and `broker.key`.

    Raises:
        OSError: The command openssl is missing or failed.
    """
    certificate, key = folder / "broker.pem", folder / "broker.key"
    names = (
        f"subjectAltName=DNS:localhost,IP:127.0.0.1,{'IP' if host[-1:].isdigit() else 'DNS'}:{host}"
    )
    command = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=ottla test broker"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", names]
    command += ["-keyout", str(key), "-out", str(certificate)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if made.returncode != 0:
        raise OSError(f"openssl cannot make a certificate: {made.stderr.strip()[-200:]}")
    return certificate
