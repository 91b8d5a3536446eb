"""The chain of interceptors: order, errors, refusals; and the reports of outcomes, batch by batch."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

import pytest

from ottla import errors
from ottla._native import AsyncProducerBase, ProducerBase
from ottla.engine import dispatcher
from ottla.message import Message
from ottla.observe.raised import raised
from ottla.observe.running import running
from ottla.producer.callbacks import CallbackRef, Callbacks
from ottla.producer.interceptors import (
    Interceptors,
    ProducerInterceptor,
    RefusedDelivery,
)
from ottla.producer.reports import Reports
from ottla.seam.producing import OutcomeReport
from tests.fixtures.logged import Logged
from tests.native.test_producer import Wire, bound, fill, make_flow


class Marker(ProducerInterceptor):
    """Adds its name to the value, and stores the outcomes that it receives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.received: list[Any] = []

    def on_send(self, message: Message) -> Message:
        assert isinstance(message.value, str)
        message.value += self.name
        return message

    def on_acknowledgement(self, delivery: Any) -> None:
        self.received.append(delivery)

    def close(self) -> None:
        self.received.append("closed")


class Spoiler(Marker):
    """Changes the message and raises; raises at everything else too."""

    def on_send(self, message: Message) -> Message:
        message.value, message.topic = "spoiled", "elsewhere"
        if message.headers is not None:
            message.headers.append(("spoiled", b""))
        raise LookupError("spoiled")

    def on_acknowledgement(self, delivery: Any) -> None:
        raise LookupError("spoiled")

    def close(self) -> None:
        raise LookupError("spoiled")


class Mute(Marker):
    def on_send(self, message: Message) -> Message:
        message.value = "changed and forgotten"
        return None  # type: ignore[return-value]


def producers(wire: Wire, chain: Interceptors) -> tuple[ProducerBase, AsyncProducerBase]:
    sync, of_the_loop = ProducerBase(), AsyncProducerBase()
    sync._bind(wire.flow, None, chain)
    of_the_loop._bind(wire.flow, None, chain)
    return sync, of_the_loop


def report_all(wire: Wire, chain: Interceptors) -> None:
    """Report every outcome and refusal, on the dispatcher: a thread that reports never waits for buffer space again."""
    callbacks = Callbacks(None, chain)
    dispatcher.dispatch(Reports(wire.flow, CallbackRef(callbacks))._report_rest, callbacks)
    assert dispatcher.settle(5)


async def test_they_see_each_message_in_order_with_every_way_to_send() -> None:
    wire = Wire(make_flow(report_outcomes=True))
    first, second = Marker("a"), Marker("b")
    chain = Interceptors([first, second])
    producer, of_the_loop = producers(wire, chain)
    producer.send("t", "1")
    producer.send_nowait(topic="t", value="2")
    await of_the_loop.send("t", value="3")
    of_the_loop.send_nowait("t", "4")
    producer.send_many("t", ["5", "6"], keys=["k", "k"])
    producer.send_many([Message("t", "7")])
    await of_the_loop.send_many("t", iter(["8"]))
    await of_the_loop.send_many([Message("t", "9")])
    wire.pump()
    values = sorted(record.value for record in wire.records)
    assert values == [b"%dab" % number for number in range(1, 10)]
    report_all(wire, chain)
    assert len(first.received) == len(second.received) == 9
    assert {delivery.outcome for delivery in first.received} == {"written"}


def test_every_field_can_be_changed() -> None:
    class Changes(Marker):
        def on_send(self, message: Message) -> Message:
            assert message == Message(
                "t",
                b"v",
                key=b"k",
                headers=[("h", b"1")],
                partition=0,
                timestamp_ms=1,
                metadata="m",
            )
            return Message(
                "t", "V", key="K", headers=[("H", b"2")], partition=1, timestamp_ms=2, metadata="M"
            )

    wire = Wire(make_flow())
    producer, _ = producers(wire, Interceptors([Changes("")]))
    delivery = producer.send("t", b"v", b"k", {"h": b"1"}, 0, 1, "m")
    assert (delivery.topic, delivery.partition) == ("t", 1)
    assert (delivery.value, delivery.key) == ("V", "K")
    assert (delivery.headers, delivery.timestamp_ms, delivery.metadata) == ([("H", b"2")], 2, "M")


