"""Messages without a key go to leaders in the client's rack, and elsewhere when there are none (KIP-1123)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.fixtures.logged import Logged

pytestmark = pytest.mark.embedded_only

RACKS = ("a", "b", "b")
PARTITIONS = 6


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(nodes=3, racks=RACKS) as made:
        made.create_topic("orders", PARTITIONS)
        yield made


def led_in(broker: Broker, rack: str) -> set[int]:
    numbers = range(PARTITIONS)
    return {number for number in numbers if RACKS[broker.leader("orders", number) - 1] == rack}


def producer_of(broker: Broker, **config: Any) -> ottla.Producer:
    return ottla.Producer(
        broker.bootstrap, linger_ms=0, batch_size=200, metadata_max_age_ms=50, **config
    )


def went_to(producer: ottla.Producer, key: bytes | None = None) -> set[int]:
    """Each value fills a batch, so each may go to another partition."""
    many = [producer.send("orders", b"x" * 150, key) for _ in range(120)]
    return {delivery.result(10).partition for delivery in many}


@pytest.mark.parametrize("adaptive", [True, False])
def test_leaders_in_the_rack_are_preferred(broker: Broker, adaptive: bool) -> None:
    config = {"partitioner_adaptive_partitioning_enable": adaptive}
    for rack in ("a", "b"):
        with producer_of(
            broker, partitioner_rack_aware=True, client_rack=rack, **config
        ) as producer:
            assert went_to(producer) == led_in(broker, rack)
    with producer_of(broker, client_rack="a", **config) as producer:
        assert went_to(producer) == set(range(PARTITIONS))


def test_keys_and_explicit_partitions_ignore_the_rack(broker: Broker) -> None:
    with (
        producer_of(broker, partitioner_rack_aware=True, client_rack="a") as aware,
        producer_of(broker) as plain,
    ):
        for number in range(20):
            key = b"key-%d" % number
            where = plain.send_and_wait("orders", b"v", key).partition
            assert aware.send_and_wait("orders", b"v", key).partition == where
        for number in range(PARTITIONS):
            assert aware.send_and_wait("orders", b"v", partition=number).partition == number
    ignoring = {"partitioner_ignore_keys": True, "partitioner_rack_aware": True}
    with producer_of(broker, client_rack="a", **ignoring) as producer:
        assert went_to(producer, b"key-1") == led_in(broker, "a")


def test_leaders_that_move_are_followed(broker: Broker) -> None:
    with producer_of(broker, partitioner_rack_aware=True, client_rack="a") as producer:
        assert went_to(producer) == led_in(broker, "a")
        (stays, *_) = led_in(broker, "b")
        for number in led_in(broker, "a"):
            broker.move_leader("orders", number, 2)
        broker.move_leader("orders", stays, 1)
        _follows(broker, producer, {stays})
        broker.move_leader("orders", stays, 3)
        _follows(broker, producer, set(range(PARTITIONS)))


def test_a_rack_that_is_down_is_avoided_and_then_used_again(broker: Broker) -> None:
    with producer_of(broker, partitioner_rack_aware=True, client_rack="a") as producer:
        assert went_to(producer) == led_in(broker, "a")
        broker.kill(1)
        assert led_in(broker, "a") == set()
        _follows(broker, producer, set(range(PARTITIONS)))
        broker.restart(1)
        broker.move_leader("orders", 0, 1)
        _follows(broker, producer, {0})


def test_a_rack_without_brokers_prefers_none_and_is_logged(broker: Broker, logged: Logged) -> None:
    with producer_of(broker, partitioner_rack_aware=True, client_rack="z") as producer:
        assert went_to(producer) == set(range(PARTITIONS))
    assert logged("rack.empty", client_rack="z")


def _follows(broker: Broker, producer: ottla.Producer, expected: set[int]) -> None:
    """Wait until the producer, after fresh metadata, sends to these partitions only."""
    for _ in range(20):
        seen = broker.count("Metadata")
        broker.wait_for("Metadata", seen + 1)
        if went_to(producer) == expected:
            return
    assert went_to(producer) == expected
