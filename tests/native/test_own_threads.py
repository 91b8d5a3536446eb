"""The client's own threads: no send waits for buffer space there, and no call waits on the engine thread. The test is the broker."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ottla import errors
from ottla._native import Latch, ProducerBase, mark_thread
from ottla.engine.bridge import Ticket
from ottla.producer.interceptors import Interceptors, ProducerInterceptor
from tests.native.test_producer import Wire, bound, fill, make_flow

LONG_S = 3600.0
OWN = ["engine", "dispatcher"]


def ended_on(mark: str | None, function: Callable[[], object]) -> BaseException | None:
    """Return the exception of a call, None where it returns. `mark` makes its thread one of the client's own."""
    ended: list[BaseException | None] = []

    def call() -> None:
        if mark is not None:
            mark_thread(mark)
        try:
            function()
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(20)
    assert ended, "it waits"
    return ended[0]


@pytest.mark.parametrize("mark", OWN)
@pytest.mark.parametrize("reports", [False, True])
@pytest.mark.parametrize("many", [False, True])
def test_a_full_buffer_refuses_a_send_at_once(mark: str, reports: bool, many: bool) -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=LONG_S, report_outcomes=reports))
    producer = bound(wire.flow)
    fill(producer)

    def send() -> None:
        if many:
            producer.send_many("t", [bytes(1000)])
        else:
            producer.send("t", bytes(1000))

    assert type(ended_on(mark, send)) is errors.BufferFull


@pytest.mark.parametrize("mark", OWN)
def test_a_buffer_with_free_space_accepts_a_send(mark: str) -> None:
    producer = bound(Wire(make_flow()).flow)
    assert ended_on(mark, lambda: producer.send("t", b"x")) is None
    assert ended_on(mark, lambda: producer.send_many("t", [b"x", b"y"])) is None


def test_threads_of_the_application_wait_for_buffer_space() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, max_block=20.0))
    producer = bound(wire.flow)
    fill(producer)
    timer = threading.Timer(0.05, wire.pump)
    timer.start()
    assert ended_on(None, lambda: producer.send("t", bytes(1000))) is None
    timer.join()


class Unchanged(ProducerInterceptor):
    """Lets every message pass."""


@pytest.mark.parametrize("intercepted", [False, True])
def test_the_engine_thread_does_not_wait_for_an_outcome(intercepted: bool) -> None:
    wire = Wire(make_flow())
    chain = Interceptors([Unchanged()]) if intercepted else None
    producer = ProducerBase()
    producer._bind(wire.flow, interceptors=chain)
    sent = producer.send("t", b"x")
    many = producer.send_many("t", [b"x", b"y"])
    accepted = wire.flow.undelivered()
    waits: list[Callable[[], Any]] = [
        sent.result,
        sent.exception,
        many.result,
        lambda: producer._flush(None),
        lambda: producer._take_outcomes(None, 1, None),
        lambda: producer.send_and_wait("t", b"x"),
        Latch().wait,
    ]
    for wait in waits:
        ended = ended_on("engine", wait)
        assert type(ended) is RuntimeError
        assert "ottla-engine" in str(ended)
    assert wire.flow.undelivered() == accepted, "the producer sends no refused message"
    wire.pump()
    assert ended_on("engine", sent.result) is None, "a finished delivery needs no wait"
    assert ended_on("engine", many.result) is None
    assert type(ended_on("engine", lambda: producer._flush(None))) is RuntimeError


def test_the_engine_thread_does_not_wait_for_a_ticket() -> None:
    ticket: Ticket[int] = Ticket("work")
    for timeout in (None, LONG_S):
        ended = ended_on("engine", functools.partial(ticket.wait, timeout))
        assert type(ended) is RuntimeError
        assert "ottla-engine" in str(ended)
    assert type(ended_on("engine", lambda: ticket.wait(0))) is errors.Timeout, "a poll is no wait"
    assert not ticket.done(), "the operation goes on"
    threading.Timer(0.05, ticket.settle, [5]).start()
    assert ended_on("dispatcher", lambda: ticket.wait(20)) is None
    assert ended_on("engine", ticket.wait) is None, "a settled ticket needs no wait"


def test_a_task_on_the_engine_thread_waits_for_a_ticket() -> None:
    ticket: Ticket[int] = Ticket("work")

    async def wait() -> None:
        asyncio.get_running_loop().call_later(0.01, ticket.settle, 5)
        assert await ticket.wait_async(20) == 5

    assert ended_on("engine", lambda: asyncio.run(wait())) is None


def test_a_callback_waits_for_outcomes() -> None:
    wire = Wire(make_flow())
    sent = bound(wire.flow).send("t", b"x")
    timer = threading.Timer(0.05, wire.pump)
    timer.start()
    assert ended_on("dispatcher", lambda: sent.result(20)) is None
    timer.join()


def test_the_engine_thread_does_not_wait_for_the_topic_of_a_partitioner() -> None:
    wire = Wire(make_flow(partitioner="user", max_block=LONG_S), known=False)
    producer = ProducerBase()
    producer._bind(wire.flow, lambda *_: 0)
    ended = ended_on("engine", lambda: producer.send("t", b"x"))
    assert type(ended) is errors.Timeout
    wire.know()
    assert ended_on("engine", lambda: producer.send("t", b"x")) is None


def test_an_unknown_thread_is_no_thread_of_the_clients() -> None:
    with pytest.raises(ValueError, match='"io"'):
        mark_thread("io")


def test_a_thread_in_a_fork_by_a_callback_is_none_of_the_client() -> None:
    program = """
import os, threading
from ottla._native import Latch, ProducerBase, mark_thread
from ottla.engine import thread

def callback():
    mark_thread("engine")
    child = os.fork()
    if child == 0:
        os._exit(7 if Latch().wait(0.01) is False else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

codes = []
own = threading.Thread(target=callback)
own.start()
own.join()
print(codes)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.strip() == "[7]", ended.stderr
