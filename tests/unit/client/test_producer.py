"""The producer's engine side ends all its tasks, although the engine continues for other clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ottla._native import ProducerBase
from ottla.client import producer
from ottla.client.producer import ProducerClient
from ottla.config.producer import producer_config
from ottla.engine.thread import Engine

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine.acquire()
    yield made
    made.release()
    assert made.join(5)


def test_a_closed_producer_searches_no_broker(engine: Engine) -> None:
    client = ProducerClient(producer_config(NOWHERE, {}))
    sender = ProducerBase()
    sender._bind(client.flow)
    delivery = sender.send("t", b"x")
    client.shut_down().wait(5)
    assert delivery.outcome == "not_written"

    async def others_end() -> None:
        own = asyncio.current_task()
        await asyncio.gather(*(t for t in engine._tasks if t is not own), return_exceptions=True)

    engine.call(others_end).wait(5)


def test_every_shut_down_is_the_same_one(engine: Engine) -> None:
    client = ProducerClient(producer_config(NOWHERE, {}))
    first = client.shut_down()
    assert client.shut_down() is first
    first.wait(5)


def test_a_producer_that_cannot_be_made_releases_the_engine(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OverflowError("too long")

    monkeypatch.setattr(producer, "make_flow", refuse)
    with pytest.raises(OverflowError):
        ProducerClient(producer_config(NOWHERE, {}))
    assert engine._users == 1


def test_messages_before_the_start_of_the_engine_are_sent(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_start = asyncio.Event()
    start = ProducerClient._start

    async def late(self: ProducerClient) -> None:
        await may_start.wait()
        await start(self)

    async def nowhere(host: str) -> list[str]:
        raise OSError(-2, "no such host")

    async def nothing() -> None:
        pass

    async def begin() -> None:
        may_start.set()

    monkeypatch.setattr(ProducerClient, "_start", late)
    monkeypatch.setattr(engine, "resolve", nowhere)
    client = ProducerClient(producer_config("nowhere:1", {}))
    sender = ProducerBase()
    sender._bind(client.flow)
    sender.send("t", b"x")
    for _ in range(5):
        engine.call(nothing).wait(5)
    engine.call(begin).wait(5)
    for _ in range(5):
        engine.call(nothing).wait(5)
    assert client.flow.drain() == [], "the outbox has received the topic, without another bell"
    client.shut_down().wait(5)
