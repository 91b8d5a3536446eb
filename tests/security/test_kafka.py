"""TLS against a real Kafka: messages in both worlds, client certificates, and the alerts of Java."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import ottla
from tests.fixtures.certificates import Authority
from tests.security.conftest import Pki
from tests.security.test_failures import refused
from tools.kafka.launch import KafkaCluster
from tools.kafka.raw_requests import create_topic


@pytest.fixture(scope="module")
def kafka(pki: Pki) -> Iterator[KafkaCluster]:
    """One node with the listeners TLS, MTLS (wants client certificates), OLD (TLS 1.2) and CBC (a suite nobody should use)."""
    server = pki.authority.issue(kind="rsa")
    keystore = pki.file("kafka.pem", server.key_pem() + server.chain_pem)
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(pki.trust),
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.old.ssl.enabled.protocols": "TLSv1.2",
        "listener.name.cbc.ssl.enabled.protocols": "TLSv1.2",
        "listener.name.cbc.ssl.cipher.suites": "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    }
    names = dict.fromkeys(("TLS", "MTLS", "OLD", "CBC"), "SSL")
    with KafkaCluster(1, properties, listeners=names) as cluster:
        create_topic(cluster.bootstrap, "orders", 1, {})
        yield cluster


pytestmark = pytest.mark.thorough


def produced(bootstrap: str, options: dict[str, Any], values: list[bytes]) -> int:
    """Write the values; returns the offset of the first."""
    with ottla.Producer(bootstrap, **options) as producer:
        first = producer.send("orders", values[0]).result(20)
        for value in values[1:]:
            producer.send("orders", value)
        producer.flush(30)
    return first.offset


@pytest.mark.timeout(180)
@pytest.mark.parametrize("listener", ["TLS", "MTLS", "OLD"])
async def test_messages_go_through_kafka(kafka: KafkaCluster, pki: Pki, listener: str) -> None:
    bootstrap = kafka.listener_bootstrap(listener)
    options = pki.with_client()
    values = [b"%d" % number * 300 for number in range(3000)]
    first = await asyncio.to_thread(produced, bootstrap, options, values)
    found: list[bytes] = []
    async with ottla.AsyncConsumer(bootstrap, **options) as consumer:
        await consumer.assign([ottla.TopicPartition("orders", 0)])
        await consumer.seek(("orders", 0), first)
        while len(found) < len(values):
            records = await consumer.poll(timeout=10)
            assert records
            found += [bytes(record.value or b"") for record in records]
    assert found == values


@pytest.mark.timeout(180)
def test_java_wants_a_client_certificate(kafka: KafkaCluster, pki: Pki) -> None:
    error = refused(kafka.listener_bootstrap("MTLS"), pki.options())
    assert "the broker wants a client certificate" in error.message


@pytest.mark.timeout(180)
def test_java_refuses_a_client_certificate_of_a_stranger(kafka: KafkaCluster, pki: Pki) -> None:
    stranger = Authority.make("a stranger").issue("mallory", (), for_clients=True)
    own = {
        "ssl_keystore_key": stranger.key_pem(),
        "ssl_keystore_certificate_chain": stranger.pem,
    }
    error = refused(kafka.listener_bootstrap("MTLS"), pki.options(**own))
    assert error.reason == "client_certificate"
    assert "CN=mallory" in error.message


@pytest.mark.timeout(180)
def test_java_without_a_common_suite(kafka: KafkaCluster, pki: Pki) -> None:
    error = refused(kafka.listener_bootstrap("CBC"), pki.options())
    assert (error.reason, error.alert) == ("no_common_suite", "handshake_failure")


@pytest.mark.timeout(180)
def test_a_plain_listener_of_java_is_explained(kafka: KafkaCluster, pki: Pki) -> None:
    error = refused(kafka.bootstrap, pki.options())
    assert error.reason == "closed"
    assert "PLAINTEXT" in error.message
