"""Messages through TLS, in both worlds; trust and client certificates in every form."""

from __future__ import annotations

from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.security.conftest import Pki


def round_trip(broker: Broker, options: dict[str, Any]) -> None:
    """One message out and in."""
    with ottla.Producer(broker.bootstrap, **options) as producer:
        producer.send("orders", b"first").result(10)
    with ottla.Consumer(broker.bootstrap, auto_offset_reset="earliest", **options) as consumer:
        consumer.assign([ottla.TopicPartition("orders", 0)])
        assert [record.value for record in consumer.poll(timeout=10)] == [b"first"]


def test_messages_go_through_tls(pki: Pki, secured: Broker) -> None:
    round_trip(secured, pki.options())


async def test_messages_go_through_tls_in_an_event_loop(pki: Pki, secured: Broker) -> None:
    async with ottla.AsyncProducer(secured.bootstrap, **pki.options()) as producer:
        await producer.send("orders", b"first")
    async with ottla.AsyncConsumer(
        secured.bootstrap, auto_offset_reset="earliest", **pki.options()
    ) as consumer:
        await consumer.assign([ottla.TopicPartition("orders", 0)])
        assert [record.value for record in await consumer.poll(timeout=10)] == [b"first"]


def test_large_batches_keep_their_order(pki: Pki, secured: Broker) -> None:
    """More bytes than a record, a chunk and a read of the TLS layer have, so each of them is cut."""
    payloads = [bytes([number % 251]) * (number * 97 % 40_000) for number in range(400)]
    with ottla.Producer(secured.bootstrap, batch_size=1 << 19, **pki.options()) as producer:
        for payload in payloads:
            producer.send("orders", payload)
        producer.flush(30)
    found: list[bytes] = []
    with ottla.Consumer(
        secured.bootstrap, auto_offset_reset="earliest", **pki.options()
    ) as consumer:
        consumer.assign([ottla.TopicPartition("orders", 0)])
        while len(found) < len(payloads):
            records = consumer.poll(timeout=10)
            assert records, f"{len(found)} of {len(payloads)} after 10 s"
            found += [bytes(record.value or b"") for record in records]
    assert found == payloads


def trust_forms(pki: Pki) -> dict[str, dict[str, Any]]:
    pem, der = pki.authority.pem, pki.authority.own.der
    folder = pki.folder / "authorities"
    folder.mkdir(exist_ok=True)
    (folder / "one.crt").write_text(pem)
    return {
        "pem": {"ssl_truststore_location": pki.file("trust.pem", "a comment\n" + pem)},
        "der": {"ssl_truststore_location": pki.file("trust.der", der)},
        "folder": {"ssl_truststore_location": folder},
        "text": {"ssl_truststore_certificates": pem},
        "function": {"ssl_truststore_certificates": lambda: pem},
        "pkcs12": {
            "ssl_truststore_location": pki.file("trust.p12", pki.authority.trust_pkcs12("pw")),
            "ssl_truststore_password": "pw",
        },
        "other name": {"ssl.ca.location": str(pki.trust)},
        "cafile": {"ssl_cafile": str(pki.trust)},
    }


@pytest.mark.parametrize(
    "form", ["pem", "der", "folder", "text", "function", "pkcs12", "other name", "cafile"]
)
def test_trust_is_read_in_every_form(pki: Pki, secured: Broker, form: str) -> None:
    round_trip(secured, {"security_protocol": "SSL", **trust_forms(pki)[form]})


def test_the_store_of_the_system_counts_where_no_trust_is_given(
    pki: Pki, secured: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.trust))
    round_trip(secured, {"security_protocol": "SSL"})


