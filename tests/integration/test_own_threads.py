"""Code of the application on the client's own threads: a log handler that sends, and callbacks, block nothing."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import ottla
from ottla.testing import Broker

VALUE = b"x" * 1000
MAX_BLOCK_S = 60.0
AT_ONCE_S = 10.0


def fill(producer: ottla.Producer) -> list[ottla.Delivery]:
    """Send until the buffer has no space for such a message."""
    sent = []
    with contextlib.suppress(ottla.BufferFull):
        while True:
            sent.append(producer.send_nowait("t", VALUE))
    return sent


class SendsToKafka(logging.Handler):
    """Sends each line of the engine thread, and would wait for the delivery."""

    def __init__(self, producer: ottla.Producer) -> None:
        super().__init__()
        self._producer = producer
        self.refused: list[tuple[type, type]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect the errors that the producer raises on its own engine thread."""
        if threading.current_thread().name != "ottla-engine":
            return
        raised: list[type] = []
        for call in (lambda: self._producer.send("t", VALUE), self._producer.flush):
            try:
                call()
            except (ottla.Error, RuntimeError) as error:
                raised.append(type(error))
        if len(raised) == 2:
            self.refused.append((raised[0], raised[1]))


def test_a_log_handler_that_sends_does_not_block_the_engine() -> None:
    with Broker() as broker:
        broker.create_topic("t", partitions=1)
        producer = ottla.Producer(
            broker.bootstrap, buffer_memory=60_000, max_block_ms=MAX_BLOCK_S * 1000
        )
        handler = SendsToKafka(producer)
        log = logging.getLogger("ottla")
        level = log.level
        with producer:
            producer.send_and_wait("t", b"first")
            broker.delay("Produce", 600.0, times=None)
            sent = fill(producer)
            log.addHandler(handler)
            log.setLevel(logging.INFO)
            try:
                began = time.monotonic()
                broker.clear_rules()
                broker.kill(1)
                broker.restart(1)
                for delivery in sent:
                    assert delivery.exception(MAX_BLOCK_S) is None
                assert time.monotonic() - began < MAX_BLOCK_S / 2
            finally:
                log.setLevel(level)
                log.removeHandler(handler)
        assert handler.refused, "the engine has logged a line while the buffer was full"
        assert set(handler.refused) == {(ottla.BufferFull, RuntimeError)}


def test_a_callback_of_one_delivery_does_not_wait_for_buffer_space() -> None:
    with Broker() as broker:
        broker.create_topic("t", partitions=1)
        with ottla.Producer(
            broker.bootstrap, buffer_memory=60_000, max_block_ms=MAX_BLOCK_S * 1000
        ) as producer:
            first = producer.send("t", b"first")
            first.result(AT_ONCE_S)
            broker.delay("Produce", 600.0, times=None)
            fill(producer)
            ended: list[BaseException | None] = []
            called = threading.Event()

            def callback(_: ottla.Delivery) -> None:
                try:
                    producer.send("t", VALUE)
                except ottla.Error as error:
                    ended.append(error)
                called.set()

            first.add_done_callback(callback)
            assert called.wait(AT_ONCE_S)
            assert [type(error) for error in ended] == [ottla.BufferFull]
            broker.clear_rules()
            broker.kill(1)
            broker.restart(1)


class Waits(logging.Handler):
    """Calls methods that wait for the engine, on the engine's own thread."""

    def __init__(self, calls: dict[str, Callable[[], object]]) -> None:
        super().__init__()
        self._calls = calls
        self.ended: dict[str, type | None] = {}
        self.over = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Collect the error that each call raises."""
        if threading.current_thread().name != "ottla-engine" or self.ended:
            return
        for name, call in self._calls.items():
            self.ended[name] = None
            try:
                call()
            except Exception as error:
                self.ended[name] = type(error)
        self.over.set()


def test_a_log_handler_that_waits_for_the_engine_does_not_block_it() -> None:
    with Broker() as broker, contextlib.ExitStack() as ends:
        broker.create_topic("t", partitions=1)
        place = ottla.TopicPartition("t", 0)
        consumer = ends.enter_context(ottla.Consumer(broker.bootstrap, group_id="g"))
        closed = ends.enter_context(ottla.Consumer(broker.bootstrap, group_id="h"))
        group = ends.enter_context(ottla.ConsumerGroup(broker.bootstrap, "i"))
        producer = ends.enter_context(ottla.Producer(broker.bootstrap))
        consumer.assign([place])
        handler = Waits(
            {
                "commit": lambda: consumer.commit({place: 7}),
                "position": lambda: consumer.position(place),
                "partitions_for": lambda: consumer.partitions_for("t"),
                "poll": consumer.poll,
                "close": closed.close,
                "end of a group": group.close,
                "end of a producer": producer.close,
            }
        )
        log = logging.getLogger("ottla")
        log.addHandler(handler)
        try:
            consumer._client._engine.loop.call_soon_threadsafe(log.warning, "a line of the engine")
            assert handler.over.wait(AT_ONCE_S), handler.ended
        finally:
            log.removeHandler(handler)
        assert set(handler.ended.values()) == {RuntimeError}, handler.ended
        # The calls continue, and a second call waits for the end of the first.
        closed.close(AT_ONCE_S)
        group.close(AT_ONCE_S)
        producer.close(AT_ONCE_S)
        deadline = time.monotonic() + AT_ONCE_S
        while (found := consumer.committed(place, timeout=AT_ONCE_S)[place]) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found.offset == 7
