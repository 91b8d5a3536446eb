"""Asynchronous sends that nobody awaits: what was not accepted by then is lost aloud. The test is the broker."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import ottla
from ottla import errors
from ottla._native import AsyncProducerBase, ProduceFlow
from ottla.engine import dispatcher
from ottla.producer.interceptors import Interceptors, ProducerInterceptor
from ottla.seam.producing import SendsUnawaited, UnawaitedSends
from tests.native.test_producer import Wire, make_flow

VALUE = bytes(1000)
LONG_S = 3600.0
Send = Callable[[AsyncProducerBase], Awaitable[Any]]

ONE_MESSAGE = 'a message for topic "t" was not accepted'
SENDS: dict[str, tuple[Send, str]] = {
    "send": (lambda producer: producer.send("t", VALUE), ONE_MESSAGE),
    "send_and_wait": (lambda producer: producer.send_and_wait("t", VALUE), ONE_MESSAGE),
    "send_many": (
        lambda producer: producer.send_many("t", [VALUE]),
        'no message of it was accepted, for topic "t"',
    ),
    "send_many of messages": (
        lambda producer: producer.send_many([ottla.Message("t", VALUE)]),
        "no message of it was accepted",
    ),
}


def bound(flow: ProduceFlow, *more: Any) -> AsyncProducerBase:
    made = AsyncProducerBase()
    made._bind(flow, *more)
    return made


def full(**changed: Any) -> tuple[Wire, AsyncProducerBase]:
    """A producer without room."""
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=LONG_S, **changed))
    producer = bound(wire.flow)
    with contextlib.suppress(errors.BufferFull):
        while True:
            producer.send_nowait("t", VALUE)
    return wire, producer


@contextlib.contextmanager
def none_is_told(flow: ProduceFlow) -> Iterator[None]:
    """Neither a warning nor a line of the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert never_awaited(flow) == []


def never_awaited(flow: ProduceFlow) -> list[UnawaitedSends]:
    """What the engine would log."""
    events = [event for event in flow.drain() if isinstance(event, SendsUnawaited)]
    return [sends for event in events for sends in event.sends]


@pytest.mark.parametrize("name", SENDS)
def test_what_was_not_accepted_is_lost_aloud(name: str) -> None:
    wire, producer = full()
    send, text = SENDS[name]
    method = name.split()[0]

    def twice() -> None:
        send(producer)
        send(producer)

    with pytest.warns(RuntimeWarning) as caught:
        twice()
    told = [str(each.message) for each in caught]
    assert told == [f"AsyncProducer.{method} was never awaited: {text}"] * 2
    assert {each.filename for each in caught} == {__file__}
    topic = None if name.endswith("messages") else "t"
    assert never_awaited(wire.flow) == [UnawaitedSends(method, topic, 2)]
    assert never_awaited(wire.flow) == []


def test_it_gives_up_its_place_in_line() -> None:
    wire, producer = full()
    with pytest.warns(RuntimeWarning):
        producer.send("t", VALUE)  # type: ignore[unused-coroutine]
    wire.pump()
    accepted = wire.flow.undelivered()
    producer.send_nowait("t", VALUE)
    assert wire.flow.undelivered() == accepted + 1


def test_the_warning_knows_where_the_call_was() -> None:
    _, producer = full()
    tracemalloc.start(1)
    try:
        kept = producer.send("t", VALUE)
        with pytest.warns(RuntimeWarning) as caught:
            del kept
        found = tracemalloc.get_object_traceback(caught[0].source)
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found[0].filename == __file__


def test_sends_that_wait_for_their_topic_are_lost_aloud() -> None:
    wire = Wire(make_flow(partitioner="user", max_block=LONG_S), known=False)
    producer = bound(wire.flow, lambda *_: 0)
    with pytest.warns(RuntimeWarning, match=ONE_MESSAGE):
        producer.send("t", VALUE)  # type: ignore[unused-coroutine]
    with pytest.warns(RuntimeWarning, match="send_and_wait was never awaited"):
        producer.send_and_wait("t", VALUE)  # type: ignore[unused-coroutine]
    assert never_awaited(wire.flow) == [("send", "t", 1), ("send_and_wait", "t", 1)]


def test_what_was_accepted_at_the_call_needs_no_await() -> None:
    wire = Wire(make_flow())
    producer = bound(wire.flow)
    with none_is_told(wire.flow):
        producer.send("t", VALUE)  # type: ignore[unused-coroutine]
        producer.send_and_wait("t", VALUE)  # type: ignore[unused-coroutine]
    assert wire.flow.undelivered() == 2


@pytest.mark.parametrize("name", SENDS)
async def test_an_await_that_was_cancelled_is_not_this_case(name: str) -> None:
    wire, producer = full()
    send, _ = SENDS[name]
    with none_is_told(wire.flow):
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


def test_an_exception_that_is_on_its_way_arrives() -> None:
    _, producer = full()
    with pytest.warns(RuntimeWarning), pytest.raises(TypeError, match=r"int\(\) argument"):
        # The argument goes with the call that has raised.
        int(producer.send("t", VALUE))  # type: ignore[call-overload]


def test_a_warning_that_is_an_error_is_written_like_any_other_of_a_finalizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire, producer = full()
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: raised.append(told.exc_type))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        producer.send("t", VALUE)  # type: ignore[unused-coroutine]
    assert raised == [RuntimeWarning]
    assert never_awaited(wire.flow) == [("send", "t", 1)]


def test_the_child_of_a_fork_and_the_end_of_the_interpreter_tell_nothing() -> None:
    program = """
import os, sys
import ottla.engine.thread
from tests.native.test_unawaited import VALUE, full

_, producer = full()
kept = producer.send("t", VALUE)
child = os.fork()
if child == 0:
    del kept
    os._exit(0)
os.waitpid(child, 0)
print("forked", flush=True)
at_the_end = producer.send("t", VALUE)
sys.at_the_end = at_the_end
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


# ---- with interceptors -----------------------------------------------------------------------------------------------


class Hearing(ProducerInterceptor):
    """Keeps what it hears of outcomes."""

    def __init__(self) -> None:
        self.heard: list[tuple[str | None, type, type]] = []

    def on_acknowledgement(self, delivery: Any) -> None:
        """Keep it."""
        error = delivery.error
        self.heard.append((delivery.outcome, type(error), type(error.__cause__)))


async def test_interceptors_hear_of_it_too() -> None:
    wire, _ = full()
    hearing = Hearing()
    producer = bound(wire.flow, None, Interceptors([hearing]))
    with pytest.warns(RuntimeWarning, match=ONE_MESSAGE):
        producer.send("t", VALUE)  # type: ignore[unused-coroutine]
    await asyncio.sleep(0)
    assert dispatcher.settle(20)
    assert hearing.heard == [("not_written", errors.Error, asyncio.CancelledError)]
    assert never_awaited(wire.flow) == [("send", "t", 1)]
