"""`send_many` of messages: several topics in one call, driven by hand."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from ottla import _native, errors
from ottla._native import AsyncProducerBase, Deliveries, ProducerBase
from ottla.message import Message
from tests.native.test_producer import CONN, NOW_US, Wire, bound, fill, make_flow


@pytest.fixture
def wire() -> Wire:
    made = Wire(make_flow())
    made.flow.set_topic("u", bytes(16), 2, [0, 1])
    for partition in range(2):
        made.flow.route("u", partition, CONN)
    return made


@pytest.fixture
def producer(wire: Wire) -> ProducerBase:
    return bound(wire.flow)


def of_the_loop(wire: Wire, partitioner: Any = None) -> AsyncProducerBase:
    made = AsyncProducerBase()
    made._bind(wire.flow, partitioner)
    return made


MESSAGES = [
    Message("t", b"1", key="k", partition=1, timestamp_ms=5, headers=[("h", b"v")]),
    Message("u", "2", partition=0),
    Message("t", None, partition=1, timestamp_ms=7, metadata={"n": 1}),
]


def check(wire: Wire, many: Deliveries) -> None:
    assert (len(many), many.done()) == (3, False)
    assert wire.pump() == 3
    assert many.result(0) is many
    assert [delivery.topic for delivery in many] == ["t", "u", "t"]
    assert [delivery.partition for delivery in many] == [1, 0, 1]
    assert many[0].timestamp_ms == 5
    assert many[1].timestamp_ms > 7
    assert many[2].result().timestamp_ms == 7
    first = next(record for record in wire.records if record.value == b"1")
    assert (first.key, list(first.headers), first.timestamp) == (b"k", [("h", b"v")], 5)


def test_messages_have_their_own_topics(wire: Wire, producer: ProducerBase) -> None:
    check(wire, producer.send_many(iter(MESSAGES)))


async def test_messages_have_their_own_topics_in_a_loop(wire: Wire) -> None:
    check(wire, await of_the_loop(wire).send_many(MESSAGES))


def test_none_at_all(producer: ProducerBase) -> None:
    assert len(producer.send_many([])) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("t", "abc"), "values must be an iterable of values, not one str"),
        (("t", b"abc"), "not one bytes"),
        (("t", bytearray(b"abc")), "not one bytearray"),
        (("t", memoryview(b"abc")), "not one memoryview"),
        (("t", [b"a"], "k"), "keys must be an iterable"),
        (("t",), "takes a topic and its values"),
        (([MESSAGES[0]], None, [b"k"]), "takes no keys"),
        (([b"a"],), "takes ottla.Message, not bytes"),
        ((5,), "an iterable of ottla.Message, not int"),
    ],
)
def test_wrong_forms_are_named_and_nothing_is_sent(
    wire: Wire, producer: ProducerBase, arguments: Any, says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        producer.send_many(*arguments)
    assert wire.flow.undelivered() == 0
    with pytest.raises(TypeError, match=says):
        asyncio.run(awaited(of_the_loop(wire), arguments))
    assert wire.flow.undelivered() == 0


async def awaited(producer: AsyncProducerBase, arguments: Any) -> None:
    await producer.send_many(*arguments)


def broken() -> Iterator[Message]:
    yield Message("t", b"1")
    yield Message("u", b"2")
    raise LookupError("no more")


def test_an_early_end_reports_the_accepted_messages(wire: Wire, producer: ProducerBase) -> None:
    with pytest.raises(LookupError) as caught:
        producer.send_many(broken())
    assert len(caught.value.accepted) == 2  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="value must be") as wrong:
        producer.send_many([Message("t", b"1"), Message("t", 5)])  # type: ignore[arg-type]
    assert len(wrong.value.accepted) == 1  # type: ignore[attr-defined]
    assert wire.pump() == 3


def test_each_message_is_partitioned_among_its_topics_partitions(wire: Wire) -> None:
    asked: list[tuple[str, int]] = []

    def choose(topic: str, _key: bytes | None, _value: bytes | None, count: int) -> int:
        asked.append((topic, count))
        return 1

    producer = ProducerBase()
    producer._bind(wire.flow, choose)
    many = producer.send_many([Message("u", b"1"), Message("t", b"2"), Message("t", partition=0)])
    assert asked == [("u", 2), ("t", 2)]
    assert [delivery.partition for delivery in many] == [1, 1, 0]


async def test_a_loop_waits_for_each_topic_and_keeps_the_order() -> None:
    wire = Wire(make_flow(), known=False)
    producer = of_the_loop(wire, lambda *_: 1)
    sending = asyncio.ensure_future(producer.send_many([Message("t", b"%d" % n) for n in range(3)]))
    await asyncio.sleep(0)
    assert wire.flow.undelivered() == 0
    wire.know()
    assert len(await asyncio.wait_for(sending, 5)) == 3
    wire.pump()
    assert [record.value for record in wire.records] == [b"0", b"1", b"2"]


async def test_a_loop_gives_up_a_topic_after_max_block() -> None:
    wire = Wire(make_flow(max_block=0.02), known=False)
    with pytest.raises(errors.Timeout, match="not known yet") as caught:
        await of_the_loop(wire, lambda *_: 1).send_many([Message("t", b"1")])
    assert caught.value.accepted is not None
    assert len(caught.value.accepted) == 0


async def test_a_loop_waits_for_buffer_space_message_by_message() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=20.0))
    producer = of_the_loop(wire)
    sending = asyncio.ensure_future(
        producer.send_many([Message("t", bytes(1000), timestamp_ms=n) for n in range(100)])
    )
    pumped = 0
    while not sending.done():
        await asyncio.sleep(0)
        pumped += wire.pump()
    _native.tick(wire.flow, NOW_US + 1)
    many = sending.result()
    pumped += wire.pump()
    assert pumped == 100
    assert [delivery.timestamp_ms for delivery in many] == list(range(100))


async def send_one_more(wire: Wire, in_loop: bool) -> None:
    if in_loop:
        await of_the_loop(wire).send_many([Message("t", bytes(1000))])
    else:
        bound(wire.flow).send_many([Message("t", bytes(1000))])


@pytest.mark.parametrize("in_loop", [False, True])
async def test_no_free_buffer_space_within_max_block(in_loop: bool) -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=0.02))
    taken = fill(bound(wire.flow))
    with pytest.raises(errors.BufferFull) as caught:
        await send_one_more(wire, in_loop)
    assert caught.value.accepted is not None
    assert len(caught.value.accepted) == 0
    assert wire.flow.undelivered() == taken


# ---- metadata --------------------------------------------------------------------------------------------------------


class Thing:
    """Given as metadata."""


@pytest.mark.parametrize("kept", [False, True])
def test_metadata_comes_back_with_each_outcome(kept: bool) -> None:
    wire = Wire(make_flow(return_successes=kept))
    things = [Thing(), Thing()]
    given = [None, things[0], None, None, things[1]]
    many = bound(wire.flow).send_many([Message("t", b"", metadata=each) for each in given])
    wire.pump()
    assert [each.metadata for each in many] == given
    assert many[-1].metadata is things[1]
    assert many[1].headers is None


async def test_metadata_of_a_message_that_waited_for_buffer_space_comes_back() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=20.0))
    producer = of_the_loop(wire)
    fill(bound(wire.flow))
    thing = Thing()
    sending = asyncio.ensure_future(
        producer.send_many([Message("t", bytes(1000), metadata=thing), Message("t", b"")])
    )
    await asyncio.sleep(0)
    wire.pump()
    many = await sending
    assert [each.metadata for each in many] == [thing, None]


def test_a_cycle_through_metadata_is_collected(producer: ProducerBase) -> None:
    thing = Thing()
    thing.many = producer.send_many([Message("t", b"", metadata=thing)])  # type: ignore[attr-defined]
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None


# ---- refusals ----------------------------------------------------------------------------------------------------------


def test_a_refusal_names_its_place() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=0.0))
    producer = bound(wire.flow)
    with pytest.raises(errors.MessageTooLarge, match="buffer_memory allows") as too_large:
        producer.send("t", bytes(30_000), partition=1)
    fill(producer)
    with pytest.raises(errors.BufferFull) as full:
        producer.send_many([Message("t", bytes(1000), partition=0)])
    assert isinstance(full.value.accepted, Deliveries)
    with pytest.raises(errors.BufferFull) as alone:
        producer.send("t", bytes(1000))
    assert alone.value.accepted is None
    places = [(each.value.topic, each.value.partition) for each in (too_large, full, alone)]
    assert places == [("t", 1), ("t", 0), ("t", None)]


async def test_a_refusal_after_a_wait_names_its_place() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=0.01))
    fill(bound(wire.flow))
    producer = of_the_loop(wire)
    for sending in (
        producer.send("t", bytes(1000), partition=1),
        producer.send_many([Message("t", bytes(1000), partition=1)]),
    ):
        with pytest.raises(errors.BufferFull) as full:
            await sending
        assert (full.value.topic, full.value.partition) == ("t", 1)
