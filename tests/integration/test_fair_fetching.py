"""One partition's trouble stops no other one: paused, untaken and damaged partitions; a seek waits for no long poll."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import Any

import ottla
from ottla.testing import Broker

BATCH_BYTES = 30_000
BUFFER_BYTES = 300_000
LONG_POLL_MS = 3000
SOON_S = 1.0
"""Far below the long poll; a busy machine may need some of it."""


def _fill(broker: Broker, topic: str, partitions: int, batches: int) -> list[ottla.TopicPartition]:
    broker.create_topic(topic, partitions=partitions)
    value = b"x" * (BATCH_BYTES // 3)
    with ottla.Producer(broker.bootstrap, linger_ms=20) as producer:
        for _ in range(batches):
            for partition in range(partitions):
                for _ in range(3):
                    producer.send(topic, value, partition=partition)
            producer.flush(timeout=20)
    return [ottla.TopicPartition(topic, partition) for partition in range(partitions)]


def _consumer(broker: Broker, **options: Any) -> ottla.Consumer:
    return ottla.Consumer(
        broker.bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=LONG_POLL_MS,
        **options,
    )


def _read(consumer: ottla.Consumer, counts: Counter[int], wanted: int) -> None:
    until = time.monotonic() + 20
    while counts.total() < wanted and time.monotonic() < until:
        counts.update(record.partition for record in consumer.poll(max_records=20, timeout=1))


def test_paused_partitions_leave_the_buffer_to_the_others() -> None:
    with Broker() as broker:
        all_partitions = _fill(broker, "t", partitions=20, batches=3)
        with _consumer(broker, fetch_buffer_bytes=BUFFER_BYTES) as consumer:
            consumer.assign(all_partitions)
            assert consumer.poll(max_records=1, timeout=10)
            time.sleep(0.2)  # the buffer fills
            consumer.pause(*all_partitions[:16])
            counts: Counter[int] = Counter()
            _read(consumer, counts, 4 * 9)
            assert set(counts) <= {16, 17, 18, 19}
            assert counts.total() >= 4 * 9 - 1
            consumer.resume(*all_partitions[:16])
            _read(consumer, counts, 20 * 9 - 1)
            assert counts.total() == 20 * 9 - 1


def test_a_seek_and_a_resume_wait_for_no_long_poll() -> None:
    with Broker() as broker:
        first, second = _fill(broker, "t", partitions=2, batches=1)
        with _consumer(broker) as consumer:
            consumer.assign([first, second])
            counts: Counter[int] = Counter()
            _read(consumer, counts, 6)
            waits: list[float] = []
            for _ in range(3):
                assert not consumer.poll(timeout=0.3)
                began = time.monotonic()
                consumer.seek(first, 2)
                assert [record.offset for record in consumer.poll(timeout=LONG_POLL_MS)] == [2]
                waits.append(time.monotonic() - began)
                consumer.pause(second)
                consumer.seek(second, 2)
                assert not consumer.poll(timeout=0.3)
                began = time.monotonic()
                consumer.resume(second)
                assert consumer.poll(timeout=LONG_POLL_MS)
                waits.append(time.monotonic() - began)
            assert statistics.median(waits) < SOON_S


def _garble(broker: Broker, partition: int) -> None:
    """Flip a bit in the first batch of the partition's log."""
    log = broker._partition("t", partition).log
    whole = log.batches[0]
    data = bytearray(whole.data)
    data[-3] ^= 4
    log.batches[0] = type(whole)(
        whole.base_offset, whole.last_offset, whole.leader_epoch, whole.max_timestamp, bytes(data)
    )


def test_a_damaged_batch_is_one_error_and_stops_no_other_partition() -> None:
    with Broker() as broker:
        damaged, *others = _fill(broker, "t", partitions=3, batches=4)
        _garble(broker, damaged.partition)
        with _consumer(broker) as consumer:
            consumer.assign([damaged, *others])
            counts: Counter[int] = Counter()
            caught: list[ottla.DecodeError] = []
            until = time.monotonic() + 0.9
            while time.monotonic() < until:
                try:
                    records = consumer.poll(timeout=0.1)
                except ottla.DecodeError as error:
                    caught.append(error)
                else:
                    counts.update(record.partition for record in records)
            assert counts == {1: 12, 2: 12}
            assert len(caught) == 1
            raised = caught[0]
            assert (raised.topic, raised.partition, raised.offset) == ("t", 0, 0)
            assert raised.next_offset is not None
            consumer.seek(damaged, raised.next_offset)
            _read(consumer, counts, 24 + 12 - raised.next_offset)
            assert counts[0] == 12 - raised.next_offset
