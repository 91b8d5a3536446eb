"""Asynchronous sends without an await: with free buffer space or without, their messages are sent."""

from __future__ import annotations

import asyncio
import time
import warnings

import pytest

import ottla
from ottla.testing import Broker
from tests.fixtures.logged import Logged

SOON_S = 15.0
COUNT = 90


def send_without_an_await(producer: ottla.AsyncProducer, count: int) -> None:
    """A program that awaits nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(count):
            producer.send("t", b"%03d" % number + bytes(1000), partition=0)  # type: ignore[unused-coroutine]


def send_many_without_an_await(producer: ottla.AsyncProducer, count: int) -> None:
    for _ in range(count):
        producer.send_many("t", [b"x"])  # type: ignore[unused-coroutine]


def sent(broker: Broker) -> list[int]:
    """The numbers in the log, in order."""
    with ottla.Consumer(broker.bootstrap) as consumer:
        consumer.assign([("t", 0)])
        consumer.seek_to_beginning()
        records: list[ottla.Record] = []
        while len(records) < COUNT:
            polled = consumer.poll(timeout=SOON_S)
            assert polled, f"{len(records)} of {COUNT} messages are there"
            records += polled
        return [int((record.value or b"")[:3]) for record in records]


@pytest.mark.parametrize("ending", ["flush", "close", "block", "close_nowait"])
@pytest.mark.parametrize("buffer_memory", [60_000, 1_000_000])
async def test_every_message_is_sent_in_order(
    buffer_memory: int, ending: str, logged: Logged
) -> None:
    with Broker() as broker:
        broker.create_topic("t", partitions=1)
        producer = ottla.AsyncProducer(broker.bootstrap, buffer_memory=buffer_memory, linger_ms=50)
        async with producer:
            send_without_an_await(producer, COUNT)
            if ending == "flush":
                await producer.flush(SOON_S)
                assert producer.statistics().delivered == COUNT
            elif ending == "close":
                report = await producer.close(SOON_S)
                assert report == ottla.CloseReport(COUNT, 0, 0)
            elif ending == "close_nowait":
                producer.close_nowait(SOON_S)
        assert await asyncio.to_thread(sent, broker) == list(range(COUNT))
    assert not logged("batch.failed")


async def test_a_message_that_finds_no_space_in_time_fails_in_the_log(logged: Logged) -> None:
    failed: list[ottla.Delivery] = []
    async with ottla.AsyncProducer(
        "127.0.0.1:1",
        buffer_memory=60_000,
        max_block_ms=100,
        on_delivery=failed.append,
        client_id="orders",
    ) as producer:
        send_without_an_await(producer, COUNT)
        until = time.monotonic() + SOON_S
        while len(failed) < 20:
            assert time.monotonic() < until, "no message fails"
            await asyncio.sleep(0.01)
        assert {(each.outcome, type(each.error)) for each in failed} == {
            ("not_written", ottla.BufferFull)
        }
        await producer.close(0)
    assert len(failed) == COUNT
    assert logged("batch.failed", client="producer orders", topic="t", error="BufferFull")


async def test_a_send_many_that_is_not_awaited_is_one_line_in_the_log(logged: Logged) -> None:
    async with ottla.AsyncProducer("127.0.0.1:1", client_id="orders") as producer:
        with pytest.warns(RuntimeWarning, match="AsyncProducer.send_many was never awaited"):
            send_many_without_an_await(producer, 200)
        until = time.monotonic() + SOON_S
        while not logged("send_many.never_awaited"):
            assert time.monotonic() < until, "nothing is logged"
            await asyncio.sleep(0.01)
        assert producer.statistics().accepted == 0
    counts = [record.__dict__["count"] for record in logged("send_many.never_awaited")]
    assert sum(counts) == 200
    assert logged("send_many.never_awaited", client="producer orders", topic="t")
