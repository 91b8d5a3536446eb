"""Callbacks that raise for every message: one traceback, and a count of all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

import ottla
from ottla.engine import dispatcher
from ottla.testing import Broker
from tests.fixtures.logged import Logged

pytestmark = pytest.mark.embedded_only

MESSAGES = 300


def wrong(_: Any) -> None:
    raise KeyError("mine")


class Wrong(ottla.ProducerInterceptor):
    def __init__(self, method: str) -> None:
        setattr(self, method, wrong)


class Nothing(ottla.ProducerInterceptor):
    def on_send(self, message: ottla.Message) -> ottla.Message:
        return None  # type: ignore[return-value]


def send_all(producer: ottla.Producer) -> None:
    for _ in range(MESSAGES):
        producer.send("t", b"v")
    producer.flush()


def on_delivery(bootstrap: str) -> None:
    with ottla.Producer(bootstrap, on_delivery=wrong) as producer:
        send_all(producer)


def done_callback(bootstrap: str) -> None:
    with ottla.Producer(bootstrap) as producer:
        for _ in range(MESSAGES):
            producer.send("t", b"v").add_done_callback(lambda delivery: wrong(delivery))


def on_send(bootstrap: str) -> None:
    with ottla.Producer(bootstrap, interceptors=[Wrong("on_send")]) as producer:
        send_all(producer)


def on_acknowledgement(bootstrap: str) -> None:
    with ottla.Producer(bootstrap, interceptors=[Wrong("on_acknowledgement")]) as producer:
        send_all(producer)


def no_message(bootstrap: str) -> None:
    with ottla.Producer(bootstrap, interceptors=[Nothing()]) as producer:
        send_all(producer)


@pytest.mark.parametrize(
    ("program", "traceback"),
    [
        (on_delivery, True),
        (done_callback, True),
        (on_send, True),
        (on_acknowledgement, True),
        (no_message, False),
    ],
)
def test_each_of_many_is_counted(
    program: Callable[[str], None], traceback: bool, logged: Logged
) -> None:
    with Broker() as broker:
        program(broker.bootstrap)
        assert broker.end_offset("t") == MESSAGES
    assert dispatcher.settle(10)
    (first,) = logged("callback.raised")
    others = logged("callback.raised_again")
    assert len(logged(level=logging.ERROR)) == 1 + len(others)
    assert bool(first.exc_info) == traceback
    assert [record.exc_info for record in others] == [None] * len(others)
    assert 1 + sum(record.__dict__["count"] for record in others) == MESSAGES
    assert len(others) <= 3, "no more than one a second"


def test_listeners_too(logged: Logged) -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        producer.listen(wrong)
        for _ in range(50):
            producer.send_and_wait("t", b"v")
    (first,) = logged("callback.raised", kind="listener")
    others = logged("callback.raised_again", kind="listener")
    assert first.exc_info
    assert [record.exc_info for record in others] == [None] * len(others)
    assert len(others) <= 3
