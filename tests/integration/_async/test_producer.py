"""The producer against a broker: outcomes, order, keys, codecs, close."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Literal

import pytest

import ottla
from ottla import kafka_errors
from ottla.testing import Broker

Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


async def read(bootstrap: str, topic: str, count: int, partitions: int = 1) -> list[ottla.Record]:
    """The first `count` records of the topic."""
    places = [ottla.TopicPartition(topic, number) for number in range(partitions)]
    found: list[ottla.Record] = []
    async with ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign(places)
        while len(found) < count:
            records = await consumer.poll(timeout=15)
            assert records, f"only {len(found)} of {count} records came"
            found += list(records)
    return found


@pytest.mark.parametrize("codec", CODECS)
async def test_sent_messages_are_read_back(bootstrap: str, topic: str, codec: Codec) -> None:
    headers = [("h", b"1"), ("h", None), ("ö", b"")]
    async with ottla.AsyncProducer(bootstrap, compression=codec) as producer:
        for number in range(200):
            await producer.send(
                topic,
                None if number % 10 == 0 else b"value %d" % number,
                key=f"k{number}",
                headers=headers,
                timestamp_ms=1_700_000_000_000 + number,
            )
    records = await read(bootstrap, topic, 200)
    assert [record.offset for record in records] == list(range(200))
    for number, record in enumerate(records):
        assert record.value == (None if number % 10 == 0 else b"value %d" % number)
        assert record.key == b"k%d" % number
        assert list(record.headers) == headers
        assert record.timestamp_ms == 1_700_000_000_000 + number


@pytest.mark.parametrize("codec", CODECS)
async def test_large_batches_of_several_partitions_stay_in_order(
    bootstrap: str, make_topic: Callable[[int], str], codec: Codec
) -> None:
    topic = make_topic(3)
    own: dict[str, ottla.TopicOptions] = {
        topic: {"compression": codec, "batch_size": 100_000, "linger_ms": 20}
    }
    async with ottla.AsyncProducer(bootstrap, topics=own, buffer_memory=1_000_000) as producer:
        deliveries = [
            await producer.send(topic, b"%06d" % number * 150, partition=number % 3)
            for number in range(3000)
        ]
        await producer.flush(20)
    assert [delivery.offset for delivery in deliveries] == [n // 3 for n in range(3000)]
    for record in await read(bootstrap, topic, 3000, partitions=3):
        assert record.value == b"%06d" % (record.offset * 3 + record.partition) * 150


async def test_a_delivery_has_the_place_of_its_message(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(bootstrap, linger_ms=0) as producer:
        first = await producer.send_and_wait(topic, b"a")
        delivery = await producer.send(topic, b"b", key=b"k", metadata={"n": 1})
        await producer.flush(10)
    assert (first.topic, first.partition, first.offset) == (topic, 0, 0)
    assert (delivery.partition, delivery.offset) == (0, 1)
    assert delivery.done()
    assert delivery.outcome == "written"
    assert delivery.error is None
    assert (delivery.key, delivery.value, delivery.metadata) == (b"k", b"b", {"n": 1})


async def test_the_partitions_of_a_topic(bootstrap: str, make_topic: Callable[[int], str]) -> None:
    topic = make_topic(3)
    producer = ottla.AsyncProducer(bootstrap)
    async with producer:
        found = await producer.partitions_for(topic, timeout=10)
        assert found == [ottla.TopicPartition(topic, number) for number in range(3)]
        with pytest.raises(TypeError, match="topic"):
            await producer.partitions_for(1)  # type: ignore[arg-type]
    with pytest.raises(ottla.Closed):
        await producer.partitions_for(topic)


@pytest.mark.embedded_only
async def test_a_missing_topic_has_no_partitions() -> None:
    async with (
        Broker(auto_create_topics=False) as broker,
        ottla.AsyncProducer(broker.bootstrap) as producer,
    ):
        with pytest.raises(kafka_errors.UnknownTopicOrPartition, match="orders"):
            await producer.partitions_for("orders", timeout=10)
        broker.create_topic("orders")
        assert len(await producer.partitions_for("orders", timeout=10)) == 1


@pytest.mark.parametrize("acks", [0, 1, "all"])
async def test_every_acks(bootstrap: str, topic: str, acks: Literal[0, 1, "all"]) -> None:
    async with ottla.AsyncProducer(bootstrap, acks=acks) as producer:
        deliveries = [await producer.send(topic, b"%d" % number) for number in range(100)]
        await producer.flush(20)
        assert all(delivery.done() for delivery in deliveries)
        offsets = [delivery.offset for delivery in deliveries]
    assert offsets == ([-1] * 100 if acks == 0 else list(range(100)))
    assert len(await read(bootstrap, topic, 100)) == 100


async def test_order_per_partition_is_call_order(
    bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(4)
    async with ottla.AsyncProducer(bootstrap, batch_size=2_000) as producer:
        for number in range(5_000):
            await producer.send(topic, b"%d" % number, key=b"%d" % (number % 17))
    records = await read(bootstrap, topic, 5_000, partitions=4)
    for partition in range(4):
        numbers = [int(r.value or b"") for r in records if r.partition == partition]
        assert numbers == sorted(numbers)
    assert len({r.partition for r in records}) == 4


async def test_close_reports_and_is_final(bootstrap: str, topic: str) -> None:
    producer = ottla.AsyncProducer(bootstrap)
    for number in range(50):
        await producer.send(topic, b"%d" % number)
    report = await producer.close()
    assert report == ottla.CloseReport(delivered=50, failed=0, unknown=0)
    assert await producer.close() == report
    with pytest.raises(ottla.Closed):
        await producer.send(topic, b"late")


async def test_unknown_topic_is_created_or_waited_for(bootstrap: str, unique_name: str) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        metadata = await producer.send_and_wait(f"new-{unique_name}", b"first")
    assert metadata.offset == 0


async def test_message_that_is_too_large_fails_alone(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(
        bootstrap, max_request_size=10_000, batch_size=10_000
    ) as producer:
        with pytest.raises(ottla.MessageTooLarge):
            await producer.send_and_wait(topic, b"x" * 20_000)
        assert (await producer.send_and_wait(topic, b"small")).offset == 0


async def test_send_many_has_one_outcome_object(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        many = await producer.send_many(topic, [b"%d" % number for number in range(1_000)])
        await producer.flush(20)
        assert len(many) == 1_000
        assert many.failed == []
        assert list(many.offsets) == list(range(1_000))


async def test_no_broker_is_an_outcome_in_time() -> None:
    producer = ottla.AsyncProducer(
        "127.0.0.1:1", delivery_timeout_ms=600, request_timeout_ms=500, linger_ms=0
    )
    with pytest.raises(ottla.DeliveryTimeout) as caught:
        await producer.send_and_wait("t", b"x")
    assert caught.value.outcome == "not_written"
    assert "127.0.0.1:1: " in str(caught.value)
    assert await producer.close(5) == ottla.CloseReport(delivered=0, failed=1, unknown=0)


async def lose_a_message(producer: ottla.AsyncProducer, error: BaseException) -> None:
    async with producer:
        await producer.send("t", b"never sent")
        raise error


async def block_that_ends_by(error: BaseException) -> ottla.AsyncProducer:
    producer = ottla.AsyncProducer("127.0.0.1:1")
    with contextlib.suppress(type(error)):
        await lose_a_message(producer, error)
    return producer


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
async def test_interrupted_block_does_not_wait_out_an_outage(error: BaseException) -> None:
    began = time.monotonic()
    producer = await block_that_ends_by(error)
    assert time.monotonic() - began < 10
    assert await producer.close() == ottla.CloseReport(delivered=0, failed=1, unknown=0)


@pytest.mark.embedded_only
async def test_a_message_that_fails_at_close_names_the_cause() -> None:
    producer = ottla.AsyncProducer("127.0.0.1:1")
    delivery = await producer.send("t", b"x")
    assert await producer.close(0.2) == ottla.CloseReport(delivered=0, failed=1, unknown=0)
    assert delivery.outcome == "not_written"
    text = str(delivery.error)
    assert "the producer was closed before its messages had their outcome: " in text
    assert "127.0.0.1:1: " in text
