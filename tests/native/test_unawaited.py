"""Asynchronous sends that nobody awaits: the call accepts the message, with free buffer space or without. The test is the broker."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import ottla
from ottla import errors
from ottla._native import AsyncProducerBase, Delivery, ProduceFlow
from ottla.engine import dispatcher
from ottla.producer.interceptors import Interceptors, ProducerInterceptor
from ottla.seam.failures import GivenUp
from ottla.seam.producing import MessagesFailed, SendManyDropped, UnawaitedDue
from tests.native.test_producer import Wire, make_flow

VALUE = bytes(1000)
LONG_S = 3600.0
Send = Callable[[AsyncProducerBase], Awaitable[Any]]

SENDS: dict[str, Send] = {
    "send": lambda producer: producer.send("t", b"unawaited" + VALUE),
    "send_and_wait": lambda producer: producer.send_and_wait("t", b"unawaited" + VALUE),
}
MANY: dict[str, tuple[Send, str]] = {
    "send_many": (lambda producer: producer.send_many("t", [VALUE]), ', for topic "t"'),
    "send_many of messages": (
        lambda producer: producer.send_many([ottla.Message("t", VALUE)]),
        "",
    ),
}


def bound(flow: ProduceFlow, *more: Any) -> AsyncProducerBase:
    made = AsyncProducerBase()
    made._bind(flow, *more)
    return made


def fill(producer: AsyncProducerBase) -> None:
    """Send until there is no free buffer space."""
    with contextlib.suppress(errors.BufferFull):
        while True:
            producer.send_nowait("t", VALUE)


def full(**changed: Any) -> tuple[Wire, AsyncProducerBase]:
    """A producer without free buffer space."""
    wire = Wire(make_flow(**{"buffer_bytes": 20_000, "max_block": LONG_S, **changed}))
    producer = bound(wire.flow)
    fill(producer)
    return wire, producer


def advance(flow: ProduceFlow) -> float | None:
    """Advance the unawaited sends, as the engine does when the flow asks for it."""
    due = any(isinstance(event, UnawaitedDue) for event in flow.drain())
    progress = flow.advance_unawaited()
    assert due or progress.next_expiry_s is not None or not flow.unawaited()
    if progress.needs_functions:
        progress = flow.advance_unawaited(True)
    return progress.next_expiry_s


def failures(flow: ProduceFlow) -> list[tuple[MessagesFailed, str]]:
    """Failures that the engine logs, each with the kind of its error."""
    failed = [event for event in flow.drain() if isinstance(event, MessagesFailed)]
    causes = [event.failure.cause for event in failed]
    kinds = [cause.error.kind for cause in causes if isinstance(cause, GivenUp)]
    return list(zip(failed, kinds, strict=True))


def values(wire: Wire) -> list[bytes]:
    """The beginnings of the records that are no filling."""
    return [record.value.rstrip(b"\0") for record in wire.records if record.value != VALUE]


@contextlib.contextmanager
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", SENDS)
def test_with_free_buffer_space_the_call_accepts_the_message(name: str) -> None:
    wire = Wire(make_flow())
    with no_warning():
        SENDS[name](bound(wire.flow))
    assert wire.flow.undelivered() == 1
    wire.pump()
    assert values(wire) == [b"unawaited"]


@pytest.mark.parametrize("name", SENDS)
def test_without_free_buffer_space_the_call_accepts_it_too(name: str) -> None:
    wire, producer = full()
    before = wire.flow.undelivered()
    with no_warning():
        SENDS[name](producer)
    assert wire.flow.unawaited() == 1
    assert wire.flow.undelivered() == before + 1
    left = advance(wire.flow)
    assert left is not None
    assert LONG_S - 60 < left <= LONG_S
    wire.pump()
    assert values(wire) == []
    assert advance(wire.flow) is None
    assert wire.flow.unawaited() == 0
    wire.pump()
    assert values(wire) == [b"unawaited"]
    assert wire.flow.undelivered() == 0


async def test_messages_are_accepted_in_the_order_of_the_calls_awaited_or_not() -> None:
    wire, producer = full()
    awaited = []
    for number in range(30):
        sent = producer.send("t", b"%02d" % number + VALUE, partition=0)
        if number % 3:
            awaited.append(asyncio.ensure_future(sent))
        del sent
    deadline = time.monotonic() + 20
    while wire.flow.undelivered() or not all(task.done() for task in awaited):
        wire.pump()
        advance(wire.flow)
        await asyncio.sleep(0)
        assert time.monotonic() < deadline
    assert [int(value) for value in values(wire)] == list(range(30))


async def test_a_full_queue_of_unawaited_sends_refuses_the_next_call() -> None:
    wire, producer = full()
    with no_warning(), contextlib.suppress(errors.BufferFull):
        for _ in range(1000):
            producer.send("t", VALUE)  # type: ignore[unused-coroutine]
    waiting = wire.flow.unawaited()
    assert 10 < waiting < 30, "as many bytes as the buffer has"
    with pytest.raises(errors.BufferFull) as refused:
        producer.send_and_wait("t", VALUE)  # type: ignore[unused-coroutine]
    assert refused.value.outcome == "not_written"
    while wire.flow.undelivered():
        wire.pump()
        advance(wire.flow)
    await producer.send("t", b"there is space again")


def test_a_message_whose_time_runs_out_fails_like_any_other() -> None:
    wire, producer = full(max_block=0.01, return_errors=True)
    before = wire.flow.statistics().accepted
    producer.send("t", b"late" + VALUE)  # type: ignore[unused-coroutine]
    time.sleep(0.02)
    assert advance(wire.flow) is None
    ((failed, kind),) = failures(wire.flow)
    assert (failed.topic, failed.partition, failed.records, kind) == ("t", None, 1, "buffer_full")
    assert failed.failure.outcome == "not_written"
    taken = wire.flow.statistics()
    assert (taken.accepted, taken.failed) == (before + 1, 1)


@pytest.mark.parametrize("way", ["reader", "callback", "on_delivery"])
def test_its_failure_reaches_the_receiver_of_outcomes(way: str) -> None:
    options = {"reader": {"return_errors": True}, "callback": {"report_outcomes": True}}
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=0.01, **options.get(way, {})))
    producer = bound(wire.flow)
    fill(producer)
    received: list[Delivery] = []
    own = received.append if way == "on_delivery" else None
    producer.send("t", b"late" + VALUE, on_delivery=own)  # type: ignore[unused-coroutine]
    time.sleep(0.02)
    advance(wire.flow)
    if way == "reader":
        taking = producer._take_outcomes(True, 10, 1).__await__()
        with pytest.raises(StopIteration) as taken:
            next(taking)
        received += taken.value.value
    while (report := wire.flow.next_report()) is not None:
        received += report.deliveries
        for callback, delivery in report.calls:
            callback(delivery)
    assert [(each.value[:4], each.outcome) for each in received] == [(b"late", "not_written")]
    assert isinstance(received[0].error, errors.BufferFull)
    assert received[0].done()


def test_closing_fails_waiting_sends() -> None:
    wire, producer = full()
    producer.send("t", VALUE)  # type: ignore[unused-coroutine]
    advance(wire.flow)
    producer._stop_accepting()
    assert advance(wire.flow) is None
    assert [kind for _, kind in failures(wire.flow)] == ["closed"]


# ---- a function as partitioner -----------------------------------------------------------------------------------------


def test_a_send_that_waits_for_its_topic_is_accepted_too() -> None:
    wire = Wire(make_flow(partitioner="user", max_block=LONG_S), known=False)
    asked: list[bytes | None] = []

    def choose(topic: str, key: bytes | None, value: bytes | None, count: int) -> int:
        asked.append(value)
        return count - 1

    producer = bound(wire.flow, choose)
    with no_warning():
        producer.send("t", b"first")  # type: ignore[unused-coroutine]
        producer.send_and_wait("t", b"second")  # type: ignore[unused-coroutine]
    advance(wire.flow)
    assert asked == []
    wire.know()
    progress = wire.flow.advance_unawaited()
    assert progress.needs_functions
    assert asked == [], "the engine calls no function of the application"
    assert progress.next_expiry_s is not None
    wire.flow.advance_unawaited(True)
    assert advance(wire.flow) is None
    wire.pump()
    assert values(wire) == asked == [b"first", b"second"]


def test_an_exception_of_the_function_is_the_failure_of_the_message() -> None:
    wire = Wire(make_flow(partitioner="user", max_block=LONG_S, report_outcomes=True), known=False)

    def choose(*_: Any) -> int:
        raise LookupError("none fits")

    producer = bound(wire.flow, choose)
    producer.send("t", b"first")  # type: ignore[unused-coroutine]
    wire.know()
    advance(wire.flow)
    report = wire.flow.next_report()
    assert report is not None
    (delivery,) = report.deliveries
    assert delivery.outcome == "not_written"
    assert "LookupError: none fits" in str(delivery.error)


# ---- send_many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [True, False])
@pytest.mark.parametrize("name", MANY)
def test_send_many_sends_nothing_without_its_await(name: str, space: bool) -> None:
    if space:
        wire = Wire(make_flow())
        producer = bound(wire.flow)
    else:
        wire, producer = full()
    before = wire.flow.undelivered()
    send, place = MANY[name]

    def twice() -> None:
        send(producer)
        send(producer)

    with pytest.warns(RuntimeWarning) as caught:
        twice()
    text = "AsyncProducer.send_many was never awaited: no message of it was accepted"
    assert [str(each.message) for each in caught] == [text + place] * 2
    assert {each.filename for each in caught} == {__file__}
    topic = "t" if place else None
    assert wire.flow.undelivered() == before
    dropped = [event for event in wire.flow.drain() if isinstance(event, SendManyDropped)]
    assert dropped == [SendManyDropped(topic, 2)]


def test_an_exception_that_is_raised_meanwhile_arrives() -> None:
    wire = Wire(make_flow())
    producer = bound(wire.flow)
    with pytest.warns(RuntimeWarning), pytest.raises(TypeError, match=r"int\(\) argument"):
        # The argument is dropped with the call that has raised.
        int(producer.send_many("t", [VALUE]))  # type: ignore[call-overload]


def test_a_warning_that_is_an_error_is_written_like_any_other_of_a_finalizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Wire(make_flow())
    producer = bound(wire.flow)
    raised: list[Any] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_type)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        producer.send_many("t", [VALUE])  # type: ignore[unused-coroutine]
    assert raised == [RuntimeWarning]


# ---- the end of an await -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SENDS, *MANY])
async def test_a_cancelled_await_accepts_nothing(name: str) -> None:
    wire, producer = full()
    before = wire.flow.undelivered()
    send = SENDS[name] if name in SENDS else MANY[name][0]
    with no_warning():
        waiting = asyncio.ensure_future(send(producer))
        await asyncio.sleep(0)
        waiting.cancel()
        before_its_first_step = asyncio.ensure_future(send(producer))
        before_its_first_step.cancel()
        ended = await asyncio.gather(waiting, before_its_first_step, return_exceptions=True)
        assert [type(each) for each in ended] == [asyncio.CancelledError] * 2
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(producer), 0.01)
        closed = send(producer)
        closed.close()  # type: ignore[attr-defined]
        del waiting, before_its_first_step, closed
        gc.collect()
    assert wire.flow.undelivered() == before


def test_the_child_of_a_fork_and_the_end_of_the_interpreter_do_nothing() -> None:
    program = """
