"""Certificates that are replaced while a client runs, and those that expire soon."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import ottla
from tests.fixtures.certificates import Authority, Issued
from tests.fixtures.logged import Logged
from tests.security.conftest import Pki


class Wallet:
    """The certificate files of one client, which may be replaced."""

    def __init__(self, folder: Path, pki: Pki) -> None:
        self.chain, self.key, self.trust = folder / "c.pem", folder / "c.key", folder / "ca.pem"
        self.write(pki.client)
        self.trust.write_text(pki.authority.pem)

    def write(self, issued: Issued) -> None:
        self.chain.write_text(issued.chain_pem)
        self.key.write_text(issued.key_pem())

    @property
    def options(self) -> dict[str, Any]:
        return {
            "security_protocol": "SSL",
            "ssl_truststore_location": self.trust,
            "ssl_certificate_location": self.chain,
            "ssl_key_location": self.key,
            "ssl_reload_interval_ms": 0,
        }


def expiry(producer: ottla.Producer) -> int | None:
    tls = producer.health().tls
    assert tls is not None
    return tls.client_certificate_expires_ms


def not_after_ms(issued: Issued) -> int:
    return int(issued.certificate.not_valid_after_utc.timestamp() * 1000)


def test_replaced_certificates_are_used_without_a_restart(
    pki: Pki, tmp_path: Path, logged: Logged
) -> None:
    """Both sides move to another authority; the old certificates no longer work, and no message is lost."""
    wallet = Wallet(tmp_path, pki)
    with ottla.Producer("127.0.0.1:1", **wallet.options):
        pass  # the files alone are enough
    with pki.broker(client_auth="required", client_authorities=pki.trust) as broker:
        port = int(broker.bootstrap.rpartition(":")[2])
        producer = ottla.Producer(broker.bootstrap, **wallet.options)
        producer.send("orders", b"1").result(10)
    with producer:
        fresh = Authority.make("the next authority")
        wallet.trust.write_text(fresh.pem)
        replaced = fresh.issue("alice", (), end=timedelta(days=90), for_clients=True)
        wallet.write(replaced)
        trust = pki.file("next.pem", fresh.pem)
        with pki.broker(
            fresh.issue(), port=port, client_auth="required", client_authorities=trust
        ) as broker:
            producer.send("second", b"2").result(20)
            assert broker.end_offset("second") == 1
            assert expiry(producer) == not_after_ms(replaced)
    assert logged("tls.reloaded")


def test_a_half_replaced_pair_leaves_the_old_one_in_use(
    pki: Pki, tmp_path: Path, logged: Logged
) -> None:
    wallet = Wallet(tmp_path, pki)
    with pki.broker(client_auth="required", client_authorities=pki.trust) as broker:
        port = int(broker.bootstrap.rpartition(":")[2])
        producer = ottla.Producer(broker.bootstrap, **wallet.options)
        producer.send("orders", b"1").result(10)
        before = expiry(producer)
    with producer:
        replaced = pki.authority.issue("alice", (), end=timedelta(days=90), for_clients=True)
        wallet.chain.write_text(replaced.chain_pem)  # its key follows later
        with pki.broker(port=port, client_auth="required", client_authorities=pki.trust):
            producer.send("second", b"2").result(20)
            assert expiry(producer) == before
        (record,) = logged("tls.reload_failed")
        assert "does not fit" in record.getMessage()
        wallet.key.write_text(replaced.key_pem())
        with pki.broker(port=port, client_auth="required", client_authorities=pki.trust):
            producer.send("third", b"3").result(20)
            assert expiry(producer) == not_after_ms(replaced)


def test_functions_are_called_again_before_a_connection(pki: Pki) -> None:
    issued = [pki.client]
    calls: list[float] = []

    def key() -> str:
        calls.append(time.monotonic())
        return issued[-1].key_pem()

    options = pki.options(
        ssl_keystore_key=key,
        ssl_keystore_certificate_chain=lambda: issued[-1].chain_pem,
        ssl_reload_interval_ms=0,
    )
    with pki.broker(client_auth="required", client_authorities=pki.trust) as broker:
        port = int(broker.bootstrap.rpartition(":")[2])
        producer = ottla.Producer(broker.bootstrap, **options)
        producer.send("orders", b"1").result(10)
    with producer:
        issued.append(pki.authority.issue("alice", (), end=timedelta(days=60), for_clients=True))
        with pki.broker(port=port, client_auth="required", client_authorities=pki.trust):
            producer.send("second", b"2").result(20)
            assert expiry(producer) == not_after_ms(issued[-1])
    assert len(calls) > 1


def test_certificates_that_expire_soon_are_reported(pki: Pki, logged: Logged) -> None:
    soon = pki.authority.issue(end=timedelta(hours=5))
    own = pki.authority.issue("alice", (), end=timedelta(days=3), for_clients=True)
    options = pki.options(
        ssl_keystore_key=own.key_pem(), ssl_keystore_certificate_chain=own.chain_pem
    )
    events: list[ottla.Event] = []
    with pki.broker(soon) as broker, ottla.Producer(broker.bootstrap, **options) as producer:
        producer.listen(events.append)
        producer.send("orders", b"1").result(10)
        tls = producer.health().tls
        assert tls is not None
        assert tls.client_certificate_expires_ms == not_after_ms(own)
        assert tls.broker_certificates_expire_ms == {broker.bootstrap: not_after_ms(soon)}
    assert sorted(record.__dict__["what"] for record in logged("tls.certificate_expires")) == [
        f"of {broker.bootstrap}",
        "of this client",
    ]


def test_a_switched_off_check_is_reported_once(pki: Pki, logged: Logged) -> None:
    with (
        pki.broker() as broker,
        ottla.Producer(broker.bootstrap, security_protocol="SSL", ssl_verify=False) as producer,
    ):
        producer.send("orders", b"1").result(10)
    (record,) = logged("tls.unverified")
    assert record.__dict__["address"].startswith("127.0.0.1:")


def test_plain_clients_have_no_certificates() -> None:
    with ottla.Producer("127.0.0.1:1") as producer:
        assert producer.health().tls is None


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_sessions_are_resumed(pki: Pki, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ottla.wire.connection import Connection

    resumed: list[bool] = []
    connected = Connection.on_connected

    def on_connected(self: Connection, tls: Any) -> None:
        resumed.append(tls.resumed)
        connected(self, tls)

    monkeypatch.setattr(Connection, "on_connected", on_connected)
    options = pki.options(ssl_enabled_protocols=version)
    with pki.broker() as broker, ottla.Producer(broker.bootstrap, **options) as producer:
        producer.send("orders", b"1").result(10)
        producer.send("invoices", b"1").result(10)
    assert resumed[0] is False
    assert True in resumed[1:]
