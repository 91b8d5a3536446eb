"""A condition that has ended is not logged again: after the line about a recovery no line claims that the trouble goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

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
from tests.fixtures.logged import Logged

if TYPE_CHECKING:
    from ottla.observe.log_names import LogName

pytestmark = pytest.mark.embedded_only

AGAIN_S = 130.0
"""Seconds in which every line about a lasting condition would be repeated."""


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(nodes=2) as running:
        running.create_topic("t", partitions=1)
        yield running


def leaderless(broker: Broker) -> MetadataResponse:
    host, _, port = broker.bootstrap.partition(",")[0].partition(":")
    partition = MetadataResponsePartition(partition_index=0, leader_id=-1, leader_epoch=0)
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=1, host=host, port=int(port))],
        cluster_id=broker.cluster_id,
        controller_id=1,
        topics=[MetadataResponseTopic(name="t", partitions=[partition])],
    )


def warnings_after(logged: Logged, last: LogName) -> list[str]:
    """The warnings after the last record of this event."""
    events = [record.__dict__["event"] for record in logged(level=logging.INFO)]
    after = len(events) - events[::-1].index(last)
    return [
        record.__dict__["event"]
        for record in logged(level=logging.INFO)[after:]
        if record.levelno >= logging.WARNING
    ]


@pytest.mark.parametrize(("seconds", "lines"), [(1.5, 1), (4, 1), (14, 2)])
def test_an_outage_is_not_logged_after_its_end(
    broker: Broker, logged: Logged, seconds: float, lines: int
) -> None:
    with ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"v")
        broker.kill(1)
        broker.kill(2)
        delivery = producer.send("t", b"v")
        advance_time(seconds)
        assert logged.events() == ["cluster.unreachable"] * lines
        broker.restart(1)
        broker.restart(2)
        advance_time(30, until=delivery.done)
        assert delivery.result(0).offset == 1
        advance_time(AGAIN_S)
        assert warnings_after(logged, "cluster.reachable") == []
        before = len(logged.events())
        broker.kill(1)
        broker.kill(2)
        producer.send("t", b"v")
        advance_time(2)
        assert logged.events()[before:], "the next outage is logged as soon as the first was"
        broker.restart(1)
        broker.restart(2)


def test_a_refusal_is_not_logged_after_its_end(broker: Broker, logged: Logged) -> None:
    with ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"v")
        broker.fail("Produce", ErrorCode.NOT_ENOUGH_REPLICAS, times=None)
        delivery = producer.send("t", b"v")
        advance_time(3)
        broker.clear_rules()
        advance_time(10, until=delivery.done)
        assert delivery.result(0).offset == 1
        advance_time(AGAIN_S)
    assert logged.events() == ["batch.refused"]
    (refused,) = logged("batch.refused", topic="t", partition=0)
    assert "NOT_ENOUGH_REPLICAS" in refused.__dict__["reason"]


def test_a_partition_without_leader_is_not_logged_once_it_has_one(
    broker: Broker, logged: Logged
) -> None:
    with ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"v")
        broker.fail("Produce", ErrorCode.NOT_LEADER_OR_FOLLOWER, times=None)
        broker.answer("Metadata", lambda *_: leaderless(broker), times=None)
        delivery = producer.send("t", b"v")
        advance_time(3)
        broker.clear_rules()
        advance_time(10, until=delivery.done)
        assert delivery.outcome == "written"
        advance_time(AGAIN_S)
        assert "partition.unroutable" in logged.events()
        assert warnings_after(logged, "partition.routed") == []


def test_a_held_fetch_is_not_logged_once_it_is_released(broker: Broker, logged: Logged) -> None:
    with ottla.Consumer(broker.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([ottla.TopicPartition("t", 0)])
        broker.append("t", "a")
        assert consumer.poll(timeout=10)
        broker.fail("Fetch", ErrorCode.KAFKA_STORAGE_ERROR, times=None)
        broker.append("t", "b")
        advance_time(2)
        assert len(logged("partition.held", level=logging.INFO)) == 1
        broker.clear_rules()
        advance_time(2)
        assert consumer.poll(timeout=10)
        advance_time(AGAIN_S)
        assert len(logged("partition.held", level=logging.INFO)) == 1
