"""The consumer's engine side releases the engine, also if its start or its end fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ottla.client import consumer
from ottla.client.consumer import ConsumerClient
from ottla.config.consumer import consumer_config
from ottla.engine.thread import Engine

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine.acquire()
    yield made
    made.release()
    assert made.join(5)


def test_a_consumer_that_cannot_be_made_releases_the_engine(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OverflowError("too long")

    monkeypatch.setattr(consumer, "make_flow", refuse)
    with pytest.raises(OverflowError):
        ConsumerClient(consumer_config(NOWHERE, {}))
    assert engine._users == 1


def test_a_consumer_that_cannot_leave_releases_the_engine(engine: Engine) -> None:
    def finished() -> Any:
        raise LookupError("the finished offsets are not available")

    client = ConsumerClient(consumer_config(NOWHERE, {"group_id": "g"}))
    client.autocommit.finished_offsets = finished
    with pytest.raises(LookupError):
        client.shut_down(1).wait(5)
    assert engine._users == 1


def test_every_shut_down_is_the_same_one(engine: Engine) -> None:
    client = ConsumerClient(consumer_config(NOWHERE, {}))
    closing = [client.is_closing]
    first = client.shut_down(1)
    closing.append(client.is_closing)
    assert closing == [False, True]
    assert client.shut_down(1) is first
    first.wait(5)
