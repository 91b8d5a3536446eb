"""Clients that are dropped without close: they warn, deliver accepted messages, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ottla
from ottla.engine import dispatcher, thread
from ottla.testing import Broker

NOBODY = "127.0.0.1:1"
LONG_S = 20.0
CLOSED_IN = r"unclosed {} '{}': it is closed in the background; call close\(\) or use {} block"


@pytest.fixture(autouse=True)
def briefly_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle dispatcher ends soon: most of these tests wait for the end of every thread."""
    monkeypatch.setattr(dispatcher, "IDLE_S", 0.01)


def block_of(kind: type) -> str:
    return "an async with" if hasattr(kind, "__aenter__") else "a with"


def eventually(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.005)


def everything_ended() -> bool:
    """Whether the engine and the dispatcher have ended: the last client is gone."""
    return not any(
        t.name.startswith("ottla-") and t.name != "ottla-broker" for t in threading.enumerate()
    )


KINDS: list[tuple[type, dict[str, Any]]] = [
    (ottla.Producer, {}),
    (ottla.AsyncProducer, {}),
    (ottla.Consumer, {}),
    (ottla.AsyncConsumer, {}),
    (ottla.ConsumerGroup, {"group_id": "g"}),
    (ottla.AsyncConsumerGroup, {"group_id": "g"}),
]


