"""A signal handler's exception (Ctrl-C) ends every wait at once, and the end of the interpreter names undelivered messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import ottla
from ottla.engine import dispatcher

PLACE = ottla.TopicPartition("t", 0)
NOBODY = "127.0.0.1:1"
SOON_S = 0.2
AT_ONCE_S = 2.0
LONG_S = 30.0


class Interrupted(Exception):
    """Raised by the handler, as Python's own raises KeyboardInterrupt."""


@pytest.fixture
def interrupt_soon() -> Iterator[Callable[[], None]]:
    def handler(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(SOON_S, os.kill, [os.getpid(), signal.SIGUSR1])
    yield timer.start
    timer.join()
    signal.signal(signal.SIGUSR1, before)


def fill_the_buffer(producer: ottla.Producer) -> None:
    while True:
        producer.send("t", b"x" * 1000)


def flush_one(producer: ottla.Producer) -> None:
    producer.send("t", b"x")
    producer.flush(LONG_S)


PRODUCER_WAITS: dict[str, Callable[[ottla.Producer], object]] = {
    "send": fill_the_buffer,
    "send_many": lambda producer: producer.send_many("t", (bytes(1000) for _ in range(1000))),
    "send_many of messages": lambda producer: producer.send_many(
        ottla.Message("t", bytes(1000)) for _ in range(1000)
    ),
    "send_and_wait": lambda producer: producer.send_and_wait("t", b"x"),
    "exception": lambda producer: producer.send("t", b"x").exception(),
    "result of many": lambda producer: producer.send_many("t", [b"x"]).result(LONG_S),
    "successes": lambda producer: (producer.send("t", b"x"), list(producer.successes())),
    "outcomes": lambda producer: (producer.send("t", b"x"), next(producer.outcomes())),
    "result": lambda producer: producer.send("t", b"x").result(LONG_S),
    "flush": flush_one,
    "close": lambda producer: (producer.send("t", b"x"), producer.close(LONG_S)),
    "errors": lambda producer: (producer.send("t", b"x"), list(producer.errors())),
}


@pytest.mark.parametrize("wait", PRODUCER_WAITS)
def test_a_signal_ends_each_wait_of_the_producer(
    interrupt_soon: Callable[[], None], wait: str
) -> None:
    producer = ottla.Producer(
        NOBODY,
        buffer_memory=100_000,
        max_block_ms=30_000,
        return_errors=True,
        return_successes=True,
    )
    began = time.monotonic()
    interrupt_soon()
    with pytest.raises(Interrupted):
        PRODUCER_WAITS[wait](producer)
    assert time.monotonic() - began < SOON_S + AT_ONCE_S
    assert producer.close(0).delivered == 0


CALLBACK_WAITS: dict[str, Callable[[ottla.Producer], object]] = {
    "flush": lambda producer: producer.flush(LONG_S),
    "close": lambda producer: producer.close(LONG_S),
}


@pytest.mark.parametrize("wait", CALLBACK_WAITS)
def test_a_signal_ends_the_wait_for_callbacks(
    interrupt_soon: Callable[[], None], wait: str
) -> None:
    producer = ottla.Producer(NOBODY, on_delivery=print)
    go_on = threading.Event()
    dispatcher.dispatch(go_on.wait, LONG_S)
    began = time.monotonic()
    interrupt_soon()
    with pytest.raises(Interrupted):
        CALLBACK_WAITS[wait](producer)
    assert time.monotonic() - began < SOON_S + AT_ONCE_S
    go_on.set()
    assert producer.close(LONG_S).delivered == 0


CONSUMER_WAITS: dict[str, Callable[[ottla.Consumer], object]] = {
    "poll": lambda consumer: consumer.poll(timeout=LONG_S),
    "iteration": lambda consumer: next(iter(consumer)),
    "commit": lambda consumer: consumer.commit({PLACE: 1}),
}


@pytest.mark.parametrize("wait", CONSUMER_WAITS)
def test_a_signal_ends_each_wait_of_the_consumer(
    interrupt_soon: Callable[[], None], wait: str
) -> None:
    consumer = ottla.Consumer(NOBODY, group_id="g")
    consumer.assign([PLACE])
    began = time.monotonic()
    interrupt_soon()
    with pytest.raises(Interrupted):
        CONSUMER_WAITS[wait](consumer)
    assert time.monotonic() - began < SOON_S + AT_ONCE_S
    consumer.close(0)


FORGETFUL = """
import ottla
producer = ottla.Producer("127.0.0.1:1", client_id="forgetful")
for _ in range(17):
    producer.send("t", b"x")
"""


def test_the_end_of_the_interpreter_counts_messages_without_an_outcome() -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", FORGETFUL], capture_output=True, text=True, timeout=LONG_S
    )
    assert time.monotonic() - began < AT_ONCE_S * 2
    assert ended.returncode == 0
    assert "[producer forgetful] not closed" in ended.stderr
    assert "17 messages not delivered" in ended.stderr


STUCK = """
import threading
import ottla
from ottla.testing import Broker

called = threading.Event()

def never_returns(delivery):
    called.set()
    threading.Event().wait()

broker = Broker().start()
producer = ottla.Producer(broker.bootstrap, on_delivery=never_returns, client_id="stuck")
producer.send("t", b"x")
assert called.wait(20)
print("ends", flush=True)
"""


