"""Outcomes for the producer's callbacks and for readers, driven by hand: the test is the broker and the dispatcher."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ottla import errors
from ottla._native import Delivery, ProduceFlow, ProducerBase
from ottla.observe.budget import cause_text, full_text
from ottla.observe.running import running
from ottla.seam.failures import ErrorData, Failure, GivenUp
from ottla.seam.producing import MessagesFailed, OutcomesReady
from tests.native.test_producer import Wire, bound, fill, make_flow


def reporting_flow(**changed: Any) -> tuple[Wire, ProducerBase]:
    wire = Wire(make_flow(report_outcomes=True, **changed))
    return wire, bound(wire.flow)


def take_reports(flow: ProduceFlow) -> list[Delivery]:
    """All due reports, as the dispatcher would take them."""
    reported: list[Delivery] = []
    while (report := flow.next_report()) is not None:
        reported += report[0]
    return reported


def used(wire: Wire) -> int:
    count: int = wire.flow.statistics().buffered_bytes
    return count


def test_every_message_is_reported_once_in_the_order_of_outcomes() -> None:
    wire, producer = reporting_flow()
    sent = [producer.send("t", b"%d" % number, partition=0) for number in range(3)]
    producer.send_many("t", [b"3", b"4"])
    assert wire.flow.drain() == []
    wire.pump()
    failed = producer.send("t", b"5", partition=0)
    wire.flow.abort_all(ErrorData("closed", 0, "given up"))
    # Repeated until the outcomes are taken, since the dispatcher may be late.
    failure = Failure(GivenUp(ErrorData("closed", 0, "given up")), "not_written")
    gone = MessagesFailed("t", 0, 1, failure)
    assert wire.flow.drain() == [gone, OutcomesReady()]
    assert wire.flow.drain() == [OutcomesReady()]
    reported = take_reports(wire.flow)
    assert [
        delivery for delivery in reported if delivery.partition == 0 and delivery in sent
    ] == sent
    assert sorted(bytes(delivery.value) for delivery in reported) == [b"%d" % n for n in range(6)]
    assert reported[-1] is failed
    assert failed.outcome == "not_written"
    assert wire.flow.drain() == []
    assert take_reports(wire.flow) == []


def test_unreported_outcomes_count_against_the_buffer() -> None:
    wire, producer = reporting_flow(buffer_bytes=60_000)
    while fill(producer):
        wire.pump()
    assert used(wire) > 50_000
    before = used(wire)
    assert wire.flow.next_report()
    assert used(wire) == before, "its callbacks have not run yet"
    take_reports(wire.flow)
    assert used(wire) == 0
    producer.send_nowait("t", b"the buffer has space again")


@pytest.mark.parametrize("reader_first", [True, False])
def test_readers_and_callbacks_each_get_each_outcome(reader_first: bool) -> None:
    wire, producer = reporting_flow(return_successes=True)
    sent = [producer.send("t", b"%d" % number) for number in range(10)]
    wire.pump()
    held = used(wire)
    assert held > 0
    ways: list[Callable[[], Any]] = [
        lambda: producer._take_outcomes(False, 100, 1),
        lambda: take_reports(wire.flow),
    ]
    first, second = ways if reader_first else reversed(ways)
    assert first() == sent
    assert used(wire) == held
    assert second() == sent
    assert used(wire) == 0


def test_readers_get_only_the_outcomes_of_their_option() -> None:
    wire, producer = reporting_flow(return_errors=True)
    producer.send("t", b"written")
    wire.pump()
    failed = producer.send("t", b"failed")
    wire.flow.abort_all(ErrorData("closed", 0, "given up"))
    assert producer._take_outcomes(None, 100, 1) == [failed]
    assert len(take_reports(wire.flow)) == 2
    assert used(wire) == 0


def test_callbacks_outlive_a_dropped_producer() -> None:
    wire, producer = reporting_flow(return_successes=True)
    producer.send("t", b"resolved before")
    wire.pump()
    producer.send("t", b"resolved after")
    del producer
    gc.collect()
    wire.pump()
    assert [delivery.value for delivery in take_reports(wire.flow)] == [
        b"resolved before",
        b"resolved after",
    ]
    assert used(wire) == 0


def test_messages_that_waited_for_their_topic_are_reported() -> None:
    wire = Wire(make_flow(report_outcomes=True), known=False)
    producer = bound(wire.flow)
    sent = [producer.send("t", b"", partition=number % 2) for number in range(4)]
    lost = producer.send("unknown", b"x")
    wire.know()
    wire.pump()
    assert repr(lost) == "<Delivery unknown pending>"
    wire.flow.fail_topic("unknown", ErrorData("broker", 17, "no such name"))
    refused = "INVALID_TOPIC_EXCEPTION (17): no such name"
    assert repr(lost) == f"<Delivery unknown not_written: {refused}>"
    reported = take_reports(wire.flow)
    assert sorted(map(id, reported)) == sorted(map(id, [*sent, lost]))
    assert used(wire) == 0


# ---- outcomes that nobody keeps ---------------------------------------------------------------------------------------


class Thing:
    """Given as metadata: lives as long as its delivery."""


@pytest.mark.parametrize(
    ("kept", "written"), [("return_errors", True), ("return_successes", False)]
)
def test_deliveries_that_nobody_reads_count_until_they_are_dropped(
    kept: str, written: bool
) -> None:
    wire = Wire(make_flow(**{kept: True}))
    producer = bound(wire.flow)
    for _ in range(3):
        things = [Thing() for _ in range(20)]
        alive = [weakref.ref(thing) for thing in things]
        for thing in things:
            producer.send("t", b"x", metadata=thing)
        del thing, things
        if written:
            wire.pump()
        else:
            wire.flow.abort_all(ErrorData("closed", 0, "given up"))
        assert used(wire) > 0, "they are memory still"
        wire.flow.drain()
        assert [one() for one in alive if one() is not None] == []
        assert used(wire) == 0


SENDS_IN_A_FINALIZER = """
from tests.native.test_producer import Wire, bound, make_flow