@pytest.mark.parametrize(
    ("kind", "options"), KINDS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_last_reference_warns_and_closes_the_client(
    bootstrap: str, kind: type, options: dict[str, Any]
) -> None:
    client = kind(bootstrap, client_id="mine", **options)
    alive = weakref.ref(client)
    with pytest.warns(
        ResourceWarning, match=CLOSED_IN.format(kind.__name__, "mine", block_of(kind))
    ) as caught:
        del client
    assert alive() is None, "at once, without the collector"
    assert [warning.filename for warning in caught] == [__file__]
    eventually(everything_ended)


def test_a_subclass_is_named_by_its_own_name() -> None:
    class Orders(ottla.Producer):
        def __repr__(self) -> str:
            raise AssertionError("code of the application has no place in a finalizer")

        def __getattribute__(self, name: str) -> Any:
            if name == "_client" and sys._getframe(1).f_code.co_name == "dropped":
                raise AssertionError("nor this")
            return super().__getattribute__(name)

    with pytest.warns(ResourceWarning, match="unclosed Orders 'mine'"):
        Orders(NOBODY, client_id="mine")
    eventually(everything_ended)


@pytest.mark.parametrize(
    ("kind", "options"), KINDS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_closed_or_unmade_client_is_dropped_without_a_warning(
    kind: type, options: dict[str, Any]
) -> None:
    async def close(client: Any) -> None:
        await client.close(timeout=0.5)

    client = kind(NOBODY, **options)
    if kind.__name__.startswith("Async"):
        asyncio.run(close(client))
    else:
        client.close(timeout=0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del client
        with pytest.raises(ottla.ConfigError):
            kind(NOBODY, no_such_option=1, **options)
        gc.collect()
    assert not [warning for warning in caught if warning.category is ResourceWarning]


def test_a_warning_that_is_an_error_still_closes_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: raised.append(given.exc_type))
    producer = ottla.Producer(NOBODY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del producer
    assert raised == [ResourceWarning]
    eventually(everything_ended)


TRACED = """
import tracemalloc, ottla
kinds = ottla.Producer, ottla.Consumer; tracemalloc.start(10)
producer = ottla.Producer("127.0.0.1:1")
consumer = ottla.Consumer("127.0.0.1:1")
del producer
del consumer
"""


def test_tracemalloc_shows_where_the_client_was_made() -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", TRACED],
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )
    assert ended.returncode == 0
    warned = ended.stderr.split("ResourceWarning")[1:]
    assert len(warned) == 2, ended.stderr
    for line, text in zip((4, 5), warned, strict=True):
        assert "Object allocated at" in text
        assert f'File "<string>", lineno {line}' in text


# ---- accepted messages -----------------------------------------------------------------------------------------------


def test_accepted_messages_are_delivered_at_once_and_reported(bootstrap: str, topic: str) -> None:
    reported: list[ottla.Delivery] = []
    producer = ottla.Producer(bootstrap, on_delivery=reported.append, linger_ms=60_000)
    deliveries = [producer.send(topic, b"%d" % number) for number in range(100)]
    many = producer.send_many(topic, [b"more"] * 100)
    single: list[ottla.Delivery] = []
    deliveries[0].add_done_callback(single.append)
    began = time.monotonic()
    with pytest.warns(ResourceWarning):
        del producer
    assert [delivery.result(LONG_S).offset for delivery in deliveries] == list(range(100))
    assert many.result(LONG_S).offsets == list(range(100, 200))
    assert time.monotonic() - began < LONG_S, "linger ends when the client is dropped"
    eventually(everything_ended)
    assert len(reported) == 200
    assert single == deliveries[:1]
    late: list[ottla.Delivery] = []
    deliveries[1].add_done_callback(late.append)
    assert dispatcher.settle(LONG_S)
    assert late == deliveries[1:2], "long after the producer was dropped"


@pytest.mark.embedded_only
def test_the_answer_of_a_slow_broker_is_awaited() -> None:
    with Broker() as broker:
        producer = ottla.Producer(broker.bootstrap)
        producer.send_and_wait("t", b"so that the topic is known")
        broker.delay("Produce", 0.3)
        delivery = producer.send("t", b"x")
        broker.wait_for("Produce", 2)
        assert broker.connections > 0
        with pytest.warns(ResourceWarning):
            del producer
        assert not delivery.done()
        assert delivery.result(LONG_S).offset == 1
        eventually(lambda: broker.connections == 0)


def test_unreachable_brokers_end_it_by_the_delivery_timeout() -> None:
    producer = ottla.Producer(NOBODY, delivery_timeout_ms=600, request_timeout_ms=300, linger_ms=0)
    delivery = producer.send("t", b"x")
    with pytest.warns(ResourceWarning):
        del producer
    assert isinstance(delivery.exception(LONG_S), ottla.Error)
    assert delivery.outcome == "not_written"
    eventually(everything_ended)


def test_a_send_that_waits_for_buffer_space_is_still_accepted(bootstrap: str, topic: str) -> None:
    async def main() -> list[int | None]:
        producer = ottla.AsyncProducer(
            bootstrap, buffer_memory=60_000, batch_size=10_000, linger_ms=0
        )
        sends = [producer.send(topic, bytes(5_000)) for _ in range(50)]
        later = producer.send_many(topic, [bytes(5_000)] * 20)
        with pytest.warns(ResourceWarning):
            del producer
        await asyncio.sleep(0.1)
        deliveries = [await send for send in sends]
        many = await later
        return [(await delivery).offset for delivery in deliveries] + (await many).offsets

    assert asyncio.run(main()) == list(range(70))
    eventually(everything_ended)


def test_a_callback_may_send_until_everything_is_delivered(bootstrap: str, topic: str) -> None:
    reported: list[bytes] = []

    class Application:
        def __init__(self) -> None:
            self.producer = ottla.Producer(bootstrap, on_delivery=self.on_delivery)

        def on_delivery(self, delivery: ottla.Delivery) -> None:
            reported.append(delivery.value)
            if delivery.value == b"first":
                self.producer.send(topic, b"second", headers=[("again", b"1")])

    application = Application()
    application.producer.send(topic, b"first")
    with pytest.warns(ResourceWarning):  # noqa: PT031  # the collector may come by itself
        del application
        gc.collect()
    eventually(everything_ended)
    assert reported == [b"first", b"second"]


# ---- cycles ----------------------------------------------------------------------------------------------------------


class Application:
    """Has a producer and is called by it: a cycle through every argument of a producer that can refer to its owner."""

    def __init__(self, bootstrap: str, reported: list[Any]) -> None:
        self.reported = reported
        self.producer = ottla.Producer(
            bootstrap, on_delivery=self.delivered, interceptors=[self], partitioner=self.choose
        )
        self.producer.listen(self.on_event)

    def delivered(self, delivery: ottla.Delivery) -> None:
        self.reported.append(delivery.outcome)

    def choose(self, *_: Any) -> int:
        return 0

    def on_event(self, event: ottla.Event) -> None:
        self.reported.append(event.name)

    def on_send(self, message: ottla.Message) -> ottla.Message:
        return message

    def on_acknowledgement(self, delivery: ottla.Delivery) -> None:
        self.reported.append("acknowledged")

    def close(self) -> None:
        self.reported.append("closed")


@pytest.mark.parametrize("delivered_before", [True, False])
def test_a_cycle_through_callbacks_is_collected(
    bootstrap: str, topic: str, delivered_before: bool
) -> None:
    reported: list[Any] = []
    application = Application(bootstrap, reported)
    delivery = application.producer.send(topic, b"x")
    if delivered_before:
        application.producer.flush(LONG_S)
    alive = weakref.ref(application.producer)
    with pytest.warns(ResourceWarning):  # noqa: PT031  # the collector may come by itself
        del application
        gc.collect()
    assert alive() is None
    assert delivery.result(LONG_S).offset == 0
    eventually(everything_ended)
    kinds = ["acknowledged", "written", "closed"]
    assert [kind for kind in reported if kind in kinds] == kinds
    assert "batch.acked" in reported, "listeners are called to the end"
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Application)]


