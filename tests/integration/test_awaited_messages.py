"""A message that a caller waits for does not linger, in threads and in event loops, and is still sent in large batches."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

import pytest

import ottla

LINGER_MS = 60_000
SOON_S = 20


def linger(bootstrap: str) -> ottla.Producer:
    return ottla.Producer(bootstrap, linger_ms=LINGER_MS)


def wait_by_result(producer: ottla.Producer, topic: str) -> None:
    producer.send(topic, b"v").result(SOON_S)


def wait_by_exception(producer: ottla.Producer, topic: str) -> None:
    assert producer.send(topic, b"v").exception(SOON_S) is None


def wait_for_many(producer: ottla.Producer, topic: str) -> None:
    producer.send_many(topic, [b"v", b"w"]).result(SOON_S)


def wait_with_send(producer: ottla.Producer, topic: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(producer.send_and_wait, topic, b"v").result(SOON_S)


@pytest.mark.parametrize("wait", [wait_by_result, wait_by_exception, wait_for_many, wait_with_send])
def test_a_thread_that_waits_ends_the_linger(
    bootstrap: str, topic: str, wait: Callable[[ottla.Producer, str], None]
) -> None:
    with linger(bootstrap) as producer:
        for _ in range(3):
            wait(producer, topic)


async def await_delivery(producer: ottla.AsyncProducer, topic: str) -> None:
    await (await producer.send(topic, b"v"))


async def await_many(producer: ottla.AsyncProducer, topic: str) -> None:
    await (await producer.send_many(topic, [b"v", b"w"]))


async def await_send(producer: ottla.AsyncProducer, topic: str) -> None:
    await producer.send_and_wait(topic, b"v")


@pytest.mark.parametrize("wait", [await_delivery, await_many, await_send])
async def test_a_task_that_waits_ends_the_linger(
    bootstrap: str,
    topic: str,
    wait: Callable[[ottla.AsyncProducer, str], Coroutine[None, None, None]],
) -> None:
    async with ottla.AsyncProducer(bootstrap, linger_ms=LINGER_MS) as producer:
        for _ in range(3):
            await asyncio.wait_for(wait(producer, topic), SOON_S)


async def test_tasks_of_one_turn_of_the_loop_share_a_batch(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(bootstrap, linger_ms=LINGER_MS) as producer:
        await asyncio.wait_for(producer.send_and_wait(topic, b"first"), SOON_S)
        before = producer.statistics().batches
        waits = (producer.send_and_wait(topic, b"%d" % number) for number in range(500))
        written = await asyncio.wait_for(asyncio.gather(*waits), SOON_S)
        assert [metadata.offset for metadata in written] == list(range(1, 501))
        assert producer.statistics().batches == before + 1


def test_one_wait_covers_several_partitions(
    bootstrap: str, make_topic: Callable[[int], str]
) -> None:
    topic = make_topic(4)
    with linger(bootstrap) as producer:
        deliveries = [producer.send(topic, b"v", partition=number) for number in range(4)]
        for delivery in deliveries:
            delivery.result(SOON_S)


def test_the_awaited_result_equals_one_made_by_the_class(bootstrap: str, topic: str) -> None:
    with linger(bootstrap) as producer:
        written = producer.send_and_wait(topic, b"v", timestamp_ms=1)
    plain = ottla.RecordMetadata(topic, 0, 0, 1)
    assert type(written) is ottla.RecordMetadata
    assert written == plain
    assert hash(written) == hash(plain)
    assert repr(written) == repr(plain)
    assert pickle.loads(pickle.dumps(written)) == copy.deepcopy(written) == plain
    assert written._replace(offset=1).offset == 1


def test_other_messages_linger(
    bootstrap: str, topic: str, make_topic: Callable[[int], str]
) -> None:
    other = make_topic(1)
    with linger(bootstrap) as producer:
        lingers = producer.send(other, b"v")
        producer.send_and_wait(topic, b"v", timestamp_ms=1)
        assert lingers.outcome is None
        with pytest.raises(ottla.Timeout):
            lingers.result(0)
        assert not lingers.done()
        producer.flush()
        assert lingers.outcome == "written"