def client_forms(pki: Pki) -> dict[str, dict[str, Any]]:
    client = pki.client
    chain = pki.file("c-chain.pem", client.chain_pem)
    both = pki.file("c-both.pem", client.key_pem() + client.chain_pem)
    return {
        "two files": {
            "ssl_certificate_location": chain,
            "ssl_key_location": pki.file("c.key", client.key_pem()),
        },
        "old key": {
            "ssl_certificate_location": chain,
            "ssl_key_location": pki.file("c-old.key", client.key_pem(form="old")),
        },
        "encrypted key": {
            "ssl_certificate_location": chain,
            "ssl_key_location": pki.file("c-enc.key", client.key_pem("pw")),
            "ssl_key_password": "pw",
        },
        "der": {
            "ssl_certificate_location": pki.file("c.der", client.der),
            "ssl_key_location": pki.file("c-key.der", client.key_der()),
        },
        "encrypted der": {
            "ssl_certificate_location": pki.file("c.der", client.der),
            "ssl_key_location": pki.file("c-key-enc.der", client.key_der("pw")),
            "ssl_key_password": "pw",
        },
        "one file": {"ssl_certificate_location": both},
        "keystore pem": {"ssl_keystore_location": both},
        "keystore pkcs12": {
            "ssl_keystore_location": pki.file("c.p12", client.pkcs12("pw")),
            "ssl_keystore_password": "pw",
        },
        "text": {
            "ssl_keystore_key": client.key_pem(),
            "ssl_keystore_certificate_chain": client.chain_pem,
        },
        "function": {
            "ssl_keystore_key": client.key_pem,
            "ssl_keystore_certificate_chain": lambda: client.chain_pem,
        },
    }


@pytest.mark.parametrize(
    "form",
    [
        "two files", "old key", "encrypted key", "der", "encrypted der", "one file", "keystore pem",
        "keystore pkcs12", "text", "function",
    ],
)  # fmt: skip
def test_a_client_certificate_is_read_in_every_form(pki: Pki, form: str) -> None:
    with pki.broker(client_auth="required", client_authorities=pki.trust) as broker:
        round_trip(broker, pki.options(**client_forms(pki)[form]))


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_both_versions_and_kinds_of_key_work(pki: Pki, kind: str, version: str) -> None:
    with pki.broker(pki.authority.issue(kind=kind)) as broker:
        round_trip(broker, pki.options(ssl_enabled_protocols=version))


def test_a_chain_is_put_in_order(pki: Pki) -> None:
    between = pki.authority.between()
    client = between.issue("bob", (), for_clients=True)
    chain = between.pem + client.pem
    with pki.broker(client_auth="required", client_authorities=pki.trust) as broker:
        options = pki.options(
            ssl_keystore_key=client.key_pem(), ssl_keystore_certificate_chain=chain
        )
        round_trip(broker, options)


def test_an_authority_that_is_configured_may_be_the_brokers_own(pki: Pki) -> None:
    own = type(pki.authority).make("home", ("127.0.0.1",))
    with pki.broker(own.own) as broker:
        round_trip(broker, {"security_protocol": "SSL", "ssl_truststore_certificates": own.pem})


def test_the_name_is_that_of_the_option(pki: Pki) -> None:
    with pki.broker(pki.authority.issue(names=("kafka.example",))) as broker:
        round_trip(broker, pki.options(ssl_server_name="kafka.example"))


def test_the_name_is_not_checked_if_the_option_is_empty(pki: Pki) -> None:
    with pki.broker(pki.authority.issue(names=("other.example",))) as broker:
        round_trip(broker, pki.options(ssl_endpoint_identification_algorithm=""))


def test_no_check_at_all_is_possible(pki: Pki, secured: Broker) -> None:
    round_trip(secured, {"security_protocol": "SSL", "ssl_verify": False})


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"])
def test_a_cipher_suite_can_be_chosen(pki: Pki, secured: Broker, suite: str) -> None:
    round_trip(secured, pki.options(ssl_cipher_suites=suite))


def test_keys_of_sessions_are_written_on_request(
    pki: Pki, secured: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = pki.folder / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    round_trip(secured, pki.options(ssl_keylog=True))
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()
