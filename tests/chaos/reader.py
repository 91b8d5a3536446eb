"""The whole topic, read by another client straight from the nodes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

import confluent_kafka

from tests.chaos.checker import Seen

READ_S = 120.0
SILENCE_S = 20.0


def read_all(bootstrap: str, topic: str, partitions: int) -> Iterator[confluent_kafka.Message]:
    """Every record up to the end of each partition, in the order of its partition."""
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": "unused",
        "enable.partition.eof": True,
        "check.crcs": True,
        "enable.auto.commit": False,
    }
    consumer = confluent_kafka.Consumer(config)
    consumer.assign([confluent_kafka.TopicPartition(topic, n, 0) for n in range(partitions)])
    unread = set(range(partitions))
    deadline = time.monotonic() + READ_S
    silent_until = time.monotonic() + SILENCE_S
    try:
        while unread:
            now = time.monotonic()
            assert now < min(deadline, silent_until), f"partitions {unread} not read to their ends"
            for message in consumer.consume(5000, 0.2):
                silent_until = now + SILENCE_S
                if message.error() is None:
                    yield message
                elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
    finally:
        consumer.close()


def read_by_producer(bootstrap: str, topic: str, partitions: int) -> dict[str, list[Seen]]:
    """The records of the workload (`name:number:...`), by the name of their producer."""
    found: defaultdict[str, list[Seen]] = defaultdict(list)
    for message in read_all(bootstrap, topic, partitions):
        name, number, _ = message.value().split(b":", 2)
        found[name.decode()].append(Seen(int(number), message.partition(), message.offset()))
    return found