def test_a_cycle_through_a_consumer_is_collected(bootstrap: str, topic: str) -> None:
    class Reader:
        def __init__(self) -> None:
            self.consumer = ottla.Consumer(bootstrap, group_id=topic)
            self.consumer.subscribe([topic], on_assigned=self.assigned, on_revoked=self.revoked)

        def assigned(self, _: Any) -> None:
            pass

        def revoked(self, _: Any) -> None:
            raise AssertionError("no thread of the application is there to call it")

    reader = Reader()
    assert not reader.consumer.poll(timeout=0.2)
    alive = weakref.ref(reader.consumer)
    with pytest.warns(ResourceWarning):  # noqa: PT031  # the collector may come by itself
        del reader
        gc.collect()
    assert alive() is None
    eventually(everything_ended)


# ---- references of the user -----------------------------------------------------------------------------------------------


def test_a_reader_of_outcomes_keeps_its_producer(bootstrap: str, topic: str) -> None:
    producer = ottla.Producer(bootstrap, return_successes=True)
    for number in range(10):
        producer.send(topic, b"%d" % number)
    outcomes = producer.successes()
    assert next(outcomes).offset == 0
    alive = weakref.ref(producer)
    del producer
    assert [next(outcomes).offset for _ in range(9)] == list(range(1, 10))
    assert alive() is not None
    with pytest.warns(ResourceWarning):
        del outcomes
    eventually(everything_ended)


def test_a_wait_keeps_its_consumer(bootstrap: str, topic: str) -> None:
    async def main() -> None:
        with ottla.Producer(bootstrap) as producer:
            consumer = ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest")
            await consumer.assign([ottla.TopicPartition(topic, 0)])
            poll = asyncio.ensure_future(consumer.poll(timeout=LONG_S))
            await asyncio.sleep(0.1)
            del consumer
            gc.collect()
            producer.send(topic, b"x")
            records = await poll
        assert records
        assert records.values() == [b"x"]
        del poll

    with pytest.warns(ResourceWarning, match="unclosed AsyncConsumer"):  # noqa: PT031  # the collector may come by itself
        asyncio.run(main())
        gc.collect()
    eventually(everything_ended)


# ---- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.embedded_only
def test_a_dropped_member_leaves_its_group(auto_commit: bool) -> None:
    with Broker() as broker:
        for number in range(10):
            broker.append("t", b"%d" % number)
        consumer = ottla.Consumer(
            broker.bootstrap,
            group_id="g",
            auto_offset_reset="earliest",
            enable_auto_commit=auto_commit,
        )
        consumer.subscribe(["t"])
        for record in consumer:
            if record.offset == 4:
                break
        assert len(broker.members("g")) == 1
        with pytest.warns(ResourceWarning):
            del consumer
        eventually(lambda: broker.members("g") == [])
        eventually(lambda: broker.connections == 0)
        assert broker.committed("g") == ({("t", 0): 4} if auto_commit else {}), (
            "not the current record"
        )
        assert record.value == b"4", "a returned record stays readable"


# ---- event loops, processes ------------------------------------------------------------------------------------------


def test_a_closed_event_loop_does_not_matter(bootstrap: str, topic: str) -> None:
    async def begin() -> tuple[ottla.AsyncProducer, ottla.Delivery]:
        producer = ottla.AsyncProducer(bootstrap, linger_ms=60_000)
        return producer, await producer.send(topic, b"x")

    producer, delivery = asyncio.run(begin())
    with pytest.warns(ResourceWarning):
        del producer
    assert delivery.result(LONG_S).offset == 0
    eventually(everything_ended)


