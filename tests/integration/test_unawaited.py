"""Asynchronous sends without an await while the buffer is full: the log sums them up."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

import ottla
from ottla.testing import Broker

LINE = "of send() never awaited (t): their messages are lost"
SOON_S = 15.0


def send_without_an_await(producer: ottla.AsyncProducer, count: int) -> None:
    """As a program does that has forgotten it."""
    for _ in range(count):
        producer.send("t", bytes(1000))  # type: ignore[unused-coroutine]


def wait_for_line(caplog: pytest.LogCaptureFixture) -> None:
    """Until the engine has said it."""
    until = time.monotonic() + SOON_S
    while LINE not in caplog.text:
        assert time.monotonic() < until, "nothing is said"
        time.sleep(0.01)


async def test_what_was_lost_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "ottla")
    with Broker() as broker:
        broker.create_topic("t", partitions=1)
        async with ottla.AsyncProducer(
            broker.bootstrap, client_id="orders", buffer_memory=60_000, linger_ms=50
        ) as producer:
            await producer.send_and_wait("t", b"first")
            with pytest.warns(RuntimeWarning, match="AsyncProducer.send was never awaited"):
                send_without_an_await(producer, 200)
            lost = 201 - producer.statistics().accepted
            assert lost > 100
            await asyncio.to_thread(wait_for_line, caplog)
    told = [message for message in caplog.messages if LINE in message]
    assert len(told) == 1
    assert told[0].startswith(f"[producer orders] {lost} calls {LINE}")
