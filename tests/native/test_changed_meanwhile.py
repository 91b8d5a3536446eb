"""`send` sends the arguments of its call, also where it waits in an event loop while the caller changes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ottla import errors
from ottla._native import AsyncProducerBase
from tests.native.test_producer import Wire, make_flow

PATIENCE = 10.0
FOREVER = 3600.0


def waits_for_space() -> tuple[Wire, AsyncProducerBase, Callable[[], None]]:
    """Return a producer whose buffer is full, and a function that frees space in it."""
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=FOREVER))
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    with contextlib.suppress(errors.BufferFull):
        while True:
            producer.send_nowait("t", bytes(1000))

    def go() -> None:
        wire.pump()

    return wire, producer, go


def waits_for_its_topic() -> tuple[Wire, AsyncProducerBase, Callable[[], None]]:
    """Return a producer that does not know its topic yet, and a function that gives it the topic."""
    wire = Wire(make_flow(max_block=FOREVER), known=False)
    producer = AsyncProducerBase()
    producer._bind(wire.flow, lambda *_: 0)
    return wire, producer, wire.know


Call = Callable[[AsyncProducerBase, dict[str, Any]], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "send": lambda producer, given: producer.send("t", **given),
    "send_and_wait": lambda producer, given: producer.send_and_wait("t", **given),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("waits", [waits_for_space, waits_for_its_topic])
@pytest.mark.parametrize("view", [bytearray, lambda data: memoryview(bytearray(data))])
async def test_reusing_a_buffer_changes_no_waiting_message(
    name: str,
    waits: Callable[[], tuple[Wire, AsyncProducerBase, Callable[[], None]]],
    view: Callable[[bytes], Any],
) -> None:
    wire, producer, go = waits()
    value, key, header = view(b"value" * 200), view(b"key"), view(b"header")
    headers = [("h", header), ("none", None), ("text", "é")]
    sending = asyncio.ensure_future(
        CALLS[name](producer, {"value": value, "key": key, "headers": headers})
    )
    await asyncio.sleep(0)
    assert not sending.done()
    value[:], key[:], header[:] = b"other" * 200, b"new", b"change"
    headers.clear()
    go()
    async with asyncio.timeout(PATIENCE):
        while not sending.done():
            await asyncio.sleep(0)
            wire.pump()
    sending.result()
    wire.pump()
    record = wire.records[-1]
    assert (record.value, record.key) == (b"value" * 200, b"key")
    assert list(record.headers) == [("h", b"header"), ("none", None), ("text", "é".encode())]
