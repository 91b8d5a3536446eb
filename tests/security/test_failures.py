"""Handshakes that fail: the reason as a field, the facts and the remedy in the text, within the deadline of the connection."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.fixtures.certificates import DAY, Authority, Issued
from tests.security.conftest import Pki

SETUP_MS = 2_000


def refused(bootstrap: str, options: dict[str, Any]) -> ottla.TlsError:
    """The error of the first call of a client, within the deadline."""
    begun = time.monotonic()
    with ottla.Consumer(
        bootstrap, socket_connection_setup_timeout_ms=SETUP_MS, **options
    ) as consumer:
        with pytest.raises(ottla.TlsError) as caught:
            consumer.partitions_for("orders", timeout=20)
        assert time.monotonic() - begun < SETUP_MS / 1000 + 8
    return caught.value


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener whose every connection is served by a function in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    ending = threading.Event()
    threads: list[threading.Thread] = []

    def one(accepted: socket.socket) -> None:
        with accepted:
            accepted.settimeout(10)
            try:
                serve(accepted)
            except OSError:
                return

    def accept() -> None:
        while not ending.is_set():
            try:
                accepted, _ = listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=one, args=(accepted,), daemon=True)
            thread.start()
            threads.append(thread)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ending.set()
        accepting.join()
        listener.close()


# ---- certificates of brokers -----------------------------------------------------------------------------------------


def staged(pki: Pki) -> dict[str, Issued]:
    issue = pki.authority.issue
    stranger = Authority.make("a stranger")
    return {
        "unknown_issuer": stranger.issue(),
        "wrong_name": issue("other", ("other.example", "10.1.1.1")),
        "only_cn": issue("127.0.0.1", ()),
        "expired": issue(begin=-3 * DAY, end=-DAY),
        "not_yet_valid": issue(begin=DAY, end=3 * DAY),
        "authority_as_leaf": Authority.make("home", ("127.0.0.1",)).own,
        "wrong_purpose": issue(for_clients=True),
    }


CASES = {
    "unknown_issuer": (
        "unknown_issuer",
        ["CN=a stranger", "not trusted", "ca.pem, 1 certificate"],
        "ssl_truststore_location",
    ),
    "wrong_name": (
        "wrong_name",
        ['not for "127.0.0.1"', "other.example", "10.1.1.1"],
        "subjectAltName",
    ),
    "only_cn": ("wrong_name", ["only as CN, which is not checked"], "subjectAltName"),
    "expired": ("expired", ["expired at", "UTC; this machine's clock says"], "renew it"),
    "not_yet_valid": ("not_yet_valid", ["valid only from", "this machine's clock"], "clock"),
    "authority_as_leaf": (
        "authority_as_leaf",
        ["used as the broker's own"],
        "put exactly this certificate into ssl_truststore_location",
    ),
    "wrong_purpose": ("wrong_purpose", ["not for servers"], "serverAuth"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_certificate_of_a_wrong_kind_is_explained(pki: Pki, case: str) -> None:
    reason, facts, remedy = CASES[case]
    with pki.broker(staged(pki)[case]) as broker:
        error = refused(broker.bootstrap, pki.options())
    assert error.reason == reason, error
    for fact in facts:
        assert fact in error.message
    assert remedy in error.remedy
    assert error.remedy in error.message


def test_a_revoked_certificate_is_refused(pki: Pki) -> None:
    revoked = pki.authority.issue()
    lists = pki.file("revoked.crl", pki.authority.revoke(revoked))
    with pki.broker(revoked) as broker:
        error = refused(broker.bootstrap, pki.options(ssl_crl_location=lists))
    assert error.reason == "revoked"
    with (
        pki.broker() as broker,
        ottla.Consumer(broker.bootstrap, **pki.options(ssl_crl_location=lists)) as consumer,
    ):
        consumer.partitions_for("orders", timeout=20)


# ---- alerts ----------------------------------------------------------------------------------------------------------


@contextmanager
def alerting(pki: Pki, **how: Any) -> Iterator[str]:
    """A server of OpenSSL that sends its alerts, which asyncio's does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.server.write(pki.folder, "server"))
    context.load_verify_locations(pki.trust)
    for name, value in how.items():
        setattr(context, name, value)

    def serve(client: socket.socket) -> None:
        secured = context.wrap_socket(client, server_side=True)
        while secured.recv(4096):
            pass

    with server(serve) as bootstrap:
        yield bootstrap


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_missing_client_certificate_is_explained(pki: Pki, version: str) -> None:
    with alerting(pki, verify_mode=ssl.CERT_REQUIRED) as bootstrap:
        error = refused(bootstrap, pki.options(ssl_enabled_protocols=version))
    assert "the broker wants a client certificate" in error.message
    assert "ssl_certificate_location" in error.remedy
    if version == "TLSv1.3":
        assert (error.reason, error.alert) == ("client_certificate", "certificate_required")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_refused_client_certificate_is_explained(pki: Pki, version: str) -> None:
    stranger = Authority.make("a stranger").issue("mallory", (), for_clients=True)
    own = {
        "ssl_keystore_key": stranger.key_pem(),
        "ssl_keystore_certificate_chain": stranger.pem,
        "ssl_enabled_protocols": version,
    }
    with alerting(pki, verify_mode=ssl.CERT_REQUIRED) as bootstrap:
        error = refused(bootstrap, pki.options(**own))
    assert error.reason == "client_certificate"
    assert error.alert == "unknown_ca"
    assert 'does not trust ours (subject "CN=mallory", issuer "CN=a stranger"' in error.message
    assert "truststore" in error.remedy