class Finalized:
    def __del__(self):
        producer.send("t", b"another")
        wire.pump()

wire = Wire(make_flow(return_errors=True))
producer = bound(wire.flow)
for _ in range(3):
    producer.send("t", b"x", metadata=Finalized())
wire.pump()
wire.flow.drain()
print(len(wire.records))
"""


def test_the_finalizer_of_a_dropped_value_may_send() -> None:
    # In a process of its own: a lock that is held meanwhile stops the process with the GIL.
    ended = subprocess.run(
        [sys.executable, "-c", SENDS_IN_A_FINALIZER], capture_output=True, text=True, timeout=30
    )
    assert (ended.stdout, ended.returncode) == ("6\n", 0), ended.stderr


# ---- holders of the budget -------------------------------------------------------------------------------------------


def slow(_: Delivery) -> None:
    """A callback of the application."""


@pytest.fixture
def _nothing_runs() -> Iterator[None]:
    yield
    running.end()


@pytest.mark.usefixtures("_nothing_runs")
@pytest.mark.parametrize("read", [False, True])
def test_a_callback_that_holds_the_budget_is_named(read: bool) -> None:
    wire, producer = reporting_flow(buffer_bytes=20_000, return_successes=read)
    while fill(producer):
        wire.pump()
    wire.pump()
    cause = "their callbacks have not been called yet"
    with pytest.raises(errors.BufferFull, match=rf"queued for outcomes \({cause}\)"):
        producer.send_nowait("t", bytes(1000))
    first = wire.flow.next_report()
    assert first
    running.begin(slow, "producer orders")
    named = f"(the callback {slow!r} of producer orders has not returned)"
    with pytest.raises(errors.BufferFull) as caught:
        producer.send_nowait("t", bytes(1000))
    assert named in str(caught.value)
    budget = wire.flow.budget(1)
    assert budget.callbacks_due
    assert named in full_text(budget)
    assert f"({cause_text(budget.holders[0].cause, callbacks_due=True)})" == named
    running.end()
    take_reports(wire.flow)
    if read:
        with pytest.raises(errors.BufferFull, match="resolved deliveries not read"):
            producer.send_nowait("t", bytes(1000))
    else:
        producer.send_nowait("t", bytes(1000))


class Unshowable:
    """Its repr raises."""

    def __call__(self, _: Delivery) -> None:
        """Called with outcomes."""

    def __repr__(self) -> str:
        raise LookupError("its own fault")


@pytest.mark.usefixtures("_nothing_runs")
def test_a_callback_that_cannot_be_shown_spoils_no_error() -> None:
    wire, producer = reporting_flow(buffer_bytes=20_000)
    while fill(producer):
        wire.pump()
    wire.pump()
    running.function = Unshowable()
    with pytest.raises(errors.BufferFull, match="their callbacks have not returned"):
        producer.send_nowait("t", bytes(1000))
