"""`send_many` in an event loop: each wait of a call is woken, also one that begins when the call polls the wait before it a second time.

Space or a topic can become available between a poll and the registration with the loop. The next poll then proceeds to the
next wait, for which the call has registered no reader yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ottla._native import AsyncProducerBase, Deliveries
from ottla.message import Message
from tests.native.test_producer import Wire, make_flow

PATIENCE = 10.0
FOREVER = 3600.0


async def at_the_registration(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object], sending: Awaitable[Deliveries]
) -> Deliveries:
    """Send in a loop that has no bridge yet; `happens` right before its first registration."""
    loop = asyncio.get_running_loop()
    add_reader = loop.add_reader

    def adding(*args: Any) -> None:
        monkeypatch.undo()
        happens()
        add_reader(*args)

    monkeypatch.setattr(loop, "add_reader", adding)
    return await sending


def values(topic: str, count: int) -> tuple[object, ...]:
    return topic, [bytes(1000)] * count


def messages(topic: str, count: int) -> tuple[object, ...]:
    return ([Message(topic, bytes(1000)) for _ in range(count)],)


@pytest.mark.parametrize("form", [values, messages])
async def test_a_call_waits_again_after_space_came_before_the_registration(
    form: Callable[[str, int], tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=FOREVER))
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    sending = asyncio.ensure_future(
        at_the_registration(monkeypatch, wire.pump, producer.send_many(*form("t", 60)))
    )
    async with asyncio.timeout(PATIENCE):
        while not sending.done():
            await asyncio.sleep(0)
            wire.pump()
    assert len(sending.result()) == 60


async def test_a_call_waits_again_after_a_topic_came_before_the_registration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Wire(make_flow(max_block=FOREVER), known=False)
    producer = AsyncProducerBase()
    producer._bind(wire.flow, lambda *_: 1)
    several = producer.send_many([Message("t", b"1"), Message("u", b"2")])
    sending = asyncio.ensure_future(at_the_registration(monkeypatch, wire.know, several))
    await asyncio.sleep(0)
    assert not sending.done()
    wire.flow.set_topic("u", bytes(16), 2, [0, 1])
    many = await asyncio.wait_for(sending, PATIENCE)
    assert [(delivery.topic, delivery.partition) for delivery in many] == [("t", 1), ("u", 1)]


async def test_a_call_waits_for_buffer_space_after_its_topic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=FOREVER), known=False)
    producer = AsyncProducerBase()
    producer._bind(wire.flow, lambda *_: 1)
    many = producer.send_many("t", [bytes(1000)] * 60)
    sending = asyncio.ensure_future(at_the_registration(monkeypatch, wire.know, many))
    async with asyncio.timeout(PATIENCE):
        while not sending.done():
            await asyncio.sleep(0)
            wire.pump()
    assert [delivery.partition for delivery in sending.result()] == [1] * 60
