"""The trusted certificates of the system, for clients that are given none.

References: RFC 5280; OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR; the folders of the distributions.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/usr/local/etc/openssl@3/cert.pem",
    "/opt/homebrew/etc/openssl@3/cert.pem",
)
"""Debian, Fedora and Red Hat (two), SUSE, Alpine and macOS, FreeBSD, Homebrew (two)."""
_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")


def locations() -> list[Path]:
    """Files and folders to read, the first that has certificates wins; SSL_CERT_FILE and SSL_CERT_DIR replace all others."""
    given = [os.environ.get("SSL_CERT_FILE"), *_split(os.environ.get("SSL_CERT_DIR"))]
    if any(given):
        return [Path(path) for path in given if path]
    found = [Path(path) for path in (*_FILES, *_FOLDERS)]
    if (certifi := importlib.util.find_spec("certifi")) is not None and certifi.origin is not None:
        found.append(Path(certifi.origin).with_name("cacert.pem"))
    return found


def _split(folders: str | None) -> list[str]:
    return folders.split(os.pathsep) if folders else []
