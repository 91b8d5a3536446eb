"""The queue for buffer space: first come, first served, over threads and event loops; its cost is linear in its length."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import ottla
from ottla.testing import Broker

SOON_S = 15.0
VALUE = b"x" * 1000
PLUG = b"plug" * 22_500
"""Needs nearly the whole buffer: while it is first in the queue, the space that sealing frees is too small for any other message."""


@pytest.fixture
def silent() -> Iterator[Broker]:
    """A broker of one node; tests make it silent."""
    with Broker() as broker:
        broker.create_topic("t", partitions=1)
        yield broker


def eventually(check: Callable[[], bool], what: str) -> None:
    """Wait for the work of another thread."""
    until = time.monotonic() + SOON_S
    while not check():
        assert time.monotonic() < until, f"not within {SOON_S} s: {what}"
        time.sleep(0.002)


def answer_again(broker: Broker) -> None:
    """Requests without an answer: the connections end and the batches are sent again."""
    broker.clear_rules()
    broker.kill(1)
    broker.restart(1)


def fill(send: Callable[..., object], value: bytes = b"full" * 250) -> None:
    """Send until the buffer has no space for such a message."""
    with contextlib.suppress(ottla.BufferFull):
        while True:
            send("t", value)


def wait_for_senders(producer: ottla.Producer | ottla.AsyncProducer, length: int) -> None:
    """Wait until this number of senders is in the queue."""
    eventually(lambda: producer.statistics().waiting_senders == length, f"{length} senders wait")


def test_threads_are_served_in_the_order_in_which_they_came(silent: Broker) -> None:
    with ottla.Producer(silent.bootstrap, linger_ms=0, buffer_memory=100_000) as producer:
        producer.send_and_wait("t", b"first")
        silent.delay("Produce", 60.0, times=None)
        fill(producer.send_nowait)
        threads = [threading.Thread(target=producer.send, args=("t", PLUG))]
        threads[0].start()
        wait_for_senders(producer, 1)
        for number in range(30):
            thread = threading.Thread(target=producer.send, args=("t", b"%d " % number + VALUE))
            thread.start()
            threads.append(thread)
            wait_for_senders(producer, number + 2)
        answer_again(silent)
        for thread in threads:
            thread.join(SOON_S)
        assert producer.close(SOON_S).delivered == producer.statistics().accepted
    assert in_order(silent) == list(range(30))


def test_event_loops_are_served_in_the_order_in_which_they_came(silent: Broker) -> None:
    """Three event loops in threads of their own take turns in joining the queue of one producer."""
    loops = [asyncio.new_event_loop() for _ in range(3)]
    threads = [threading.Thread(target=loop.run_forever) for loop in loops]
    for thread in threads:
        thread.start()
    try:

        async def make() -> ottla.AsyncProducer:
            return ottla.AsyncProducer(silent.bootstrap, linger_ms=0, buffer_memory=100_000)

        producer = asyncio.run_coroutine_threadsafe(make(), loops[0]).result(SOON_S)

        async def one(value: bytes) -> None:
            await (await producer.send("t", value))

        asyncio.run_coroutine_threadsafe(one(b"first"), loops[0]).result(SOON_S)
        silent.delay("Produce", 60.0, times=None)
        fill(producer.send_nowait)
        sent = [asyncio.run_coroutine_threadsafe(one(PLUG), loops[0])]
        wait_for_senders(producer, 1)
        for number in range(60):
            value = b"%d " % number + VALUE
            sent.append(asyncio.run_coroutine_threadsafe(one(value), loops[number % 3]))
            wait_for_senders(producer, number + 2)
        answer_again(silent)
        for future in sent:
            future.result(SOON_S)
        asyncio.run_coroutine_threadsafe(producer.close(), loops[0]).result(SOON_S)
    finally:
        for loop, thread in zip(loops, threads, strict=True):
            loop.call_soon_threadsafe(loop.stop)
            thread.join(SOON_S)
            loop.close()
    assert in_order(silent) == list(range(60))


def in_order(broker: Broker) -> list[int]:
    """The numbers of the records, in the order of the log."""
    values = [record.value or b"" for record in broker.records("t")]
    return [int(value.split()[0]) for value in values if value.endswith(VALUE)]


async def cpu_of_a_line(bootstrap: str, length: int) -> float:
    """CPU seconds that this number of waiting tasks costs this process, from the moment that they wait."""
    async with ottla.AsyncProducer(
        bootstrap, linger_ms=0, buffer_memory=2_000_000, max_block_ms=60_000
    ) as producer:
        fill(producer.send_nowait)

        async def one(value: bytes) -> None:
            await producer.send("t", value)

        # Like PLUG, for this buffer.
        values = [bytes(1_000_000), *numbered(length)]
        tasks = [asyncio.create_task(one(value)) for value in values]
        await asyncio.sleep(0)
        before = time.process_time()
        assert producer.statistics().waiting_senders == length + 1
        await asyncio.gather(*tasks)
        assert producer.statistics().waiting_senders == 0
        return time.process_time() - before


def numbered(length: int) -> list[bytes]:
    """Values that contain their place in a queue of this length."""
    return [b"%d of %d" % (number, length) for number in range(length)]


def test_ten_thousand_waiting_tasks_cost_five_times_two_thousand(silent: Broker) -> None:
    """No thundering herd: with one, every task would wake up for every batch, and the cost would grow with the square, 25 times.

    And each of them is accepted once, in the order of the calls.
    """
    cost = {}
    for length in (2_000, 10_000):
        silent.delay("Produce", 0.5, times=1)
        cost[length] = asyncio.run(cpu_of_a_line(silent.bootstrap, length))
        values = [record.value or b"" for record in silent.records("t")]
        written = [value for value in values if value.endswith(b" of %d" % length)]
        assert written == numbered(length)
    assert cost[10_000] < 8 * max(cost[2_000], 0.03), cost
