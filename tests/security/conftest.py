"""Certificates in files, and brokers with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ottla.testing import Broker
from tests.fixtures.certificates import Authority, Issued


class Pki:
    """One authority with its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.make()
        self.server = self.authority.issue()
        self.client = self.authority.issue("alice", (), for_clients=True)
        self.trust = self.file("ca.pem", self.authority.pem)

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def options(self, **more: Any) -> dict[str, Any]:
        """Options of a client that trusts the authority."""
        return {"security_protocol": "SSL", "ssl_truststore_location": self.trust, **more}

    def with_client(self, **more: Any) -> dict[str, Any]:
        """The same with a client certificate."""
        chain, key = self.client.write(self.folder, "client")
        return self.options(ssl_certificate_location=chain, ssl_key_location=key, **more)

    def broker(self, issued: Issued | None = None, **options: Any) -> Broker:
        files = (issued or self.server).write(self.folder, "server")
        return Broker(tls=files, **options)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def secured(pki: Pki) -> Iterator[Broker]:
    """A broker with TLS on 127.0.0.1."""
    with pki.broker() as broker:
        yield broker
