"""Ottla reads transactions that confluent-kafka wrote to a real Kafka: read_committed leaves out aborted and open ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import confluent_kafka
import pytest

import ottla
from tests.peers.clients import WAIT_S
from tools.kafka.launch import KafkaCluster
from tools.kafka.raw_requests import create_topic


@pytest.fixture
def topic(kafka: KafkaCluster, unique_name: str) -> str:
    """A topic of one partition."""
    create_topic(kafka.bootstrap, unique_name, 1)
    return unique_name


@pytest.fixture
def transactions(kafka: KafkaCluster, topic: str) -> Iterator[list[bytes]]:
    """Committed and aborted transactions in turn, and an open one at the end; gives the committed values."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": topic}
    )
    producer.init_transactions(WAIT_S)
    committed: list[bytes] = []
    for turn in range(6):
        values = [b"%d-%d" % (turn, number) for number in range(5)]
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=0)
        producer.flush(WAIT_S)
        if turn % 2 == 0:
            producer.commit_transaction(WAIT_S)
            committed += values
        else:
            producer.abort_transaction(WAIT_S)
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0)
    producer.flush(WAIT_S)
    yield committed
    producer.abort_transaction(WAIT_S)


def read_until(
    bootstrap: str, topic: str, isolation_level: Literal["read_uncommitted", "read_committed"]
) -> tuple[list[bytes | None], int]:
    """Everything before the end that the isolation level shows, and that end."""
    tp = ottla.TopicPartition(topic, 0)
    found: list[bytes | None] = []
    with ottla.Consumer(
        bootstrap, auto_offset_reset="earliest", isolation_level=isolation_level
    ) as consumer:
        consumer.assign([tp])
        end = consumer.end_offsets(tp)[tp]
        while consumer.position(tp, timeout=WAIT_S) < end:
            records = consumer.poll(timeout=0.5)
            found += records.values()
    return found, end


def test_read_committed_hands_over_committed_records_only(
    kafka: KafkaCluster, topic: str, transactions: list[bytes]
) -> None:
    committed, stable_end = read_until(kafka.bootstrap, topic, "read_committed")
    everything, end = read_until(kafka.bootstrap, topic, "read_uncommitted")
    assert committed == transactions
    assert len(everything) == 31
    assert everything[-1] == b"open"
    assert stable_end == end - 1
