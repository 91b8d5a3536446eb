"""The producer's hot methods, driven by hand: no thread, no socket; the test is the broker and the clock."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ottla import _native, errors
from ottla._native import AsyncProducerBase, Deliveries, Delivery, ProduceFlow, ProducerBase
from ottla.engine import dispatcher
from ottla.message import RecordMetadata
from ottla.protocol.headers import decode_request, encode_response
from ottla.protocol.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from ottla.seam.failures import ErrorData, Failure, GivenUp
from ottla.seam.producing import (
    Answer,
    CallbacksReady,
    Fail,
    Held,
    HeldBatch,
    ProducerIdentity,
    RouteWanted,
    TopicWanted,
)
from ottla.seam.settings import BatchSettings, ProduceSettings
from ottla.testing.plain_records import decode_batch, split_batches

CONN = 7
VERSION = 9
NOW_US = 1_000_000_000_000


SETTINGS = ProduceSettings(
    client_id="test",
    acks=-1,
    idempotent=True,
    transactional_id=None,
    gapless=False,
    batches=BatchSettings("none", None, batch_bytes=16384, linger=0.0),
    topics={},
    request_bytes=1_000_000,
    message_bytes=1_000_000,
    buffer_bytes=1_000_000,
    in_flight=5,
    request_timeout=30.0,
    delivery_timeout=120.0,
    max_block=5.0,
    partitioner="default",
    adaptive=True,
    availability_timeout=0.0,
    return_successes=False,
    return_errors=False,
    report_outcomes=False,
)


def make_flow(**changed: Any) -> ProduceFlow:
    """A flow that no thread drives; changed: fields of its settings, or of how all batches are made."""
    batches = {name: changed.pop(name) for name in BatchSettings._fields if name in changed}
    changed["batches"] = SETTINGS.batches._replace(**batches)
    return ProduceFlow(None, SETTINGS._replace(**changed))


class Wire:
    """A broker by hand: topic `t` with two partitions."""

    def __init__(self, flow: ProduceFlow, known: bool = True) -> None:
        self.flow = flow
        self.ends = [0, 0]
        self.records: list[Any] = []
        flow.set_identity(ProducerIdentity(1, 0))
        flow.attach(CONN, VERSION)
        if known:
            self.know()

    def know(self) -> None:
        self.flow.set_topic("t", bytes(16), 2, [0, 1])
        for partition in range(2):
            self.flow.route("t", partition, CONN)

    def pump(self, code: int = 0) -> int:
        """Take every request, check its batches, answer; return the number of records."""
        count = 0
        while (taken := _native.next_frame(self.flow, CONN, 1, NOW_US)) is not None:
            token, frame = taken
            count += self._answer(token, frame, code)
        return count

    def _answer(self, token: int, frame: bytes, code: int) -> int:
        _, request = decode_request(frame)
        assert isinstance(request, ProduceRequest)
        answers, count = [], 0
        for topic in request.topic_data:
            partitions = []
            for data in topic.partition_data:
                records = [
                    r
                    for _, batch in split_batches(data.records or b"")
                    for r in decode_batch(batch)
                ]
                self.records += records
                count += len(records)
                base = -1 if code else self.ends[data.index]
                partitions.append(
                    PartitionProduceResponse(index=data.index, error_code=code, base_offset=base)
                )
                self.ends[data.index] += 0 if code else len(records)
            answers.append(TopicProduceResponse(name=topic.name, partition_responses=partitions))
        body = encode_response(ProduceResponse(responses=answers), VERSION, correlation_id=1)
        _native.answer(self.flow, CONN, token, body[4:], NOW_US)
        return count


@pytest.fixture
def wire() -> Wire:
    return Wire(make_flow())


@pytest.fixture
def producer(wire: Wire) -> ProducerBase:
    made = ProducerBase()
    made._bind(wire.flow)
    return made


def bound(flow: ProduceFlow) -> ProducerBase:
    made = ProducerBase()
    made._bind(flow)
    return made


# ---- send ------------------------------------------------------------------------------------------------------------


def test_a_message_becomes_a_record_and_its_delivery_knows(
    wire: Wire, producer: ProducerBase
) -> None:
    delivery = producer.send(
        "t",
        b"value",
        key="key",
        headers=[("a", b"1"), ("a", None)],
        partition=1,
        timestamp_ms=77,
        metadata=wire,
    )
    assert (delivery.done(), delivery.outcome, delivery.offset, delivery.error) == (
        False,
        None,
        None,
        None,
    )
    assert repr(delivery) == "<Delivery t-1 pending>"
    assert wire.pump() == 1
    assert delivery.result(0) == RecordMetadata("t", 1, 0, 77)
    assert (delivery.topic, delivery.partition, delivery.offset, delivery.timestamp_ms) == (
        "t",
        1,
        0,
        77,
    )
    assert (delivery.key, delivery.value, delivery.headers) == (
        "key",
        b"value",
        [("a", b"1"), ("a", None)],
    )
    assert (delivery.metadata is wire, delivery.outcome, delivery.error) == (True, "written", None)
    (record,) = wire.records
    assert (record.key, record.value, record.timestamp) == (b"key", b"value", 77)
    assert list(record.headers) == [("a", b"1"), ("a", None)]


@pytest.mark.parametrize(
    ("given", "bytes_of_it"),
    [
        (None, None),
        (b"", b""),
        ("é", "é".encode()),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"cd"), b"cd"),
    ],
)
def test_types_of_a_value(
    wire: Wire, producer: ProducerBase, given: Any, bytes_of_it: bytes | None
) -> None:
    producer.send("t", given, given, {"h": given})
    wire.pump()
    (record,) = wire.records
    assert (record.value, record.key) == (bytes_of_it, bytes_of_it)
    assert list(record.headers) == [("h", bytes_of_it)]


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "needs a topic"),
        ((5,), {}, "topic must be a str, the name of a topic, not int 5"),
        (("",), {}, "empty"),
        (("t", 5), {}, "value must be bytes, bytearray, memoryview, str or None, not int"),
        (("t", b"", 1.5), {}, "key must be bytes, bytearray, memoryview, str or None, not float"),
        (("t", memoryview(b"abcd")[::2]), {}, "value is a memoryview that is not contiguous"),
        (("t",), {"headers": [("a",)]}, "is a tuple of 1: headers must be pairs of name"),
        (("t",), {"headers": [(b"a", b"")]}, "has a name that is bytes"),
        (("t",), {"headers": [("a", 1)]}, "the value of headers.0. must be bytes"),
        (("t",), {"partition": -1}, "partition must be 0 to 2147483647, not -1"),
        (("t",), {"partition": "0"}, "partition must be an int, not str '0'"),
        (("t",), {"timestamp_ms": -5}, "timestamp_ms must be 0 to 9223372036854775807, not -5"),
        (("t",), {"valve": b""}, "unexpected keyword argument 'valve': did you mean value.$"),
        (("t",), {"value": b"", "zzz": b""}, "unexpected keyword argument 'zzz'$"),
        (("t",), {"timestamp": 5}, "'timestamp': it is called timestamp_ms here, in millisec"),
        (("t",), {"callback": print}, "'callback': it is called on_delivery here, a function of"),
        (("t",), {"value_serializer": str}, "'value_serializer': keys and values are bytes or str"),
        (("t", b""), {"value": b""}, "multiple values for argument 'value'"),
        (("t", b"", b"", None, 0, 0, None, None, 1), {}, "at most 8 arguments"),
        (("t", "\ud800"), {}, "surrogates not allowed: UTF-8 cannot encode this value"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_accepted(
    wire: Wire, producer: ProducerBase, args: Any, kwargs: Any, text: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        producer.send(*args, **kwargs)
    assert wire.flow.undelivered() == 0


def test_a_partition_that_is_not_there(wire: Wire, producer: ProducerBase) -> None:
    delivery = producer.send("t", b"", partition=2)
    assert not delivery.done()
    assert TopicWanted("t") in wire.flow.drain()
    assert wire.flow.awaits_metadata("t")
    wire.flow.refuse_missing("t", wire.flow.stored_count("t"))
    error = delivery.exception(0)
    assert isinstance(error, errors.KafkaError)
    assert "partition 2 does not exist: the topic has 2" in str(error)
    assert (error.topic, error.partition, error.outcome) == ("t", 2, "not_written")
    assert wire.flow.undelivered() == 0


def test_too_large_fails_alone_and_at_once(wire: Wire, producer: ProducerBase) -> None:
    with pytest.raises(errors.MessageTooLarge, match="but buffer_memory allows 999448"):
        producer.send("t", bytes(1_000_001))
    producer.send("t", b"small")
    assert wire.pump() == 1


def test_messages_wait_for_metadata_in_order() -> None:
    wire = Wire(make_flow(), known=False)
    producer = bound(wire.flow)
    deliveries = [producer.send("t", b"%d" % number, partition=number % 2) for number in range(10)]
    assert wire.flow.drain() == [TopicWanted("t")]
    assert [delivery.partition for delivery in deliveries] == [None] * 10
    wire.know()
    assert [delivery.partition for delivery in deliveries] == [0, 1] * 5
    assert wire.pump() == 10
    assert [delivery.offset for delivery in deliveries] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_failure_is_an_exception_with_its_outcome(wire: Wire, producer: ProducerBase) -> None:
    delivery = producer.send("t", b"", partition=0)
    wire.pump(code=87)
    refused = Answer(87, None, [], None)
    batch = HeldBatch(1, 68, 1, False, "none", False, refused)
    assert wire.flow.drain() == [Held("t", 0, "answer", [batch], ProducerIdentity(1, 0))]
    failure = Failure(GivenUp(ErrorData("broker", 87, "refused")), "not_written")
    wire.flow.release("t", 0, [Fail(failure)])
    error = delivery.exception(0)
    assert isinstance(error, errors.KafkaError)
    assert (error.code, error.outcome, error.topic, error.partition) == (87, "not_written", "t", 0)
    with pytest.raises(errors.KafkaError, match="refused"):
        delivery.result(0)
    assert delivery.outcome == "not_written"


def test_closed(wire: Wire, producer: ProducerBase) -> None:
    producer._stop_accepting()
    with pytest.raises(errors.Closed):
        producer.send("t", b"")


def test_before_init() -> None:
    with pytest.raises(RuntimeError, match="__init__ has not run"):
        ProducerBase().send("t", b"")


# ---- Delivery --------------------------------------------------------------------------------------------------------


def test_a_delivery_is_small_and_the_collector_does_not_know_it(producer: ProducerBase) -> None:
    delivery = producer.send("t", b"v", b"k")
    assert sys.getsizeof(delivery) <= 64
    assert not gc.is_tracked(delivery)
    assert gc.is_tracked(producer.send("t", b"v", metadata=[]))
    with pytest.raises(TypeError):
        type(delivery)()


def test_a_cycle_through_metadata_is_collected(wire: Wire, producer: ProducerBase) -> None:
    class Seen:
        delivery: Delivery

    before = sum(isinstance(thing, Seen) for thing in gc.get_objects())
    for _ in range(10):
        seen = Seen()
        seen.delivery = producer.send("t", b"", metadata=seen)
    del seen
    wire.pump()
    gc.collect()
    assert sum(isinstance(thing, Seen) for thing in gc.get_objects()) == before


def test_no_reference_to_a_sent_message_is_retained(wire: Wire, producer: ProducerBase) -> None:
    value, key = bytes(bytearray(b"value of its own")), bytes(bytearray(b"key of its own"))
    counts = sys.getrefcount(value), sys.getrefcount(key)
    for _ in range(1000):
        producer.send("t", value, key, [("h", value)], metadata=key)
        producer.send_many("t", [value], [key])
        wire.pump()
    gc.collect()
    assert (sys.getrefcount(value), sys.getrefcount(key)) == counts


def test_waiting_for_an_outcome(wire: Wire, producer: ProducerBase) -> None:
    delivery = producer.send("t", b"")
    for _ in range(3):
        with pytest.raises(errors.Timeout):
            delivery.result(0.001)
    with pytest.raises(ValueError, match="nan"):
        delivery.exception(float("nan"))
    threading.Timer(0.02, wire.pump).start()
    assert delivery.result(5).offset == 0
    assert delivery.exception() is None


def test_callbacks_run_on_the_dispatcher(wire: Wire, producer: ProducerBase) -> None:
    called: list[tuple[Delivery, str]] = []

    def callback(delivery: Delivery) -> None:
        called.append((delivery, threading.current_thread().name))

    delivery = producer.send("t", b"")
    delivery.add_done_callback(callback)
    assert wire.flow.drain() == []
    wire.pump()
    assert wire.flow.drain() == [CallbacksReady([(callback, delivery)])]
    delivery.add_done_callback(callback)
    assert dispatcher.settle(5)
    assert called == [(delivery, "ottla-dispatcher")]


def test_a_callback_follows_its_message_to_another_batch() -> None:
    wire = Wire(make_flow(), known=False)
    producer = bound(wire.flow)
    deliveries = [producer.send("t", b"", partition=number % 2) for number in range(4)]
    for delivery in deliveries:
        delivery.add_done_callback(print)
    wire.know()
    assert wire.flow.drain() == [TopicWanted("t"), RouteWanted("t", 0), RouteWanted("t", 1)]
    wire.pump()
    (ready,) = wire.flow.drain()
    assert isinstance(ready, CallbacksReady)
    assert sorted(ready.calls, key=lambda call: id(call[1])) == sorted(
        [(print, delivery) for delivery in deliveries], key=lambda call: id(call[1])
    )


# ---- send_many -------------------------------------------------------------------------------------------------------


def test_many(wire: Wire, producer: ProducerBase) -> None:
    many = producer.send_many("t", (b"%d" % number for number in range(5000)), keys=["same"] * 5000)
    assert (len(many), many.done()) == (5000, False)
    wire.pump()
    assert many.result(0) is many
    assert many.offsets == list(range(5000))
    assert many.failed == []
    assert many[-1].result(0).offset == 4999
    assert [one.offset for one in many[4_990:9_999:4]] == [4990, 4994, 4998]
    assert [one.offset for one in many[2::-1]] == [2, 1, 0]
    assert many[5_000:] == []
    assert [delivery.offset for delivery in many] == many.offsets
    with pytest.raises(IndexError):
        many[5000]


def test_many_that_end_early_report_the_accepted_messages(
    wire: Wire, producer: ProducerBase
) -> None:
    with pytest.raises(TypeError, match="not int") as caught:
        producer.send_many("t", [b"a", b"b", 5, b"c"])  # type: ignore[list-item]
    accepted = caught.value.accepted  # type: ignore[attr-defined]
    assert isinstance(accepted, Deliveries)
    assert len(accepted) == 2
    assert wire.pump() == 2
    assert accepted.done()
    with pytest.raises(ValueError, match="more values than keys"):
        producer.send_many("t", [b"a", b"b"], [b"k"])


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_many_of_every_kind_of_value_keep_their_order(
    wire: Wire, producer: ProducerBase, kind: Callable[[list[Any]], Any]
) -> None:
    values: list[Any] = [
        b"a",
        "é",
        None,
        bytearray(b"b"),
        memoryview(b"c"),
        b"",
        *[b"z"] * 150,
        "end",
    ]
    many = producer.send_many("t", kind(values), keys=None)
    assert len(many) == len(values)
    assert wire.pump() == len(values)
    wanted = [None if v is None else v.encode() if isinstance(v, str) else bytes(v) for v in values]
    assert [record.value for record in wire.records] == wanted
    assert many.offsets == list(range(len(values)))


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_many_are_accepted_until_the_buffer_is_full(
    kind: Callable[[list[bytes]], Any],
) -> None:
    flow = small()
    flow.set_topic("t", bytes(16), 1, [0])
    producer = ProducerBase()
    producer._bind(flow)
    with pytest.raises(errors.BufferFull) as caught:
        producer.send_many("t", kind([bytes(100)] * 1000))
    accepted = caught.value.accepted
    assert accepted is not None
    assert 0 < len(accepted) < 1000
    assert flow.undelivered() == len(accepted)


def test_a_list_that_shrinks_while_many_wait_for_space_ends_the_send() -> None:
    flow = make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=5.0)
    flow.set_topic("t", bytes(16), 1, [0])
    producer = ProducerBase()
    producer._bind(flow)
    values = [bytes(1000)] * 100

    def shrink() -> None:
        values.clear()
        flow.abort_all(ErrorData("closed", 0, "frees the buffer"))

    threading.Timer(0.05, shrink).start()
    assert 0 < len(producer.send_many("t", values)) < 100


def test_failures_among_many(producer: ProducerBase, wire: Wire) -> None:
    many = producer.send_many("t", [b"x"] * 3)
    wire.flow.abort_all(ErrorData("closed", 0, "given up"))
    assert [index for index, _ in many.failed] == [0, 1, 2]
    assert all(isinstance(error, errors.Closed) for _, error in many.failed)
    with pytest.raises(errors.Closed):
        many.result(0)


# ---- free space ------------------------------------------------------------------------------------------------------


def small() -> ProduceFlow:
    return make_flow(buffer_bytes=20_000, batch_bytes=4_000, max_block=0.05)


def fill(producer: ProducerBase | AsyncProducerBase) -> int:
    """Send until the buffer is full; return the number of messages."""
    for count in range(1000):
        try:
            producer.send_nowait("t", bytes(1000))
        except errors.BufferFull:
            return count
    raise AssertionError("the buffer never fills")


def test_no_free_space_within_max_block() -> None:
    wire = Wire(small())
    producer = bound(wire.flow)
    count = fill(producer)
    with pytest.raises(errors.BufferFull, match="20000 bytes") as caught:
        producer.send("t", bytes(1000))
    assert caught.value.outcome == "not_written"
    assert wire.pump() == count
    assert wire.flow.statistics().buffered_bytes == 0
    producer.send("t", bytes(1000))


def test_a_thread_waits_for_space_and_gets_it() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000))
    producer = bound(wire.flow)
    fill(producer)
    threading.Timer(0.02, wire.pump).start()
    assert producer.send("t", bytes(1000)).done() is False


async def test_tasks_wait_for_space_in_the_order_of_their_calls() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000))
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    sent: list[int] = []

    async def one(number: int) -> None:
        await producer.send("t", b"%04d" % number + bytes(1000), partition=0)
        sent.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(200)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        wire.pump()
    wire.pump()
    assert sent == list(range(200))
    assert [int(record.value[:4]) for record in wire.records] == list(range(200))


async def test_a_cancelled_send_was_never_accepted_and_does_not_block_the_queue() -> None:
    wire = Wire(make_flow(buffer_bytes=20_000, batch_bytes=4_000))
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    while wire.flow.statistics().buffered_bytes < 19_000:
        await producer.send("t", bytes(900))
    first = asyncio.ensure_future(producer.send("t", b"first" + bytes(5000)))
    second = asyncio.ensure_future(producer.send("t", b"second" + bytes(5000)))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    wire.pump()
    await asyncio.wait_for(second, 5)
    wire.pump()
    values = [record.value[:6] for record in wire.records]
    assert b"second" in values
    assert not any(value.startswith(b"first") for value in values)


async def test_an_asynchronous_send_gives_up_after_max_block() -> None:
    wire = Wire(small())
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    fill(producer)
    with pytest.raises(errors.BufferFull):
        await producer.send("t", bytes(1000))
    with pytest.raises(errors.BufferFull) as caught:
        await producer.send_many("t", (bytes(1000) for _ in range(100)))
    assert caught.value.accepted is not None
    assert len(caught.value.accepted) == 0


# ---- event loops -----------------------------------------------------------------------------------------------------


async def test_awaiting_an_outcome(wire: Wire) -> None:
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    delivery = await asyncio.create_task(producer.send("t", b"x"))
    waiter = asyncio.ensure_future(delivery)
    given_up = asyncio.ensure_future(delivery)
    await asyncio.sleep(0)
    given_up.cancel()
    wire.pump()
    assert (await asyncio.wait_for(waiter, 5)).offset == 0
    assert (await delivery).offset == 0
    many = await producer.send_many("t", [b"1", b"2"])
    wire.pump()
    assert await many is many


async def test_an_awaitable_is_used_up_by_its_await(wire: Wire) -> None:
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    send = producer.send("t", b"x")
    await send
    with pytest.raises(RuntimeError, match="already awaited"):
        await send


async def test_flush_awaits_everything_accepted_before(wire: Wire) -> None:
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    assert await producer._flush(1)
    await producer.send("t", b"x")
    assert not await producer._flush(0.01)
    flushed = asyncio.ensure_future(producer._flush(5))
    await asyncio.sleep(0)
    wire.pump()
    assert await flushed


# ---- readers of outcomes ---------------------------------------------------------------------------------------------


@pytest.fixture
def reading() -> tuple[Wire, ProducerBase]:
    wire = Wire(make_flow(return_successes=True, return_errors=True, buffer_bytes=60_000))
    return wire, bound(wire.flow)


def test_outcomes_are_read_once_and_end(reading: tuple[Wire, ProducerBase]) -> None:
    wire, producer = reading
    sent = [producer.send("t", b"%d" % number) for number in range(10)]
    assert producer._take_outcomes(None, 100, 0.001) is None
    wire.pump()
    failed = producer.send("t", b"bad")
    wire.flow.abort_all(ErrorData("closed", 0, "given up"))
    assert producer._take_outcomes(True, 100, None) == [failed]
    assert producer._take_outcomes(False, 100, None) == sent
    producer._end_outcomes()
    assert producer._take_outcomes(None, 100, None) == []
    assert producer._counts() == (10, 1, 0)


def test_outcomes_without_a_reader_leave_the_budget() -> None:
    wire = Wire(make_flow(return_successes=True))
    producer = bound(wire.flow)
    producer.send("t", b"read by nobody")
    wire.pump()
    assert wire.flow.statistics().buffered_bytes > 0
    producer.send("t", b"resolved after the producer was dropped")
    del producer
    gc.collect()
    wire.pump()
    wire.flow.drain()
    assert wire.flow.statistics().delivered == 2
    assert wire.flow.statistics().buffered_bytes == 0


def test_unread_outcomes_hold_the_budget(reading: tuple[Wire, ProducerBase]) -> None:
    wire, producer = reading
    count = 0
    while more := fill(producer):
        count += more
        assert wire.pump() == more
    read: list[Delivery] = []
    while len(read) < count:
        read += producer._take_outcomes(None, 5, 1) or []
    assert wire.flow.statistics().buffered_bytes == 0
    producer.send_nowait("t", bytes(1000))


def test_unread_outcomes_go_with_their_producer(reading: tuple[Wire, ProducerBase]) -> None:
    wire, producer = reading
    value = bytes(bytearray(b"a value of its own"))
    before = sys.getrefcount(value)
    for _ in range(100):
        producer.send("t", value)
    wire.pump()
    del producer
    wire.flow.drain()
    # The fixture's tuple still has the producer.
    reading[1]._end_outcomes()
    assert sys.getrefcount(value) == before + 100


async def test_an_event_loop_reads_outcomes() -> None:
    wire = Wire(make_flow(return_successes=True))
    producer = AsyncProducerBase()
    producer._bind(wire.flow)
    reading = asyncio.ensure_future(producer._take_outcomes(False, 10, None))
    delivery = await producer.send("t", b"x")
    await asyncio.sleep(0)
    wire.pump()
    assert await asyncio.wait_for(reading, 5) == [delivery]
    assert await producer._take_outcomes(False, 10, 0.001) is None


# ---- fork ------------------------------------------------------------------------------------------------------------


def test_in_the_child_of_a_fork_send_raises(producer: ProducerBase) -> None:
    child = os.fork()
    if child == 0:
        from ottla import _native

        _native.mark_forked()
        try:
            producer.send("t", b"")
        except errors.ForkedClient as error:
            os._exit(0 if "producer test" in str(error) else 3)
        except BaseException:
            os._exit(2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


async def wait_for(delivery: Any) -> None:
    await delivery


WAITS_OF_A_CHILD: dict[str, Callable[[Any, Any], Any]] = {
    "result": lambda one, _many: one.result(5),
    "exception": lambda one, _many: one.exception(5),
    "await": lambda one, _many: asyncio.run(wait_for(one)),
    "add_done_callback": lambda one, _many: one.add_done_callback(print),
    "result of many": lambda _one, many: many.result(5),
    "await of many": lambda _one, many: asyncio.run(wait_for(many)),
}


@pytest.mark.parametrize("wait", WAITS_OF_A_CHILD)
def test_in_the_child_of_a_fork_pending_deliveries_are_not_waited_for(
    producer: ProducerBase, wait: str
) -> None:
    one, many = producer.send("t", b"1"), producer.send_many("t", [b"2", b"3"])
    child = os.fork()
    if child == 0:
        from ottla import _native

        _native.mark_forked()
        try:
            WAITS_OF_A_CHILD[wait](one, many)
        except errors.ForkedClient:
            os._exit(0)
        except BaseException:
            os._exit(2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not one.done()
