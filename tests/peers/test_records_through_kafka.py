"""Ottla and confluent-kafka read each other's records off a real Kafka, record for record, in every codec."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

import ottla
from tests.peers.clients import PEERS, WAIT_S, Rec
from tests.peers.test_peers_on_our_broker import by_partition, read, sample
from tools.kafka.launch import KafkaCluster
from tools.kafka.raw_requests import create_topic

PARTITIONS = 4
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CONFLUENT = PEERS["confluent-kafka"]


@pytest.fixture
def topic(kafka: KafkaCluster, unique_name: str) -> str:
    name = f"peers-{unique_name}"
    create_topic(kafka.bootstrap, name, PARTITIONS)
    return name


def records(count: int = 500) -> list[Rec]:
    """The sample, and what its small values leave out: neither key nor value, and a value larger than a page."""
    special = [Rec(0, None, None, [("only", None)]), Rec(1, b"", b"large " * 20_000, [])]
    return sample(count) + special


def write_with_ottla(bootstrap: str, topic: str, codec: Any, wanted: list[Rec]) -> list[int | None]:
    with ottla.Producer(bootstrap, compression=codec) as producer:
        deliveries = [
            producer.send(
                topic, record.value, record.key, record.headers, partition=record.partition
            )
            for record in wanted
        ]
        return [delivery.result(WAIT_S).offset for delivery in deliveries]


def read_with_ottla(bootstrap: str, topic: str, count: int) -> list[Rec]:
    found: list[Rec] = []
    with ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([ottla.TopicPartition(topic, number) for number in range(PARTITIONS)])
        while len(found) < count:
            batch = consumer.poll(timeout=WAIT_S)
            assert batch, f"{len(found)} of {count} records came"
            found += [
                Rec(record.partition, record.key, record.value, list(record.headers))
                for record in batch
            ]
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_confluent_reads_records_of_ottla(kafka: KafkaCluster, topic: str, codec: str) -> None:
    wanted = records()
    offsets = write_with_ottla(kafka.bootstrap, topic, codec, wanted)
    for partition in range(PARTITIONS):
        own = [
            offset
            for offset, record in zip(offsets, wanted, strict=True)
            if record.partition == partition
        ]
        assert own == list(range(len(own)))
    with closing(CONFLUENT.reader(kafka.bootstrap, topic, PARTITIONS, None)) as reader:
        (found,) = read([reader], len(wanted))
    assert by_partition(found) == by_partition(wanted)


@pytest.mark.parametrize("codec", CODECS)
def test_ottla_reads_records_of_confluent(kafka: KafkaCluster, topic: str, codec: str) -> None:
    wanted = records()
    CONFLUENT.write(kafka.bootstrap, topic, wanted, codec)
    found = read_with_ottla(kafka.bootstrap, topic, len(wanted))
    assert by_partition(found) == by_partition(wanted)


def test_keys_go_to_the_partitions_that_the_java_client_chooses(
    kafka: KafkaCluster, topic: str
) -> None:
    """librdkafka's murmur2 partitioner is Java's default; ours must agree on every key."""
    import confluent_kafka

    keys = [b"key %d" % number for number in range(300)] + [b"", b"\xff" * 33, "ö".encode()]
    chosen: dict[bytes, int] = {}

    def outcome(error: object, message: confluent_kafka.Message) -> None:
        assert error is None
        chosen[message.key()] = message.partition()

    peer = confluent_kafka.Producer(
        {"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2"}
    )
    for key in keys:
        peer.produce(topic, b"", key, on_delivery=outcome)
    peer.flush(WAIT_S)
    with ottla.Producer(kafka.bootstrap) as producer:
        deliveries = {key: producer.send(topic, b"", key) for key in keys}
        ours = {key: delivery.result(WAIT_S).partition for key, delivery in deliveries.items()}
    assert ours == chosen
