"""Sends of an event loop that wait for their topic, since a function chooses the partition: they are accepted in call order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ottla import errors
from ottla._native import AsyncProducerBase
from ottla.message import Message
from ottla.seam.failures import ErrorData
from tests.native.test_producer import Wire, make_flow


def first_partition(*_: Any) -> int:
    return 0


def unknown(**changed: Any) -> tuple[Wire, AsyncProducerBase]:
    """A producer whose topic is not known yet."""
    wire = Wire(make_flow(**changed), known=False)
    producer = AsyncProducerBase()
    producer._bind(wire.flow, first_partition)
    return wire, producer


async def send(producer: AsyncProducerBase, value: bytes) -> None:
    await producer.send("t", value)


async def send_to(producer: AsyncProducerBase, value: bytes) -> None:
    await producer.send("t", value, partition=0)


async def send_and_wait(producer: AsyncProducerBase, value: bytes) -> None:
    await producer.send_and_wait("t", value)


async def send_values(producer: AsyncProducerBase, value: bytes) -> None:
    await producer.send_many("t", [value, value + b"+"])


async def send_messages(producer: AsyncProducerBase, value: bytes) -> None:
    values = [value, value + b"+", value + b"++"]
    await producer.send_many([Message("t", each, partition=0) for each in values])


async def send_mixed(producer: AsyncProducerBase, value: bytes) -> None:
    await producer.send_many([Message("t", value), Message("t", value + b"+")])


Way = Callable[[AsyncProducerBase, bytes], Coroutine[Any, Any, None]]
WAYS = [send, send_to, send_and_wait, send_values, send_messages, send_mixed]


def values(wire: Wire) -> list[bytes]:
    """The values in the log, without the later messages of a call."""
    return [record.value for record in wire.records if not record.value.endswith(b"+")]


async def ended(wire: Wire, *tasks: asyncio.Task[None]) -> None:
    """The broker answers until all of them have ended."""
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, timeout=0.001)
        wire.pump()
    for task in tasks:
        task.result()


@pytest.mark.parametrize("later", WAYS)
@pytest.mark.parametrize("first", [send, send_and_wait, send_values, send_mixed])
async def test_a_send_after_the_metadata_does_not_overtake(first: Way, later: Way) -> None:
    wire, producer = unknown()
    tasks = [asyncio.create_task(first(producer, b"first"))]
    tasks += [asyncio.create_task(send(producer, b"second"))]
    await asyncio.sleep(0)
    wire.know()
    # Runs to its first sleep before the loop is notified that the topic is known.
    tasks.append(asyncio.create_task(later(producer, b"third")))
    await asyncio.sleep(0)
    await ended(wire, *tasks)
    assert values(wire) == [b"first", b"second", b"third"]
    every = [record.value for record in wire.records]
    assert every == sorted(every), "the messages of one call stay together"
    assert type(producer.send("t", b"at once")).__name__ == "Ready"


async def test_the_place_is_taken_by_the_call() -> None:
    wire, producer = unknown()
    first, second = producer.send("t", b"first"), producer.send("t", b"second")

    async def one(sent: Any) -> None:
        await sent

    wire.know()
    await ended(wire, *(asyncio.create_task(one(sent)) for sent in (second, first)))
    assert values(wire) == [b"first", b"second"]


async def test_a_thousand_sleepers_keep_their_order() -> None:
    wire, producer = unknown()
    expected = [b"%d" % number for number in range(1000)]
    tasks = [asyncio.create_task(send(producer, value)) for value in expected[:900]]
    await asyncio.sleep(0)
    wire.know()
    tasks += [asyncio.create_task(send(producer, value)) for value in expected[900:]]
    await ended(wire, *tasks)
    assert values(wire) == expected


async def test_a_cancelled_or_closed_send_gives_its_place_up_and_a_dropped_one_keeps_it() -> None:
    wire, producer = unknown()
    cancelled = asyncio.create_task(send(producer, b"cancelled"))
    await asyncio.sleep(0)
    dropped = producer.send("t", b"dropped")
    closed = producer.send("t", b"closed")
    task = asyncio.create_task(send(producer, b"sent"))
    await asyncio.sleep(0)
    wire.know()
    cancelled.cancel()
    del dropped
    closed.close()
    await asyncio.sleep(0)
    wire.flow.advance_unawaited(True)
    await ended(wire, task)
    assert values(wire) == [b"dropped", b"sent"]
    assert cancelled.cancelled()


async def test_a_send_behind_another_waits_at_most_max_block_ms() -> None:
    wire, producer = unknown(max_block=0.02)
    not_awaited = producer.send("t", b"not awaited")
    wire.know()
    for sending in (producer.send("t", b"v"), producer.send_many("t", [b"v"])):
        with pytest.raises(errors.Timeout, match="earlier sends to topic") as raised:
            await sending
        assert raised.value.outcome == "not_written"
    not_awaited.close()
    await producer.send("t", b"v")
    assert wire.pump() == 1


async def test_a_send_that_may_not_wait_is_refused_rather_than_overtake() -> None:
    wire, producer = unknown()
    task = asyncio.create_task(send(producer, b"first"))
    await asyncio.sleep(0)
    wire.know()
    for partition in (None, 0):
        with pytest.raises(errors.Timeout, match="earlier sends to topic"):
            producer.send_nowait("t", b"second", partition=partition)
    await ended(wire, task)
    producer.send_nowait("t", b"third")
    wire.pump()
    assert values(wire) == [b"first", b"third"]


@pytest.mark.parametrize("way", [send, send_and_wait, send_values, send_mixed])
async def test_a_topic_that_cannot_be_ends_the_whole_line_at_once(way: Way) -> None:
    wire, producer = unknown()
    tasks = [asyncio.create_task(way(producer, b"v")) for _ in range(3)]
    await asyncio.sleep(0)
    wire.flow.fail_topic("t", ErrorData("broker", 29, "topic 't'"))
    for task in tasks:
        with pytest.raises(errors.KafkaError) as raised:
            await asyncio.wait_for(task, 2)
        assert (raised.value.code, raised.value.outcome) == (29, "not_written")


async def test_closing_ends_the_whole_line() -> None:
    _, producer = unknown()
    tasks = [asyncio.create_task(way(producer, b"v")) for way in (send, send_to, send_values)]
    await asyncio.sleep(0)
    producer._stop_accepting()
    for task in tasks:
        with pytest.raises(errors.Closed):
            await asyncio.wait_for(task, 2)


async def test_from_one_line_to_the_other_nobody_overtakes() -> None:
    wire, producer = unknown(buffer_bytes=20_000, batch_bytes=4_000)
    expected = [b"%03d" % number + bytes(1000) for number in range(60)]
    tasks = [asyncio.create_task(send(producer, value)) for value in expected[:40]]
    await asyncio.sleep(0)
    wire.know()
    tasks += [asyncio.create_task(send(producer, value)) for value in expected[40:]]
    await ended(wire, *tasks)
    assert values(wire) == expected