def test_an_error_is_logged_and_the_message_stays_unchanged(logged: Logged) -> None:
    wire = Wire(make_flow(report_outcomes=True))
    first, last = Marker("a"), Marker("b")
    chain = Interceptors([first, Spoiler(""), Mute(""), last])
    producer, _ = producers(wire, chain)
    headers = [("h", b"")]
    delivery = producer.send("t", "1", headers=headers)
    assert (delivery.topic, delivery.value, delivery.headers) == ("t", "1ab", [("h", b"")])
    assert headers == [("h", b"")]
    wire.pump()
    report_all(wire, chain)
    chain.close()
    assert first.received == last.received == [delivery, "closed"]
    records = [record.__dict__ for record in logged("callback.raised")]
    assert [record["kind"].partition(" ")[0] for record in records] == [
        "on_send",
        "on_send",
        "on_acknowledgement",
        "close",
    ]
    assert records[1]["reason"] == "TypeError: it returned NoneType instead of a Message"


def check_refused(delivery: RefusedDelivery, value: str, error: type[BaseException]) -> None:
    assert (delivery.value, delivery.outcome, delivery.offset) == (value, "not_written", None)
    assert delivery.done()
    # Where `send` raised none of the client's, that is the cause.
    assert isinstance(delivery.error, errors.Error)
    assert delivery.error.outcome == "not_written"
    assert isinstance(delivery.error.__cause__ or delivery.error, error)
    assert delivery.exception() is delivery.error
    with pytest.raises(errors.Error) as raised:
        delivery.result()
    assert raised.value is delivery.error


async def test_a_message_that_send_refuses_has_an_acknowledgement_too() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=0.1))
    marker = Marker("a")
    chain = Interceptors([marker])
    producer, of_the_loop = producers(wire, chain)
    with pytest.raises(TypeError):
        producer.send("t", "1", key=5)  # type: ignore[arg-type]
    with pytest.raises(errors.MessageTooLarge):
        producer.send("t", "x" * 30_000)
    marker.on_send = lambda message: message  # type: ignore[method-assign]
    fill(producer)
    with pytest.raises(errors.BufferFull):
        await of_the_loop.send("t", "y" * 1000)
    with pytest.raises(errors.BufferFull):
        await of_the_loop.send_many("t", ["z" * 1000])
    task = asyncio.create_task(of_the_loop.send("t", "w" * 1000))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert dispatcher.settle(5)
    # The last send of `fill` found no free buffer space.
    kinds = [
        type(received.error.__cause__ or received.error).__name__ for received in marker.received
    ]
    assert kinds == [
        "TypeError",
        "MessageTooLarge",
        "BufferFull",
        "BufferFull",
        "BufferFull",
        "CancelledError",
    ]
    check_refused(marker.received[0], "1a", TypeError)
    assert str(marker.received[0].error) == (
        f"the message was not accepted: TypeError: {marker.received[0].error.__cause__} [t, outcome not_written]"
    )
    check_refused(marker.received[3], "y" * 1000, errors.BufferFull)
    with pytest.raises(errors.BufferFull):
        await marker.received[3]
    wire.pump()


def test_of_many_only_the_refused_one_is_reported() -> None:
    wire = Wire(make_flow())
    marker = Marker("")
    producer, _ = producers(wire, Interceptors([marker]))
    with pytest.raises(TypeError) as caught:
        producer.send_many([Message("t", "1"), Message(5, "2"), Message("t", "3")])  # type: ignore[arg-type]
    assert len(caught.value.accepted) == 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="not one str"):
        producer.send_many("t", "abc")
    with pytest.raises(ValueError, match="more values than keys"):
        producer.send_many("t", ["4", "5"], ["k"])
    with pytest.raises(ValueError, match="more keys than values"):
        producer.send_many("t", ["6"], ["k", "k"])
    with pytest.raises(TypeError, match=r"ottla\.Message, not int"):
        producer.send_many([5])  # type: ignore[list-item]
    assert dispatcher.settle(5)
    assert [delivery.value for delivery in marker.received] == ["2"]
    assert (marker.received[0].topic, marker.received[0].error.topic) == (5, None)
    assert wire.pump() == 3


