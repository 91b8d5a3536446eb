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
        read = consumer.read_until(timeout=WAIT_S)
        for records in read.chunks():
            found += records.values()
        return found, read.ends[tp]


def test_read_committed_hands_over_committed_records_only(
    kafka: KafkaCluster, topic: str, transactions: list[bytes]
) -> None:
    committed, stable_end = read_until(kafka.bootstrap, topic, "read_committed")
    everything, end = read_until(kafka.bootstrap, topic, "read_uncommitted")
    assert committed == transactions
    assert len(everything) == 31
    assert everything[-1] == b"open"
    assert stable_end == end - 1


@pytest.fixture
def aborted_tail(kafka: KafkaCluster, topic: str) -> int:
    """A committed transaction of 3 messages, and an aborted one of 5 at the end of the log; gives the end."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": topic}
    )
    producer.init_transactions(WAIT_S)
    for count, end in ((3, producer.commit_transaction), (5, producer.abort_transaction)):
        producer.begin_transaction()
        for number in range(count):
            producer.produce(topic, b"%d" % number, partition=0)
        producer.flush(WAIT_S)
        end(WAIT_S)
    return 3 + 1 + 5 + 1


def test_a_loop_over_positions_passes_an_aborted_tail(
    kafka: KafkaCluster, topic: str, aborted_tail: int
) -> None:
    tp = ottla.TopicPartition(topic, 0)
    found: list[bytes | None] = []
    with ottla.Consumer(
        kafka.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as consumer:
        consumer.assign([tp])
        while consumer.position(tp, timeout=WAIT_S) < aborted_tail:
            found += consumer.poll(timeout=None, max_records=3).values()
    assert found == [b"0", b"1", b"2"]


def test_a_bounded_read_ends_behind_an_aborted_tail(
    kafka: KafkaCluster, topic: str, aborted_tail: int
) -> None:
    found, end = read_until(kafka.bootstrap, topic, "read_committed")
    assert (found, end) == ([b"0", b"1", b"2"], aborted_tail)
    with ottla.Consumer(
        kafka.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as consumer:
        consumer.assign((topic, 0))
        assert [record.value for record in consumer.read_until()] == found


def test_a_poll_without_a_limit_returns_when_only_its_position_moves(
    kafka: KafkaCluster, topic: str
) -> None:
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": topic}
    )
    producer.init_transactions(WAIT_S)
    with ottla.Consumer(
        kafka.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as consumer:
        consumer.assign((topic, 0))
        for end, values in (
            (producer.commit_transaction, [b"0"]),
            (producer.abort_transaction, []),
        ):
            producer.begin_transaction()
            producer.produce(topic, b"0", partition=0)
            producer.flush(WAIT_S)
            end(WAIT_S)
            assert consumer.poll(timeout=None).values() == values
        assert consumer.position((topic, 0)) == 4