import os, sys
import ottla.engine.thread
from tests.native.test_unawaited import VALUE, full

wire, producer = full()
kept, many = producer.send("t", VALUE), producer.send_many("t", [VALUE])
child = os.fork()
if child == 0:
    del kept, many
    os._exit(0)
os.waitpid(child, 0)
print("forked", flush=True)
sys.at_the_end = producer.send("t", VALUE), many
"""
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert ended.stdout.strip() == "forked"
    assert ended.returncode == 0
    assert "never awaited" not in ended.stderr


# ---- with interceptors -------------------------------------------------------------------------------------------------


class Receiver(ProducerInterceptor):
    """Stores the outcomes that it receives."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, str | None]] = []

    def on_acknowledgement(self, delivery: Any) -> None:
        """Store it."""
        self.received.append((delivery.value[:4], delivery.outcome))


def intercepted(**changed: Any) -> tuple[Wire, AsyncProducerBase, Receiver]:
    """A full producer whose later sends go through an interceptor."""
    wire, _ = full(report_outcomes=True, **changed)
    receiver = Receiver()
    return wire, bound(wire.flow, None, Interceptors([receiver])), receiver


def acknowledge(wire: Wire, receiver: Receiver) -> None:
    while (report := wire.flow.next_report()) is not None:
        for delivery in report.deliveries:
            receiver.on_acknowledgement(delivery)


def test_interceptors_receive_its_outcome_once() -> None:
    wire, producer, receiver = intercepted()
    producer.send("t", b"sent" + VALUE)  # type: ignore[unused-coroutine]
    wire.pump()
    acknowledge(wire, receiver)
    advance(wire.flow)
    wire.pump()
    acknowledge(wire, receiver)
    assert dispatcher.settle(20)
    assert receiver.received[-1] == (b"sent", "written")
    assert [each[0] for each in receiver.received].count(b"sent") == 1


async def test_interceptors_receive_the_end_of_a_send_that_is_dropped_within_its_await() -> None:
    wire, producer, receiver = intercepted()
    sent: Any = producer.send("t", b"gone" + VALUE)
    sent.send(None)
    del sent
    advance(wire.flow)
    assert dispatcher.settle(20)
    assert receiver.received == [(b"gone", "not_written")]
    assert wire.flow.unawaited() == 0
