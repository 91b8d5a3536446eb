"""An idempotent producer while every node of a real cluster is killed once: nothing lost, doubled or reordered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import confluent_kafka
import pytest

import ottla
from tests.chaos.checker import Seen, Sent, check
from tools.kafka.launch import KafkaCluster
from tools.kafka.raw_requests import create_topic

TOPIC = "killed"
PARTITIONS = 6
KEYS = 100
FIRST_KEY = b"first"
DOWN_S = 2.0
BURST = 20
PAUSE_S = 0.01
READ_S = 5.0


def kill_each_node_once(cluster: KafkaCluster) -> None:
    for node_id in cluster.node_ids:
        time.sleep(1.0)
        cluster.kill(node_id)
        time.sleep(DOWN_S)
        cluster.restart(node_id)


def send_while(chaos: threading.Thread, producer: ottla.Producer) -> list[ottla.Delivery]:
    deliveries: list[ottla.Delivery] = []
    while chaos.is_alive():
        for _ in range(BURST):
            number = len(deliveries)
            key = b"%d" % (number % KEYS)
            deliveries.append(producer.send(TOPIC, b"%d" % number, key=key))
        time.sleep(PAUSE_S)
    return deliveries


def read_back(bootstrap: str) -> Iterator[Seen]:
    """Everything up to the end of each partition, by another client."""
    config = {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer(config)
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, n, 0) for n in range(PARTITIONS)])
    unread = set(range(PARTITIONS))
    deadline = time.monotonic() + READ_S
    while unread:
        assert time.monotonic() < deadline, f"partitions {unread} were not read to their ends"
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                yield Seen(
                    int(message.value()), message.key(), message.partition(), message.offset()
                )
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
    consumer.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_brokers_lose_double_and_reorder_nothing() -> None:
    with KafkaCluster(3, {"min.insync.replicas": "2"}) as cluster:
        create_topic(cluster.bootstrap, TOPIC, PARTITIONS)
        chaos = threading.Thread(target=kill_each_node_once, args=[cluster])
        with ottla.Producer(cluster.bootstrap, linger_ms=5, delivery_timeout_ms=60_000) as producer:
            producer.send_and_wait(TOPIC, b"0", key=FIRST_KEY)
            chaos.start()
            deliveries = send_while(chaos, producer)
            chaos.join()
            report = producer.close(30)
        sent = [
            Sent(number, d.key, d.outcome, d.partition, d.offset)
            for number, d in enumerate(deliveries)
        ]
        seen = [record for record in read_back(cluster.bootstrap) if record.key != FIRST_KEY]
    assert not (findings := check(sent, seen)), str(findings)
    assert (report.failed, report.unknown) == (0, 0)
    assert report.delivered == len(deliveries) + 1