def test_a_client_certificate_is_named_where_the_broker_only_closes(pki: Pki) -> None:
    with (
        pki.broker(client_auth="required", client_authorities=pki.trust) as broker,
        ottla.Consumer(broker.bootstrap, **pki.options()) as consumer,
        pytest.raises(ottla.Error) as caught,
    ):
        consumer.partitions_for("orders", timeout=2)
    assert "the broker wants a client certificate" in str(caught.value)


def test_no_common_version_is_explained(pki: Pki) -> None:
    with alerting(pki, minimum_version=ssl.TLSVersion.TLSv1_3) as bootstrap:
        error = refused(bootstrap, pki.options(ssl_enabled_protocols="TLSv1.2"))
    assert (error.reason, error.alert) == ("no_common_version", "protocol_version")
    assert "the broker offers nothing that this client accepts" in error.message
    assert "ssl_enabled_protocols" in error.remedy


def test_no_common_suite_is_explained(pki: Pki) -> None:
    with alerting(pki, maximum_version=ssl.TLSVersion.TLSv1_2) as bootstrap:
        suites = {
            "ssl_cipher_suites": "ECDHE-RSA-AES128-GCM-SHA256"
        }  # the server's key is no RSA key
        error = refused(bootstrap, pki.options(ssl_enabled_protocols="TLSv1.2", **suites))
    assert (error.reason, error.alert) == ("no_common_suite", "handshake_failure")
    assert "ssl.cipher.suites" in error.remedy


# ---- other protocols -------------------------------------------------------------------------------------------------


def test_a_plain_listener_is_explained(pki: Pki) -> None:
    with Broker() as broker:
        error = refused(broker.bootstrap, pki.options())
    assert error.reason == "closed"
    assert "PLAINTEXT or SASL_PLAINTEXT listener" in error.message
    assert "security_protocol" in error.remedy


def test_an_http_server_is_named(pki: Pki) -> None:
    def serve(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        client.recv(100)

    with server(serve) as bootstrap:
        error = refused(bootstrap, pki.options())
    assert error.reason == "not_tls"
    assert 'the text "HTTP/1.1 400 Bad", so an HTTP server answers' in error.message


def test_a_plain_client_on_a_listener_with_tls_is_explained(pki: Pki, secured: Broker) -> None:
    with ottla.Consumer(secured.bootstrap) as consumer, pytest.raises(ottla.Error) as caught:
        consumer.partitions_for("orders", timeout=2)
    assert "expects TLS" in str(caught.value) or "expect TLS" in str(caught.value)


# ---- hostile servers -------------------------------------------------------------------------------------------------

HELLO = bytes.fromhex("160303004a020000460303") + bytes(70)

HOSTILE: dict[str, tuple[bytes, set[str]]] = {
    "garbage": (bytes(range(200, 256)) * 20, {"not_tls"}),
    "nothing": (b"", {"timeout"}),
    "half a header": (b"\x16\x03", {"timeout"}),
    "a truncated record": (b"\x16\x03\x03\x40\x00" + bytes(100), {"timeout"}),
    "a record over the limit": (b"\x16\x03\x03\xff\xff" + bytes(70_000), {"protocol", "not_tls"}),
    "a huge handshake message": (
        b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(16_380) + b"\x16\x03\x03\x40\x00" * 9000,
        {"protocol", "timeout", "alert"},
    ),
    "a hello of zeros": (HELLO, {"protocol", "no_common_suite", "no_common_version", "timeout"}),
    "an unknown alert": (b"\x15\x03\x03\x00\x02\x02\xee", {"alert", "protocol"}),
    "application data": (b"\x17\x03\x03\x00\x10" + bytes(16), {"protocol"}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_server_ends_within_the_deadline(pki: Pki, case: str) -> None:
    data, reasons = HOSTILE[case]

    def serve(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(data)
        while client.recv(4096):
            pass

    with server(serve) as bootstrap:
        error = refused(bootstrap, pki.options())
    assert error.reason in reasons, error


@pytest.mark.parametrize("cut", [1, 5, 60, 200, 500])
def test_a_handshake_that_is_cut_or_hangs_at_any_byte_ends(
    pki: Pki, secured: Broker, cut: int
) -> None:
    """A proxy passes that many bytes of the broker on, then nothing more."""
    host, _, port = secured.bootstrap.partition(":")

    def serve(client: socket.socket) -> None:
        with socket.create_connection((host, int(port))) as broker:
            broker.settimeout(0.5)
            broker.sendall(client.recv(4096))
            left = cut
            while left > 0:
                data = broker.recv(left)
                client.sendall(data)
                left -= len(data)
            while client.recv(4096):
                pass

    with server(serve) as bootstrap:
        error = refused(bootstrap, pki.options())
    assert error.reason == "timeout"
    assert "did not answer" in error.message


def test_a_wrong_clock_shows_both_times(pki: Pki) -> None:
    with pki.broker(
        pki.authority.issue(begin=timedelta(days=400), end=timedelta(days=500))
    ) as broker:
        error = refused(broker.bootstrap, pki.options())
    assert error.reason == "not_yet_valid"
    assert error.message.count(" UTC") == 2
