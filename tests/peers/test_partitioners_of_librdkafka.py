"""Each partitioner of librdkafka: confluent-kafka and Ottla put the same keys into the same partitions of one broker."""

from __future__ import annotations

import random
from collections.abc import Callable

import confluent_kafka
import pytest

import ottla
from tests.peers.clients import WAIT_S

PARTITIONS = 7
HASHING = (
    "consistent",
    "consistent_random",
    "murmur2",
    "murmur2_random",
    "fnv1a",
    "fnv1a_random",
)
_seeded = random.Random(1123)
KEYS = [b"\0", b"a", b"user-1", "ключ".encode(), bytes(range(256))]
KEYS += [_seeded.randbytes(_seeded.randrange(1, 40)) for _ in range(120)]
AS_EMPTY = ("consistent", "murmur2", "fnv1a")
"""They hash no key as an empty one."""
EMPTY_IS_NONE = ("consistent_random",)


def keys_of(name: str) -> list[bytes | None]:
    """Those whose partition is not left to chance."""
    more: list[bytes | None] = [] if name in EMPTY_IS_NONE else [b""]
    return [*KEYS, *more, *([None] if name in AS_EMPTY else [])]


def by_confluent(bootstrap: str, topic: str, name: str) -> list[int]:
    found: dict[int, int] = {}
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "partitioner": name, "message.timeout.ms": WAIT_S * 1000}
    )
    for index, key in enumerate(keys_of(name)):

        def outcome(error: object, message: confluent_kafka.Message, index: int = index) -> None:
            partition = message.partition()
            if error is None and partition is not None:
                found[index] = partition

        producer.produce(topic, b"v", key, on_delivery=outcome)
    assert producer.flush(WAIT_S) == 0
    return [found[index] for index in range(len(keys_of(name)))]


def by_ottla(bootstrap: str, topic: str, name: str) -> list[int]:
    with ottla.Producer(bootstrap, partitioner=name) as producer:
        deliveries = [producer.send(topic, b"v", key) for key in keys_of(name)]
        return [delivery.result(WAIT_S).partition for delivery in deliveries]


@pytest.mark.parametrize("name", HASHING)
def test_keys_go_where_librdkafka_puts_them(
    bootstrap: str, make_topic: Callable[..., str], name: str
) -> None:
    topic = make_topic(PARTITIONS)
    assert by_ottla(bootstrap, topic, name) == by_confluent(bootstrap, topic, name)
