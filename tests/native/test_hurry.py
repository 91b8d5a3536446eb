"""A waiting caller ends the linger, also where the event loop that was to end it is interrupted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from typing import Any

import pytest

from ottla import _native, errors
from ottla.config.producer import producer_config
from ottla.producer.accumulator import make_flow
from ottla.seam.producing import ProducerIdentity

CONN = 1
LONG_AGO_US = 0
"""A time at which nothing that is sent now has lingered."""


def make() -> tuple[_native.ProduceFlow, _native.ProducerBase]:
    flow = make_flow(None, producer_config("h:1", {"linger_ms": 60_000}))
    flow.set_identity(ProducerIdentity(1, 0))
    flow.attach(CONN, 9)
    flow.set_topic("t", bytes(16), 2, [0, 1])
    for partition in range(2):
        flow.route("t", partition, CONN)
    producer = _native.ProducerBase()
    producer._bind(flow)
    return flow, producer


def goes(flow: _native.ProduceFlow) -> bool:
    return _native.next_frame(flow, CONN, 1, LONG_AGO_US) is not None


def asleep(delivery: _native.Delivery) -> Generator[Any, None, Any]:
    waiting = delivery.__await__()
    next(waiting)
    return waiting


def the_child_ends_with(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def test_the_linger_ends_with_the_turn_of_the_loop() -> None:
    flow, producer = make()
    waiting = asleep(producer.send("t", b"v"))
    assert not goes(flow), "others may be about to send in this turn"
    await asyncio.sleep(0)
    assert goes(flow)
    waiting.close()


async def test_a_thread_ends_the_linger_before_the_end_of_the_turn_that_it_holds_up() -> None:
    flow, producer = make()
    delivery = producer.send("t", b"v")
    waiting = asleep(delivery)
    with pytest.warns(RuntimeWarning, match="blocks the event loop"), pytest.raises(errors.Timeout):
        delivery.result(0.001)
    assert goes(flow)
    waiting.close()


async def test_the_next_call_ends_the_linger_for_a_lost_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow, producer = make()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "call_soon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asleep(producer.send("t", b"v", partition=0))
    waiting = asleep(producer.send("t", b"v", partition=1))
    await asyncio.sleep(0)
    assert goes(flow)
    waiting.close()


async def test_the_child_of_a_fork_touches_no_producer_of_its_parent() -> None:
    """Another thread of the parent may have held the producer's lock: no thread of the child would ever release it."""
    flow, producer = make()
    waiting = asleep(producer.send("t", b"v"))
    bridge = _native.bridge_for_loop(asyncio.get_running_loop())
    child = os.fork()
    if child == 0:
        _native.mark_forked()
        bridge.turn_ended()
        os._exit(1 if goes(flow) else 0)
    assert the_child_ends_with(child) == 0
    waiting.close()