async def test_a_message_has_one_acknowledgement_however_often_it_is_awaited() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, report_outcomes=True))
    marker = Marker("")
    chain = Interceptors([marker])
    _, of_the_loop = producers(wire, chain)
    fill_up = ["x" * 1000] * 30
    with pytest.raises(errors.BufferFull):
        [of_the_loop.send_nowait("t", value) for value in fill_up]
    sent = of_the_loop.send("t", "waited" * 200)
    many = of_the_loop.send_many("t", ["waited" * 200])
    assert "waiting for free buffer space" in repr(sent)
    asyncio.get_running_loop().call_later(0.01, write_and_report_all, wire, chain)
    delivery = await sent
    await many
    for again in (sent, many):
        with pytest.raises(RuntimeError, match="already awaited"):
            await again
        with pytest.raises(asyncio.CancelledError):
            again.throw(asyncio.CancelledError())
        again.close()
    write_and_report_all(wire, chain)
    received = [each.outcome for each in marker.received if each.value.startswith("waited")]
    assert (received, delivery.outcome) == (["written", "written"], "written")


def write_and_report_all(wire: Wire, chain: Interceptors) -> None:
    """Write every message and report its outcome."""
    wire.pump()
    report_all(wire, chain)


async def test_a_refused_message_has_one_acknowledgement_too() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=0.01))
    marker = Marker("")
    chain = Interceptors([marker])
    producer, of_the_loop = producers(wire, chain)
    fill(producer)
    assert dispatcher.settle(5)
    marker.received.clear()
    refused, closed = (of_the_loop.send("t", name * 1000) for name in "rc")
    closed.close()
    with pytest.raises(errors.BufferFull):
        await refused
    with pytest.raises(RuntimeError, match="already awaited"):
        await refused
    refused.close()
    closed.close()
    assert dispatcher.settle(5)
    check_refused(marker.received[0], "c" * 1000, asyncio.CancelledError)

    async def nobody_awaits(_: Any) -> None:
        """Given by mistake."""

    with pytest.raises(TypeError, match=r"coroutine function .*nobody_awaits"):
        marker.received[0].add_done_callback(nobody_awaits)
    check_refused(marker.received[1], "r" * 1000, errors.BufferFull)
    assert len(marker.received) == 2
    wire.pump()


async def test_after_the_end_nobody_sees_a_message() -> None:
    wire = Wire(make_flow(report_outcomes=True))
    marker = Marker("a")
    seen: list[Message] = []
    marker.on_send = lambda message: seen.append(message) or message  # type: ignore[func-returns-value,method-assign]
    chain = Interceptors([marker])
    producer, of_the_loop = producers(wire, chain)
    first = producer.send("t", "1")
    producer._stop_accepting()
    for send in (producer.send, producer.send_nowait, producer.send_and_wait):
        with pytest.raises(errors.Closed):
            await asyncio.to_thread(send, "t", "2", key="k", headers={"h": b""})
    with pytest.raises(errors.Closed):
        of_the_loop.send_nowait("t", "2")
    for way in (of_the_loop.send, of_the_loop.send_and_wait):
        with pytest.raises(errors.Closed):
            await way("t", value="2")
    for given in (("t", ["2"]), ([Message("t", "2")],)):
        with pytest.raises(errors.Closed) as caught:
            producer.send_many(*given)
        assert caught.value.accepted is not None
        assert len(caught.value.accepted) == 0
        with pytest.raises(errors.Closed):
            await of_the_loop.send_many(*given)
    write_and_report_all(wire, chain)
    chain.close()
    assert [message.value for message in seen] == ["1"]
    assert marker.received == [first, "closed"]


