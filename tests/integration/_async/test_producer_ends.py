"""The ends of a producer: callbacks that have not run yet, unreachable brokers, and calls after `close`."""

from __future__ import annotations

import threading
import time

import pytest

import ottla
from ottla.testing import Broker

NOBODY = "127.0.0.1:1"
LONG_S = 20.0


@pytest.mark.parametrize("late", [False, True])
async def test_close_waits_for_callbacks_of_single_deliveries(
    bootstrap: str, topic: str, late: bool
) -> None:
    ended = threading.Event()

    def slow(_: ottla.Delivery) -> None:
        time.sleep(0.2)
        ended.set()

    async with ottla.AsyncProducer(bootstrap) as producer:
        delivery = await producer.send(topic, b"v")
        if late:
            await producer.flush(LONG_S)
        delivery.add_done_callback(slow)
        await producer.close(LONG_S)
        assert ended.is_set()


async def test_close_without_a_reachable_broker_ends_within_its_timeout() -> None:
    producer = ottla.AsyncProducer(NOBODY)
    delivery = await producer.send("t", b"x")
    began = time.monotonic()
    assert await producer.close(0.3) == ottla.CloseReport(delivered=0, failed=1, unknown=0)
    assert 0.25 < time.monotonic() - began < 2
    assert delivery.outcome == "not_written"
    with pytest.raises(ottla.Closed):
        delivery.result(0)


@pytest.mark.embedded_only
async def test_close_after_the_request_was_written_reports_unknown() -> None:
    with Broker() as broker:
        producer = ottla.AsyncProducer(broker.bootstrap, linger_ms=0)
        await producer.send_and_wait("t", b"so that the topic is known")
        broker.delay("Produce", 5)
        delivery = await producer.send("t", b"x")
        broker.wait_for("Produce", 2, timeout=5)
        report = await producer.close(0.1)
    assert report == ottla.CloseReport(delivered=1, failed=0, unknown=1)
    assert delivery.outcome == "unknown"


async def send_until_full(producer: ottla.AsyncProducer, topic: str) -> int:
    for sent in range(10_000):
        try:
            await producer.send(topic, bytes(1_000))
        except ottla.BufferFull:
            return sent
    raise AssertionError("the buffer never fills")


async def test_unread_outcomes_stop_the_senders(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(
        bootstrap, return_successes=True, buffer_memory=100_000, batch_size=10_000, max_block_ms=200
    ) as producer:
        sent = await send_until_full(producer, topic)
        read: list[ottla.Delivery] = []
        async for delivery in producer.successes():
            read.append(delivery)
            if len(read) == sent:
                break
        await producer.send(topic, b"there is space again")


async def test_every_call_after_close_is_refused(bootstrap: str, topic: str) -> None:
    producer = ottla.AsyncProducer(bootstrap)
    await producer.close(LONG_S)
    for send in (producer.send, producer.send_and_wait):
        with pytest.raises(ottla.Closed) as caught:
            await send(topic, b"")
        assert caught.value.outcome == "not_written"
    with pytest.raises(ottla.Closed) as caught:
        producer.send_nowait(topic, b"")
    assert caught.value.outcome == "not_written"
    with pytest.raises(ottla.Closed) as caught:
        await producer.send_many(topic, [b""])
    assert caught.value.outcome == "not_written"
    with pytest.raises(ottla.Closed) as caught:
        await producer.send_many([ottla.Message(topic, b"")])
    assert caught.value.outcome == "not_written"
    await producer.flush(1)
    assert await producer.close() == ottla.CloseReport(0, 0, 0)
