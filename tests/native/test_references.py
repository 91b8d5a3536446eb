"""Hand-made methods drop their references at once: PyO3 would retain them until its next call, which may never come.

Between two counts no code of PyO3 runs, because it would drop all retained references.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from ottla import errors
from ottla._native import ProducerBase
from ottla.engine import dispatcher
from ottla.seam.failures import ErrorData

from .test_producer import Wire, bound, fill, make_flow

VALUE = bytes(2000)
NAME = "".join(["name ", "of its own"])


def references() -> tuple[int, int]:
    return sys.getrefcount(VALUE), sys.getrefcount(NAME)


def full() -> ProducerBase:
    producer = bound(make_flow(buffer_bytes=20_000, batch_bytes=4_000))
    fill(producer)
    return producer


def closed() -> ProducerBase:
    producer = bound(Wire(make_flow()).flow)
    producer._stop_accepting()
    return producer


def choosing(_topic: str, _key: bytes | None, _value: bytes | None, _count: int) -> int:
    raise LookupError("of the function's own")


def with_partitioner() -> ProducerBase:
    producer = ProducerBase()
    producer._bind(Wire(make_flow()).flow, choosing)
    return producer


@pytest.mark.parametrize(
    ("make", "send", "refusal"),
    [
        (full, lambda p: p.send_nowait("t", VALUE), errors.BufferFull),
        (full, lambda p: p.send_nowait("t", VALUE, headers=[(NAME, VALUE)]), errors.BufferFull),
        (closed, lambda p: p.send("t", VALUE), errors.Closed),
        (closed, lambda p: p.send("t", VALUE, headers={NAME: VALUE}), errors.Closed),
        (with_partitioner, lambda p: p.send("t", VALUE), LookupError),
    ],
    ids=["full", "full with headers", "closed", "closed with headers", "partitioner"],
)
def test_a_refused_message_is_not_kept(
    make: Callable[[], ProducerBase],
    send: Callable[[ProducerBase], Any],
    refusal: type[Exception],
) -> None:
    producer = make()
    before = references()
    for _ in range(10):
        with pytest.raises(refusal):
            send(producer)
    assert references() == before


def test_headers_are_not_kept() -> None:
    producer = bound(Wire(make_flow()).flow)
    before = references()
    for _ in range(10):
        producer.send("t", b"", headers=[(NAME, VALUE)])
    assert references() == before


def test_a_callback_is_not_kept() -> None:
    wire = Wire(make_flow())
    delivery = bound(wire.flow).send("t", b"")
    wire.pump()
    called: list[Any] = []

    def callback(settled: object) -> None:
        called.append(settled)

    before = sys.getrefcount(callback), sys.getrefcount(delivery)
    for _ in range(10):
        delivery.add_done_callback(callback)
    assert dispatcher.settle(5)
    assert len(called) == 10
    called.clear()
    assert (sys.getrefcount(callback), sys.getrefcount(delivery)) == before


@pytest.mark.parametrize("read", [lambda d: d.error, lambda d: d.exception()])
def test_an_error_that_was_read_is_not_kept(read: Callable[[Any], Any]) -> None:
    wire = Wire(make_flow())
    delivery = bound(wire.flow).send("t", b"")
    wire.flow.abort_all(ErrorData("closed", 0, "given up"))
    seen = weakref.ref(read(delivery))
    assert seen() is None