class Signal:
    """KeyboardInterrupt before the first line of the second call of a function, where a signal may come too."""

    def __init__(self, function: Any) -> None:
        self.code = function.__code__
        self.calls = 0

    def __enter__(self) -> None:
        self.before = sys.gettrace()
        sys.settrace(self.trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def trace(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is self.code:
            self.calls += 1
            if self.calls == 2:
                raise KeyboardInterrupt


@pytest.mark.parametrize("in_loop", [False, True])
async def test_a_signal_between_two_messages_makes_no_refusal_of_the_first(in_loop: bool) -> None:
    wire = Wire(make_flow(report_outcomes=True))
    marker = Marker("")
    chain = Interceptors([marker])
    producer, of_the_loop = producers(wire, chain)

    async def send_many() -> None:
        if in_loop:
            await of_the_loop.send_many("t", ["1", "2"])
        else:
            producer.send_many("t", ["1", "2"])

    with Signal(Interceptors.on_send), pytest.raises(KeyboardInterrupt) as caught:
        await send_many()
    assert len(caught.value.accepted) == 1  # type: ignore[attr-defined]
    write_and_report_all(wire, chain)
    assert [(each.value, each.outcome) for each in marker.received] == [("1", "written")]


# ---- reports -------------------------------------------------------------------------------------------------------


class Batches:
    """A flow with this number of batches to report."""

    def __init__(self, count: int, *, callbacks: bool = True) -> None:
        self.left: list[Any] = list(range(count))
        self.callbacks = callbacks

    def next_report(self) -> OutcomeReport | None:
        return OutcomeReport([self.left.pop(0)], []) if self.left else None

    def reports_outcomes(self) -> bool:
        return self.callbacks

    def has_callbacks(self) -> bool:
        return True


def test_an_exception_in_a_callback_is_logged_and_loses_nothing(logged: Logged) -> None:
    called: list[Any] = []

    def callback(number: Any) -> None:
        called.append(number)
        if number % 2:
            raise LookupError("odd")

    reports = Reports(Batches(10), CallbackRef(Callbacks(callback)))  # type: ignore[arg-type]
    ticket = reports.report_all()
    assert ticket is not None
    ticket.wait(5)
    assert called == list(range(10))
    raised.end()
    (first,) = logged("callback.raised")
    assert first.exc_info is not None
    assert logged("callback.raised_again", count=4)


def test_callbacks_of_others_get_their_turn() -> None:
    order: list[str] = []
    first = Reports(Batches(200), CallbackRef(Callbacks(lambda _: order.append("first"))))  # type: ignore[arg-type]
    second = Reports(Batches(1), CallbackRef(Callbacks(lambda _: order.append("second"))))  # type: ignore[arg-type]
    dispatcher.dispatch(first.report_soon)
    dispatcher.dispatch(second.report_soon)
    for _ in range(10):
        assert dispatcher.settle(5)
    assert len(order) == 201
    assert order.index("second") < 200


def test_a_callback_does_not_wait_for_itself() -> None:
    found: list[Any] = []
    reports = Reports(Batches(0), CallbackRef(Callbacks(print)))  # type: ignore[arg-type]
    dispatcher.dispatch(lambda: found.extend([reports.report_all(), reports.run_callbacks()]))
    assert dispatcher.settle(5)
    assert found == [None, None]
    without = Batches(0, callbacks=False)
    assert Reports(without, CallbackRef(Callbacks(None))).report_all() is None  # type: ignore[arg-type]


def test_the_interceptor_that_is_called_is_named_while_it_runs() -> None:
    seen: list[tuple[object, str, int]] = []

    class Looks(Marker):
        def on_acknowledgement(self, delivery: Any) -> None:
            seen.append((running.function, running.client, running.number))
            if delivery.value.startswith("leave"):
                raise SystemExit

    first, second = Looks(""), Looks("")
    wire = Wire(make_flow(report_outcomes=True))
    chain = Interceptors([first, second], "producer orders")
    producer, _ = producers(wire, chain)
    producer.send_many("t", ["leave", "stay"])
    producer.send("t", "a")
    wire.pump()
    report_all(wire, chain)
    named = [(one.on_acknowledgement, "producer orders") for one in (first, second)] * 3
    assert [(function, who) for function, who, _ in seen] == named
    assert len({number for _, _, number in seen}) == 6, "each is a call of its own"
    assert running.function is None


@pytest.mark.parametrize("refused", [False, True])
def test_a_callback_for_a_resolved_delivery_is_named_and_its_client_too(
    refused: bool, logged: Logged
) -> None:
    wire = Wire(make_flow())
    delivery: Any = bound(wire.flow).send("t", "a")
    wire.pump()
    if refused:
        delivery = RefusedDelivery(Message("t", "a"), errors.BufferFull("full"), "producer test")
    seen: list[object] = []

    def raises(_: Any) -> None:
        seen.append(running.function)
        raise LookupError("its own fault")

    delivery.add_done_callback(raises)
    assert dispatcher.settle(5)
    assert seen == [raises]
    (line,) = logged("callback.raised", client="producer test")
    assert (line.__dict__["function"], line.__dict__["argument"]) == (repr(raises), repr(delivery))