def test_a_callback_that_never_returns_does_not_stop_the_end_of_the_interpreter() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ends\n"
        began = time.monotonic()
        _, errors = program.communicate(timeout=LONG_S)
        assert time.monotonic() - began < AT_ONCE_S
    assert program.returncode == 0
    (line,) = (line for line in errors.splitlines() if "callbacks still running" in line)
    assert "of producer " in line
    assert " has not returned" in line


# ---- Ctrl-C in a program -----------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, sys, time
import ottla

OPTIONS = dict(buffer_memory=100_000, max_block_ms=60_000, return_errors=True, return_successes=True)
NOBODY = "127.0.0.1:1"

def waits(producer):
    full = lambda: [producer.send("t", bytes(1000)) for _ in range(1000)]
    yield "send", full
    yield "send_many", lambda: producer.send_many("t", [bytes(1000)] * 1000)
    yield "result", lambda: producer.send("t", b"x").result()
    yield "flush", lambda: (producer.send("t", b"x"), producer.flush())
    yield "successes", lambda: next(producer.successes())
    yield "close", lambda: (producer.send("t", b"x"), producer.close())

async def full(producer):
    while True:
        await producer.send("t", bytes(1000))

async def sent(producer, wait):
    delivery = await producer.send("t", b"x")
    await wait(delivery)

async def result(delivery):
    await delivery

def waits_of_a_loop(producer):
    yield "send", lambda: full(producer)
    yield "send_many", lambda: producer.send_many("t", [bytes(1000)] * 1000)
    yield "await", lambda: sent(producer, result)
    yield "flush", lambda: sent(producer, lambda _: producer.flush())
    yield "successes", lambda: anext(producer.successes())
    yield "close", lambda: sent(producer, lambda _: producer.close())

async def in_loop(number):
    producer = ottla.AsyncProducer(NOBODY, **OPTIONS)
    name, wait = list(waits_of_a_loop(producer))[number]
    print(name, flush=True)
    try:
        await wait()
    finally:
        await producer.close(0)

def in_thread(number):
    producer = ottla.Producer(NOBODY, **OPTIONS)
    name, wait = list(waits(producer))[number]
    print(name, flush=True)
    try:
        wait()
    finally:
        producer.close(0)

for number in range(6):
    began = time.monotonic()
    try:
        asyncio.run(in_loop(number)) if sys.argv[1] == "asyncio" else in_thread(number)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic() - began, flush=True)
    else:
        print("went on", flush=True)
"""


@pytest.mark.parametrize("world", ["threads", "asyncio"])
def test_ctrl_c_ends_every_wait_of_a_program(world: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, world], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        for _ in range(6):
            name = program.stdout.readline().strip()
            assert name
            time.sleep(SOON_S)
            program.send_signal(signal.SIGINT)
            what, _, seconds = program.stdout.readline().strip().partition(" ")
            assert what == "interrupted", name
            assert float(seconds) < SOON_S + AT_ONCE_S, name
        assert program.wait(LONG_S) == 0


# ---- fork --------------------------------------------------------------------------------------------------------------

FORKING = """
import gc, os, sys
import ottla
from ottla.testing import Broker

reported = []
broker = Broker().start()
producer = ottla.Producer(broker.bootstrap, on_delivery=reported.append, return_successes=True)
delivery = producer.send("t", b"0")
many = producer.send_many("t", [b"1", b"2"])
child = os.fork()
if child == 0:
    calls = {
        "send": lambda: producer.send("t", b""),
        "send_nowait": lambda: producer.send_nowait("t", b""),
        "send_and_wait": lambda: producer.send_and_wait("t", b""),
        "send_many": lambda: producer.send_many("t", [b""]),
        "messages": lambda: producer.send_many([ottla.Message("t")]),
        "flush": lambda: producer.flush(5),
        "close": lambda: producer.close(5),
        "successes": lambda: next(producer.successes()),
        "statistics": lambda: producer.statistics(),
        "close_nowait": lambda: producer.close_nowait(5),
    }
    for name, call in calls.items():
        try:
            call()
            print("went through:", name)
        except ottla.ForkedClient:
            pass
    del producer, delivery, many, calls, call
    gc.collect()
    print("reported in the child:", len(reported))
    sys.exit(7)
_, status = os.waitpid(child, 0)
producer.send("t", b"3")
print("child ended with", os.waitstatus_to_exitcode(status))
print(producer.close(20).delivered, len(reported), delivery.result(0).offset)
broker.close()
"""


def test_a_fork_is_an_error_in_the_child_and_changes_nothing_in_the_parent() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=LONG_S
    )
    assert ended.stdout.splitlines() == [
        "reported in the child: 0",
        "child ended with 7",
        "4 4 0",
    ], ended.stderr
    assert ended.returncode == 0


def test_an_interrupt_loses_no_outcomes(bootstrap: str) -> None:
    count = 20_000
    seen: set[int | None] = set()
    armed: list[bool] = []
    interrupts: list[int] = []

    def interrupt(number: int, _: object) -> None:
        """Raise once for each time that it is armed, so that no interrupt comes where the test does not expect it."""
        if armed:
            armed.clear()
            interrupts.append(number)
            raise Interrupted

    with ottla.Producer(bootstrap, return_successes=True, batch_size=5_000) as producer:
        producer.send_many("t", (b"x" for _ in range(count)))
        producer.close_nowait()
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        reading = True
        while reading:
            try:
                armed.append(True)
                for delivery in producer.successes():
                    seen.add(delivery.offset)
                armed.clear()
                reading = False
            except Interrupted:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupts, "it was interrupted"
    assert len(seen) == count
