"""Calls from inside callbacks, waits from several loops and threads, and a `close` that ends every wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import ottla
from ottla.testing import Broker

NOBODY = "127.0.0.1:1"
LONG_S = 20.0


# ---- inside a callback -----------------------------------------------------------------------------------------------


def calls_in_a_callback(
    bootstrap: str, topic: str, call: Callable[[ottla.Producer], Any], **options: Any
) -> Any:
    """The result or error of `call(producer)`, called by `on_delivery` of the first message."""
    given: list[Any] = []
    returned = threading.Event()

    def on_delivery(_: ottla.Delivery) -> None:
        if returned.is_set():
            return
        try:
            given.append(call(producer))
        except ottla.Error as error:
            given.append(error)
        returned.set()

    producer = ottla.Producer(bootstrap, on_delivery=on_delivery, **options)
    producer.send(topic, b"first").result(LONG_S)
    assert returned.wait(LONG_S)
    producer.close(LONG_S)
    return given[0]


def test_send_in_a_callback(bootstrap: str, topic: str) -> None:
    delivery = calls_in_a_callback(bootstrap, topic, lambda producer: producer.send(topic, b"2"))
    assert delivery.result(LONG_S).offset == 1


def test_waiting_for_an_outcome_in_a_callback(bootstrap: str, topic: str) -> None:
    metadata = calls_in_a_callback(
        bootstrap, topic, lambda producer: producer.send_and_wait(topic, b"2")
    )
    assert metadata.offset == 1


def test_flush_in_a_callback(bootstrap: str, topic: str) -> None:
    def flush(producer: ottla.Producer) -> ottla.Delivery:
        delivery = producer.send(topic, b"2")
        producer.flush(LONG_S)
        return delivery

    assert calls_in_a_callback(bootstrap, topic, flush).done()


def test_close_in_a_callback(bootstrap: str, topic: str) -> None:
    def close(producer: ottla.Producer) -> ottla.CloseReport:
        producer.send(topic, b"2")
        return producer.close(LONG_S)

    assert calls_in_a_callback(bootstrap, topic, close).delivered == 2


def test_send_in_a_callback_with_a_full_buffer_is_refused_at_once(
    bootstrap: str, topic: str
) -> None:
    def fill(producer: ottla.Producer) -> None:
        for _ in range(10_000):
            producer.send(topic, bytes(1_000))

    began = time.monotonic()
    # One batch as large as the buffer, so nothing is sent before the buffer is full.
    lingering = {"buffer_memory": 100_000, "batch_size": 100_000, "linger_ms": 60_000}
    error = calls_in_a_callback(bootstrap, topic, fill, max_block_ms=600_000, **lingering)
    assert isinstance(error, ottla.BufferFull)
    assert time.monotonic() - began < LONG_S


def test_a_callback_reaches_into_a_loop(bootstrap: str, topic: str) -> None:
    async def main() -> list[Any]:
        queue: asyncio.Queue[ottla.Delivery] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def on_delivery(delivery: ottla.Delivery) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, delivery)

        async with ottla.AsyncProducer(bootstrap, on_delivery=on_delivery) as producer:
            for number in range(10):
                await producer.send(topic, b"%d" % number)
            return [(await asyncio.wait_for(queue.get(), LONG_S)).offset for _ in range(10)]

    assert asyncio.run(main()) == list(range(10))


# ---- one delivery, many waiters ---------------------------------------------------------------------------------------


def awaits(delivery: Any, *, cancelled: bool = False) -> Any:
    """Its outcome, awaited in an event loop of its own, or the error of a cancelled wait."""

    async def main() -> Any:
        task = asyncio.ensure_future(wait())
        if cancelled:
            await asyncio.sleep(0)
            task.cancel()
            return (await asyncio.gather(task, return_exceptions=True))[0]
        return await asyncio.wait_for(task, LONG_S)

    async def wait() -> Any:
        return await delivery

    return asyncio.run(main())


@pytest.mark.embedded_only
def test_threads_and_loops_wait_for_one_delivery_at_once() -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"so that the topic is known")
        broker.delay("Produce", 0.4)
        delivery = producer.send("t", b"x")
        called: list[ottla.Delivery] = []
        delivery.add_done_callback(called.append)
        with ThreadPoolExecutor(8) as threads:
            cancelled = [threads.submit(awaits, delivery, cancelled=True) for _ in range(2)]
            late = threads.submit(delivery.exception, 0.01)
            waits = [threads.submit(awaits, delivery) for _ in range(2)]
            waits += [threads.submit(delivery.result, LONG_S) for _ in range(2)]
            assert [wait.result().offset for wait in waits] == [1] * 4
        assert all(isinstance(wait.result(), asyncio.CancelledError) for wait in cancelled)
        assert isinstance(late.exception(), ottla.Timeout)
        assert delivery.exception() is None
        producer.flush()
    assert called == [delivery]


def test_cancelling_a_wait_does_not_cancel_the_message(bootstrap: str, topic: str) -> None:
    async def give_up(awaitable: Any) -> None:
        wait = asyncio.ensure_future(awaitable)
        # A turn of the loop: long enough to begin the wait, too short for an answer.
        await asyncio.sleep(0)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait

    async def main() -> Any:
        async with ottla.AsyncProducer(bootstrap) as producer:
            delivery = await producer.send(topic, b"x")
            await give_up(delivery)
            many = await producer.send_many(topic, [b"y"] * 3)
            await give_up(many)
        return delivery.result(0).offset, many.result(0).offsets

    assert asyncio.run(main()) == (0, [1, 2, 3])


# ---- several readers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readers", [1, 3])
def test_threads_share_the_outcomes(bootstrap: str, topic: str, readers: int) -> None:
    producer = ottla.Producer(bootstrap, return_successes=True)
    with ThreadPoolExecutor(readers) as threads:
        reads = [threads.submit(lambda: list(producer.successes())) for _ in range(readers)]
        for number in range(3_000):
            producer.send(topic, b"%d" % number)
        producer.close(LONG_S)
        parts = [read.result(LONG_S) for read in reads]
    offsets = [delivery.offset for part in parts for delivery in part]
    assert sorted(offset or 0 for offset in offsets) == list(range(3_000))


def test_tasks_share_the_outcomes_and_a_cancelled_reader_loses_none(
    bootstrap: str, topic: str
) -> None:
    seen: list[int | None] = []

    async def read(producer: ottla.AsyncProducer) -> None:
        async for delivery in producer.successes():
            seen.append(delivery.offset)  # noqa: PERF401  # one by one, as a reader does

    async def main() -> None:
        producer = ottla.AsyncProducer(bootstrap, return_successes=True)
        tasks = [asyncio.ensure_future(read(producer)) for _ in range(3)]
        for number in range(1_000):
            await producer.send(topic, b"%d" % number)
        await asyncio.sleep(0)
        tasks[0].cancel()
        await producer.close(LONG_S)
        await asyncio.wait_for(asyncio.gather(*tasks[1:]), LONG_S)
        assert [delivery async for delivery in producer.successes()] == [], (
            "the outcomes have ended"
        )

    asyncio.run(main())
    assert sorted(offset or 0 for offset in seen) == list(range(1_000))


def test_failures_are_read_in_both_worlds() -> None:
    with ottla.Producer(NOBODY, return_errors=True) as producer:
        sent = [producer.send("t", b"x") for _ in range(5)]
        producer.close(0)
    assert list(producer.errors()) == sent

    async def main() -> None:
        async with ottla.AsyncProducer(NOBODY, return_errors=True) as producer:
            sent = [await producer.send("t", b"x") for _ in range(5)]
            await producer.close(0)
        assert [delivery async for delivery in producer.errors()] == sent

    asyncio.run(main())


# ---- close -----------------------------------------------------------------------------------------------------------


def test_close_from_another_thread_ends_every_wait() -> None:
    producer = ottla.Producer(NOBODY, buffer_memory=20_000, max_block_ms=60_000, return_errors=True)
    delivery = producer.send("t", b"x")
    many = producer.send_many("t", [b"x"] * 3)

    def fill() -> None:
        while True:
            producer.send("t", bytes(1_000))

    with ThreadPoolExecutor(6) as threads:
        waits: list[Future[Any]] = [
            threads.submit(fill),
            threads.submit(delivery.result),
            threads.submit(many.result),
            threads.submit(producer.flush),
            threads.submit(lambda: len(list(producer.errors()))),
            threads.submit(producer.close, LONG_S),
        ]
        time.sleep(0.1)
        report = producer.close(0)
        ended = [wait.exception(LONG_S) for wait in waits]
    assert [type(error) for error in ended[:3]] == [ottla.Closed] * 3
    assert ended[3:] == [None] * 3
    assert waits[4].result() == report.failed
    assert waits[5].result() == report
