"""acks=0: a message counts as written once the socket has taken it, and not before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import ottla
from ottla.testing import advance_time

pytestmark = pytest.mark.embedded_only

LONG_S = 20.0
VALUE = bytes(50_000)
BUDGET = 4 << 20


@contextmanager
def broker_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A broker process that the test can freeze, and its address."""
    command = [sys.executable, "-m", "ottla.testing.broker", "--port", "0", "--for", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[1]
        finally:
            process.kill()


def fill(producer: ottla.Producer) -> list[ottla.Delivery]:
    """Send until the buffer is full, with the broker frozen."""
    sent: list[ottla.Delivery] = []
    while len(sent) < 2_000:
        try:
            sent.append(producer.send("t", VALUE))
        except ottla.BufferFull:
            return sent
    raise AssertionError("the buffer has space for all of them")


def producer(address: str, **options: Any) -> ottla.Producer:
    made = ottla.Producer(
        address, acks=0, buffer_memory=BUDGET, max_block_ms=500, linger_ms=0, **options
    )
    made.send("t", b"connects").result(LONG_S)
    return made


def test_a_message_stays_pending_until_the_socket_takes_it() -> None:
    with broker_process() as (process, address), producer(address) as sending:
        process.send_signal(signal.SIGSTOP)
        sent = fill(sending)
        pending = sum(not delivery.done() for delivery in sent)
        assert pending * len(VALUE) > BUDGET / 2, "they use the budget"
        process.send_signal(signal.SIGCONT)
        sending.close(LONG_S)
        assert {delivery.outcome for delivery in sent} == {"written"}
        with ottla.Consumer(address, auto_offset_reset="earliest") as consumer:
            partition = ottla.TopicPartition("t", 0)
            until, end = time.monotonic() + LONG_S, -1
            # Without acknowledgements the broker may still be writing.
            while end != len(sent) + 1 and time.monotonic() < until:
                (end,) = consumer.end_offsets(partition).values()
        assert end == len(sent) + 1


def test_messages_that_no_socket_took_are_not_written() -> None:
    timeouts = {"request_timeout_ms": 1_000, "delivery_timeout_ms": 2_000}
    with broker_process() as (process, address), producer(address, **timeouts) as sending:
        process.send_signal(signal.SIGSTOP)
        sent = fill(sending)
        process.kill()
        advance_time(LONG_S, lambda: all(delivery.done() for delivery in sent))
        sending.close(LONG_S)
    outcomes = [delivery.outcome for delivery in sent]
    taken = outcomes.count("written")
    assert outcomes == ["written"] * taken + ["not_written"] * (len(sent) - taken)
    assert 0 < taken < len(sent)
