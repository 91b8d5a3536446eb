"""`repr` of an awaitable shows its operation, and whether a task awaits it."""

from __future__ import annotations

import asyncio
import contextlib

from ottla import errors
from ottla._native import AsyncProducerBase
from tests.native.test_producer import Wire, make_flow

VALUE = bytes(1000)


def producer(wire: Wire) -> AsyncProducerBase:
    made = AsyncProducerBase()
    made._bind(wire.flow)
    return made


async def test_a_send_that_is_accepted_shows_its_delivery() -> None:
    wire = Wire(make_flow())
    sent = producer(wire).send("t", b"v")
    shown = repr(sent)
    delivery = await sent
    assert shown == f"<Awaitable, not awaited yet: gives {delivery!r}>"
    assert repr(sent) == "<Awaitable, already awaited>"


async def test_an_outcome_that_is_awaited_shows_its_delivery() -> None:
    wire = Wire(make_flow())
    made = producer(wire)
    delivery = await made.send("t", b"v")
    outcome, many = made.send_and_wait("t", b"v"), made.send_many("t", [b"v"])
    assert repr(outcome).startswith("<Awaitable, not awaited yet: the outcome of <Delivery t-")
    assert repr(many) == "<Awaitable, not awaited yet: a send_many that has accepted 0 messages>"
    task = asyncio.ensure_future(outcome)
    await asyncio.sleep(0)
    assert repr(outcome).startswith("<Awaitable, being awaited: the outcome of <Delivery t-")
    accepted = await many
    assert repr(accepted.__await__()) == "<Awaitable, not awaited yet: the outcomes of 1 batches>"
    wire.pump()
    await task
    assert repr(outcome) == "<Awaitable, already awaited>"
    assert repr(delivery.__await__()).startswith(
        "<Awaitable, not awaited yet: gives RecordMetadata(topic='t'"
    )


async def test_a_send_to_a_full_buffer_shows_its_topic_and_the_cause_of_its_wait() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=60.0))
    made = producer(wire)
    with contextlib.suppress(errors.BufferFull):
        while True:
            made.send_nowait("t", VALUE)
    for sent in (made.send("t", VALUE), made.send_and_wait("t", VALUE)):
        waits = "a send to topic t, waiting for free buffer space"
        assert repr(sent) == f"<Awaitable, not awaited yet: {waits}>"
        task = asyncio.ensure_future(sent)
        await asyncio.sleep(0)
        assert repr(sent) == f"<Awaitable, being awaited: {waits}>"
        task.cancel()
        await asyncio.wait([task])
        assert repr(sent) == "<Awaitable, already awaited>"
