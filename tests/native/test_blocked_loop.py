"""Waits of a thread that block the event loop running in it: a warning names the await. The test is the broker."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from ottla import errors
from ottla._native import Deliveries, Delivery, ProducerBase
from tests.native.test_producer import Wire, bound, make_flow

SHORT_S = 0.01


@pytest.fixture
def wire() -> Wire:
    return Wire(make_flow())


WAITS: dict[str, tuple[Callable[[ProducerBase], Any], str, str]] = {
    "result": (
        lambda producer: producer.send("t", b"v").result(SHORT_S),
        r"Delivery\.result\(\)",
        "`await delivery`",
    ),
    "exception": (
        lambda producer: producer.send("t", b"v").exception(SHORT_S),
        r"Delivery\.exception\(\)",
        "`await delivery`",
    ),
    "result of send_many": (
        lambda producer: producer.send_many("t", [b"v"]).result(SHORT_S),
        r"Deliveries\.result\(\)",
        "`await deliveries`",
    ),
}


@pytest.mark.parametrize("name", WAITS)
async def test_a_wait_in_a_running_loop_warns_and_names_the_await(name: str, wire: Wire) -> None:
    wait, call, instead = WAITS[name]
    producer = bound(wire.flow)
    with (
        pytest.warns(RuntimeWarning, match=f"{call} blocks the event loop") as caught,
        pytest.raises(errors.Timeout),
    ):
        wait(producer)
    assert instead in str(caught[0].message)
    assert caught[0].filename == __file__


async def test_send_and_wait_warns_before_anything_is_accepted(wire: Wire) -> None:
    producer = bound(wire.flow)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(
            RuntimeWarning, match=r"send_and_wait\(\) blocks .* `ottla\.AsyncProducer`"
        ):
            producer.send_and_wait("t", b"v")
    assert wire.flow.undelivered() == 0


def resolved(wire: Wire) -> tuple[Delivery, Deliveries]:
    producer = bound(wire.flow)
    one, many = producer.send("t", b"v"), producer.send_many("t", [b"v"])
    wire.pump()
    return one, many


async def test_an_outcome_that_is_there_needs_no_wait_and_no_warning(wire: Wire) -> None:
    one, many = resolved(wire)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert one.result().offset == 0
        assert one.exception() is None
        assert many.result() is many


async def test_a_check_that_does_not_wait_does_not_warn(wire: Wire) -> None:
    producer = bound(wire.flow)
    one, many = producer.send("t", b"v"), producer.send_many("t", [b"v"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for look in (one.result, one.exception, many.result):
            with pytest.raises(errors.Timeout):
                look(timeout=0)


async def test_another_thread_may_wait_while_the_loop_runs(wire: Wire) -> None:
    producer = bound(wire.flow)
    delivery = producer.send("t", b"v")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            delivery.result(SHORT_S)
        except BaseException as error:
            raised.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(20)
    assert [type(error) for error in raised] == [errors.Timeout]


async def test_the_warning_comes_once_per_place(wire: Wire) -> None:
    producer = bound(wire.flow)
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        for _ in range(3):
            with pytest.raises(errors.Timeout):
                producer.send("t", b"v").result(SHORT_S)
    assert [warning.category for warning in caught] == [RuntimeWarning]
