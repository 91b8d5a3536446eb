"""What is over is not told again: behind the line of a recovery nothing claims that the trouble goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

import ottla
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from ottla.testing import Broker, advance_time

pytestmark = pytest.mark.embedded_only

AGAIN_S = 130.0
"""In this time every line that is told again and again has its turn."""


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(nodes=2) as running:
        running.create_topic("t", partitions=1)
        yield running


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "ottla")

    def lines() -> list[str]:
        return [
            f"{record.levelname} {record.getMessage()}"
            for record in caplog.records
            if not record.name.startswith("ottla.testing")
        ]

    return lines


def leaderless(broker: Broker) -> MetadataResponse:
    host, _, port = broker.bootstrap.partition(",")[0].partition(":")
    partition = MetadataResponsePartition(partition_index=0, leader_id=-1, leader_epoch=0)
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=1, host=host, port=int(port))],
        cluster_id=broker.cluster_id,
        controller_id=1,
        topics=[MetadataResponseTopic(name="t", partitions=[partition])],
    )


def warnings(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("WARNING")]


def behind(lines: list[str], word: str) -> list[str]:
    """The lines behind the last one with this word."""
    last = max(number for number, line in enumerate(lines) if word in line)
    return lines[last + 1 :]


@pytest.mark.parametrize("seconds", [1.5, 4, 14])
def test_an_outage_is_not_told_behind_its_end(
    broker: Broker, said: Callable[[], list[str]], seconds: float
) -> None:
    with ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"v")
        broker.kill(1)
        broker.kill(2)
        delivery = producer.send("t", b"v")
        advance_time(seconds)
        assert warnings(said()), "it is told while it lasts"
        broker.restart(1)
        broker.restart(2)
        advance_time(30, until=delivery.done)
        assert delivery.result(0).offset == 1
        advance_time(AGAIN_S)
        assert warnings(behind(said(), "metadata again")) == []
        before = len(said())
        broker.kill(1)
        broker.kill(2)
        producer.send("t", b"v")
        advance_time(2)
        assert warnings(said()[before:]), "the next one is told as soon as the first was"
        broker.restart(1)
        broker.restart(2)


def test_a_refusal_is_not_told_when_it_is_over(
    broker: Broker, said: Callable[[], list[str]]
) -> None:
    with ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"v")
        broker.fail("Produce", ErrorCode.NOT_ENOUGH_REPLICAS, times=None)
        delivery = producer.send("t", b"v")
        advance_time(3)
        broker.clear_rules()
        advance_time(10, until=delivery.done)
        assert delivery.result(0).offset == 1
        advance_time(AGAIN_S)
        (warning,) = warnings(said())
    assert "NOT_ENOUGH_REPLICAS" in warning


def test_a_partition_without_leader_is_not_told_when_it_has_one(
    broker: Broker, said: Callable[[], list[str]]
) -> None:
    with ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"v")
        broker.fail("Produce", ErrorCode.NOT_LEADER_OR_FOLLOWER)
        broker.answer("Metadata", lambda *_: leaderless(broker), times=None)
        delivery = producer.send("t", b"v")
        advance_time(3)
        broker.clear_rules()
        advance_time(10, until=delivery.done)
        assert delivery.outcome == "written"
        advance_time(AGAIN_S)
        assert warnings(said())
        assert warnings(behind(said(), "t-0: goes to node")) == []


def test_a_consumer_that_fetches_again_says_nothing_of_before(
    broker: Broker, said: Callable[[], list[str]]
) -> None:
    def held() -> list[str]:
        return [line for line in said() if "fetching t-0 is held" in line]

    with ottla.Consumer(broker.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([ottla.TopicPartition("t", 0)])
        broker.append("t", "a")
        assert consumer.poll(timeout=10)
        broker.fail("Fetch", ErrorCode.KAFKA_STORAGE_ERROR, times=None)
        broker.append("t", "b")
        advance_time(2)
        assert len(held()) == 1
        broker.clear_rules()
        advance_time(2)
        assert consumer.poll(timeout=10)
        advance_time(AGAIN_S)
        assert len(held()) == 1
