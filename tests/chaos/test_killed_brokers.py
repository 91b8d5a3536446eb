"""An idempotent producer while every node of a real cluster is killed once: nothing lost, doubled or reordered."""

from __future__ import annotations

import threading
import time

import pytest

import ottla
from tests.chaos.checker import Seen, Sent, check
from tests.chaos.reader import read_all
from tools.kafka.launch import KafkaCluster
from tools.kafka.raw_requests import create_topic

TOPIC = "killed"
PARTITIONS = 6
KEYS = 100
FIRST_KEY = b"first"
DOWN_S = 2.0
BURST = 20
PAUSE_S = 0.01


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
            Sent(number, d.outcome, d.partition, d.offset) for number, d in enumerate(deliveries)
        ]
        seen = [
            Seen(int(message.value()), message.partition(), message.offset())
            for message in read_all(cluster.bootstrap, TOPIC, PARTITIONS)
            if message.key() != FIRST_KEY
        ]
    assert not (findings := check(sent, seen)), str(findings)
    assert (report.failed, report.unknown) == (0, 0)
    assert report.delivered == len(deliveries) + 1
