"""Asynchronous sends without an await while the buffer is full: the log sums them up."""

from __future__ import annotations

import asyncio
import logging

import pytest

import ottla
from ottla.testing import Broker

LINE = "of send() never awaited (t): their messages are lost"
SOON_S = 15.0


async def test_what_was_lost_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "ottla")
    with Broker() as broker:
        broker.create_topic("t", partitions=1)
        async with ottla.AsyncProducer(
            broker.bootstrap, client_id="orders", buffer_memory=60_000, linger_ms=50
        ) as producer:
            await producer.send_and_wait("t", b"first")
            with pytest.warns(RuntimeWarning, match="AsyncProducer.send was never awaited"):
                for _ in range(200):
                    producer.send("t", bytes(1000))
            lost = 201 - producer.statistics().accepted
            assert lost > 100
            async with asyncio.timeout(SOON_S):
                while LINE not in caplog.text:
                    await asyncio.sleep(0.01)
    told = [message for message in caplog.messages if LINE in message]
    assert len(told) == 1
    assert told[0].startswith(f"[producer orders] {lost} calls {LINE}")
