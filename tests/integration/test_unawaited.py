"""Asynchronous sends without an await while the buffer is full: the log sums them up."""

from __future__ import annotations

import asyncio
import time

import pytest

import ottla
from ottla.testing import Broker
from tests.fixtures.logged import Logged

SOON_S = 15.0


def send_without_an_await(producer: ottla.AsyncProducer, count: int) -> None:
    """Send as a program that forgets the await."""
    for _ in range(count):
        producer.send("t", bytes(1000))  # type: ignore[unused-coroutine]


def wait_for_line(logged: Logged) -> None:
    """Wait until the engine has written the line."""
    until = time.monotonic() + SOON_S
    while not logged("send.never_awaited"):
        assert time.monotonic() < until, "nothing is logged"
        time.sleep(0.01)


async def test_lost_messages_are_one_line_in_the_log(logged: Logged) -> None:
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
            await asyncio.to_thread(wait_for_line, logged)
    assert len(logged("send.never_awaited")) == 1
    assert logged(
        "send.never_awaited", client="producer orders", topic="t", method="send", count=lost
    )
