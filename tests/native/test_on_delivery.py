"""`on_delivery` of single sends, driven by hand: the test is the broker and the dispatcher."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from ottla import errors
from ottla._native import AsyncProducerBase, Delivery, ProduceFlow, ProducerBase
from ottla.message import Message
from ottla.producer.interceptors import Interceptors, ProducerInterceptor
from ottla.seam.failures import ErrorData
from ottla.seam.producing import OutcomesReady
from tests.native.test_producer import Wire, bound, make_flow

VALUE = bytes(1000)


def report(flow: ProduceFlow) -> list[Delivery]:
    """Call the callbacks of the messages, as the dispatcher does; the deliveries for those of the whole producer."""
    every: list[Delivery] = []
    while (batch := flow.next_report()) is not None:
        every += batch[0]
        for callback, delivery in batch[1]:
            callback(delivery)
    return every


def used(wire: Wire) -> int:
    count: int = wire.flow.statistics().buffered_bytes
    return count


def of_loop(flow: ProduceFlow, *more: Any) -> AsyncProducerBase:
    made = AsyncProducerBase()
    made._bind(flow, *more)
    return made


Send = Callable[[Any, Callable[[Delivery], object] | None], Any]
THREAD: dict[str, Send] = {
    "send": lambda producer, f: producer.send("t", b"v", on_delivery=f),
    "send by position": lambda producer, f: producer.send("t", b"v", b"k", None, 0, 5, None, f),
    "send_nowait": lambda producer, f: producer.send_nowait("t", b"v", on_delivery=f),
    "send_many": lambda producer, f: producer.send_many("t", [b"v"], on_delivery=f),
    "send_many with keys": lambda producer, f: producer.send_many("t", [b"v"], [b"k"], f),
    "send_many of messages": lambda producer, f: producer.send_many(
        [Message("t", b"v")], on_delivery=f
    ),
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", THREAD)
def test_a_callback_gets_the_delivery_of_its_message_once(name: str, known: bool) -> None:
    wire = Wire(make_flow(), known=known)
    producer = bound(wire.flow)
    called: list[Delivery] = []
    THREAD[name](producer, called.append)
    producer.send("t", b"without one")
    assert called == []
    wire.know()
    wire.pump()
    assert OutcomesReady() in wire.flow.drain()
    assert report(wire.flow) == [], "the producer has no callbacks"
    assert [(delivery.value, delivery.outcome) for delivery in called] == [(b"v", "written")]
    assert wire.flow.drain() == []
    assert used(wire) == 0


@pytest.mark.parametrize("name", [name for name in THREAD if name != "send by position"])
async def test_a_callback_of_an_asynchronous_send(name: str) -> None:
    wire = Wire(make_flow())
    called: list[Delivery] = []
    sent = THREAD[name](of_loop(wire.flow), called.append)
    if name != "send_nowait":
        await sent
    wire.pump()
    report(wire.flow)
    assert [(delivery.value, delivery.outcome) for delivery in called] == [(b"v", "written")]


async def test_callbacks_of_send_and_wait() -> None:
    wire = Wire(make_flow())
    called: list[Delivery] = []
    waiting = of_loop(wire.flow).send_and_wait("t", b"v", on_delivery=called.append)
    wire.pump()
    metadata = await waiting
    report(wire.flow)
    assert [delivery.offset for delivery in called] == [metadata.offset]


def test_none_is_no_callback() -> None:
    wire = Wire(make_flow())
    producer = bound(wire.flow)
    producer.send("t", b"v", on_delivery=None)
    producer.send_many("t", [b"v"], on_delivery=None)
    wire.pump()
    assert not wire.flow.reports_outcomes()
    assert wire.flow.next_report() is None


async def a_coroutine(_: Delivery) -> None: ...


@pytest.mark.parametrize("wrong", [5, "f", a_coroutine])
@pytest.mark.parametrize("name", THREAD)
def test_an_object_that_is_not_callable_is_refused_and_nothing_is_accepted(
    name: str, wrong: Any
) -> None:
    wire = Wire(make_flow())
    with pytest.raises(TypeError, match="on_delivery: expected a"):
        THREAD[name](bound(wire.flow), wrong)
    assert wire.flow.undelivered() == 0


def test_a_callback_gets_failures_too() -> None:
    wire = Wire(make_flow())
    called: list[Delivery] = []
    bound(wire.flow).send("t", b"v", on_delivery=called.append)
    wire.flow.abort_all(ErrorData("closed", 0, "given up"))
    report(wire.flow)
    assert [(each.outcome, type(each.error)) for each in called] == [("not_written", errors.Closed)]


def test_callbacks_run_in_the_order_of_the_calls() -> None:
    wire = Wire(make_flow())
    producer = bound(wire.flow)
    called: list[bytes] = []
    for number in range(50):
        with_one = (lambda delivery: called.append(delivery.value)) if number % 3 else None
        producer.send("t", b"%02d" % number, partition=0, on_delivery=with_one)
    wire.pump()
    report(wire.flow)
    assert called == [b"%02d" % number for number in range(50) if number % 3]


def test_its_batch_counts_against_the_buffer_until_the_callback_has_returned() -> None:
    wire = Wire(make_flow(buffer_bytes=60_000))
    producer = bound(wire.flow)
    called: list[Delivery] = []
    with contextlib.suppress(errors.BufferFull):
        while True:
            producer.send_nowait("t", VALUE, partition=0, on_delivery=called.append)
            wire.pump()
    assert used(wire) > 50_000
    before = used(wire)
    taken = wire.flow.next_report()
    assert taken is not None
    assert used(wire) == before, "its callbacks have not run yet"
    report(wire.flow)
    assert used(wire) == 0
    producer.send_nowait("t", b"there is space again")


def test_a_batch_without_a_callback_leaves_the_buffer_with_its_answer() -> None:
    wire = Wire(make_flow(buffer_bytes=60_000))
    producer = bound(wire.flow)
    producer.send("t", VALUE, partition=1, on_delivery=print)
    for _ in range(200):
        producer.send_nowait("t", VALUE, partition=0)
        wire.pump()
    assert 0 < used(wire) < 20_000, "only the batch of the one message stays"
    assert wire.flow.next_report() is not None
    assert wire.flow.next_report() is None
    assert used(wire) == 0


@pytest.mark.parametrize("reader_first", [True, False])
def test_readers_and_the_producers_callbacks_get_the_outcome_too(reader_first: bool) -> None:
    wire = Wire(make_flow(report_outcomes=True, return_successes=True))
    producer = bound(wire.flow)
    called: list[Delivery] = []
    sent = [
        producer.send("t", b"v", partition=0, on_delivery=called.append),
        producer.send("t", b"w", partition=0),
    ]
    wire.pump()
    ways: list[Callable[[], Any]] = [
        lambda: producer._take_outcomes(False, 100, 1),
        lambda: report(wire.flow),
    ]
    first, second = ways if reader_first else ways[::-1]
    assert first() == sent
    assert used(wire) > 0
    assert second() == sent
    assert called == sent[:1]
    assert used(wire) == 0


def test_messages_behind_it_in_a_full_buffer_keep_their_callback() -> None:
    """A send that waits for buffer space takes its callback along."""
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=20.0))
    producer = bound(wire.flow)
    with contextlib.suppress(errors.BufferFull):
        while True:
            producer.send_nowait("t", VALUE)
    called: list[Delivery] = []
    sent = of_loop(wire.flow).send("t", VALUE, on_delivery=called.append)
    wire.pump()
    with pytest.raises(StopIteration) as accepted:
        sent.send(None)
    wire.pump()
    report(wire.flow)
    assert called == [accepted.value.value]


def test_a_refused_send_calls_nobody() -> None:
    wire = Wire(make_flow(message_bytes=2000))
    producer = bound(wire.flow)
    called: list[Delivery] = []
    with pytest.raises(errors.MessageTooLarge):
        producer.send("t", bytes(5000), on_delivery=called.append)
    assert report(wire.flow) == []
    assert called == []
    assert used(wire) == 0


def test_the_largest_message_fits_with_its_callback() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, message_bytes=100_000))
    producer = bound(wire.flow)

    def is_taken(size: int) -> bool:
        with contextlib.suppress(errors.MessageTooLarge):
            producer.send_nowait("t", bytes(size), partition=0, on_delivery=print)
            return True
        return False

    with pytest.raises(errors.MessageTooLarge, match="buffer_memory"):
        producer.send_nowait("t", bytes(20_000), on_delivery=print)
    largest = next(size for size in range(20_000, 0, -1) if is_taken(size))
    assert largest > 19_000
    assert used(wire) <= 20_000


def test_interceptors_pass_it_on() -> None:
    class Changes(ProducerInterceptor):
        def on_send(self, message: Message) -> Message:
            return Message(message.topic, b"changed")

    wire = Wire(make_flow(report_outcomes=True))
    chain = Interceptors([Changes()])
    producer = ProducerBase()
    producer._bind(wire.flow, None, chain)
    called: list[Delivery] = []
    producer.send("t", b"v", on_delivery=called.append)
    producer.send_many("t", [b"v"], on_delivery=called.append)
    producer.send_many([Message("t", b"v")], on_delivery=called.append)
    wire.pump()
    report(wire.flow)
    assert [bytes(each.value) for each in called] == [b"changed"] * 3


def test_a_callback_and_its_delivery_are_collected_after_the_outcome() -> None:
    wire = Wire(make_flow())
    producer = bound(wire.flow)

    class Owner:
        def __init__(self) -> None:
            self.deliveries = [producer.send("t", b"v", on_delivery=self.on_delivery)]

        def on_delivery(self, delivery: Delivery) -> None:
            """Nothing."""

    owner = Owner()
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is not None, "it is called first"
    wire.pump()
    report(wire.flow)
    gc.collect()
    assert gone() is None