PROCESS = """
import os, sys, gc
import ottla
from ottla.testing import Broker

broker = Broker().start()
producer = ottla.Producer(broker.bootstrap)
consumer = ottla.Consumer(broker.bootstrap, group_id="g")
delivery = producer.send("t", b"0")
child = os.fork()
if child == 0:
    del producer, consumer, delivery
    gc.collect()
    sys.exit(7)
_, status = os.waitpid(child, 0)
print("child ended with", os.waitstatus_to_exitcode(status), flush=True)
print(producer.send_and_wait("t", b"1").offset, delivery.result(0).offset)
producer.close()
consumer.close()
broker.close()
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )


def test_in_the_child_of_a_fork_nothing_is_logged_and_nothing_changed() -> None:
    ended = run(PROCESS)
    assert ended.stdout.splitlines() == ["child ended with 7", "1 0"], ended.stderr
    assert "ResourceWarning" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


EXIT = """
import ottla
producer = ottla.Producer("127.0.0.1:1", client_id="mine")
producer.send("t", b"x")
{}
"""


@pytest.mark.parametrize("end", ["", "del producer", "import sys; sys.unraisablehook = print"])
def test_the_end_of_the_interpreter_names_lost_messages(end: str) -> None:
    began = time.monotonic()
    ended = run(EXIT.format(end))
    assert ended.returncode == 0
    assert ended.stdout == ""
    assert "[producer mine]" in ended.stderr
    assert "1 message not delivered" in ended.stderr
    assert "ResourceWarning: unclosed Producer 'mine'" in ended.stderr
    end_of_it = "in the background" if end == "del producer" else "ends with the interpreter"
    assert end_of_it in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert time.monotonic() - began < 10


IN_A_BLOCK = """
import os, sys
import ottla
with ottla.Producer("127.0.0.1:1", client_id="mine", delivery_timeout_ms=500, request_timeout_ms=300) as producer:
    sent = producer.send("t", b"")
    child = os.fork()
    if child == 0:
        for call in (
            lambda: producer.listen(print), producer.health, producer.flush, producer.close_nowait,
            lambda: producer.send("t", b""), lambda: producer.send_many("t", [b""]), sent.result,
        ):
            try:
                call()
            except ottla.ForkedClient as error:
                print(error, flush=True)
        {}
if child == 0:
    os._exit(7)
print("child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize(("end", "code"), [("sys.exit(0)", 0), ("pass", 7)])
def test_the_child_of_a_fork_leaves_the_block_of_its_parent_without_a_trace(
    end: str, code: int
) -> None:
    ended = run(IN_A_BLOCK.format(end))
    refused = "producer mine was made before a fork; make a new one in the child"
    assert ended.stdout.splitlines() == [*[refused] * 7, f"child ended with {code}"], ended.stderr
    assert "Traceback" not in ended.stderr


REPR = """
import os
import ottla
producer = ottla.Producer("127.0.0.1:1", client_id="mine")
consumer = ottla.Consumer("127.0.0.1:1", client_id="mine", group_id="g")
if os.fork() == 0:
    print(producer, consumer, sep="\\n", flush=True)
    os._exit(0)
os.wait()
print(producer, consumer, sep="\\n")
producer.close(0)
consumer.close(0)
"""


def test_in_the_child_of_a_fork_repr_names_the_parent() -> None:
    ended = run(REPR)
    assert ended.stdout.splitlines() == [
        "<Producer 'mine' of the parent process>",
        "<Consumer 'mine' group='g' of the parent process>",
        "<Producer 'mine' open>",
        "<Consumer 'mine' group='g' assigned=0>",
    ], ended.stderr


# ---- finalizers run anywhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ottla.Producer, ottla.Consumer])
def test_a_finalizer_takes_no_lock(kind: type) -> None:
    """The garbage collector may run in a thread that holds any of them."""
    client = kind(NOBODY)
    inner = client._client
    held = [thread._lock, inner._engine._open_lock, dispatcher._dispatcher._lock]
    if kind is ottla.Producer:
        held += [inner._lock, inner.callbacks._lock, inner.events._lock]
    dropped = threading.Event()

    def drop() -> None:
        nonlocal client
        with pytest.warns(ResourceWarning):
            client = None
        dropped.set()

    for lock in held:
        lock.acquire()
    try:
        dropping = threading.Thread(target=drop)
        dropping.start()
        assert dropped.wait(LONG_S)
        dropping.join()
    finally:
        for lock in held:
            lock.release()
    del inner
    eventually(everything_ended)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_kib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4


@pytest.mark.embedded_only
def test_hundreds_in_a_row_leave_nothing_behind() -> None:
    """The broker runs in another process, so that its memory is not counted."""
    command = [sys.executable, "-m", "ottla.testing.broker", "--port", "0", "--for", "60"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        assert broker.stdout is not None
        bootstrap = broker.stdout.readline().split()[1]

        def after(times: int) -> tuple[int, int, int, int]:
            for _ in range(times):
                for _ in range(100):
                    ottla.Producer(bootstrap).send("t", bytes(1_000))
                eventually(everything_ended)
            gc.collect()
            return descriptors(), threading.active_count(), len(gc.get_objects()), resident_kib()

        first, second = after(1), after(5)
        with ottla.Consumer(bootstrap) as reader:
            (end,) = reader.end_offsets(ottla.TopicPartition("t", 0)).values()
        broker.send_signal(signal.SIGINT)
    assert end == 600, "each of them delivered its message"
    assert second[:2] == first[:2], "descriptors and threads"
    assert second[2] - first[2] < 500, "objects"
    assert second[3] - first[3] < 24_000, "KiB; how many lived at once differs"
