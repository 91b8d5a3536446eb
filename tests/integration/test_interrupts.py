"""A signal handler's exception (Ctrl-C) ends every wait at once, and the interpreter's end tells what is left."""

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

PLACE = ottla.TopicPartition("t", 0)
NOBODY = "127.0.0.1:1"
SOON_S = 0.2
AT_ONCE_S = 2.0
LONG_S = 30.0


class Interrupted(Exception):
    """What the handler raises, as Python's own raises KeyboardInterrupt."""


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
        NOBODY, buffer_memory=100_000, max_block_ms=30_000, return_errors=True
    )
    began = time.monotonic()
    interrupt_soon()
    with pytest.raises(Interrupted):
        PRODUCER_WAITS[wait](producer)
    assert time.monotonic() - began < SOON_S + AT_ONCE_S
    assert producer.close(0).delivered == 0


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


def test_the_end_of_the_interpreter_tells_what_has_no_outcome() -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", FORGETFUL], capture_output=True, text=True, timeout=LONG_S
    )
    assert time.monotonic() - began < AT_ONCE_S * 2
    assert ended.returncode == 0
    assert "producer 'forgetful' was not closed" in ended.stderr
    assert "17 messages were not delivered" in ended.stderr
