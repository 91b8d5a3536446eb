"""`flush` and `close` and the callbacks of single deliveries; deliveries in asyncio functions."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import ottla
from ottla.api._sync import producer as sync_producer
from ottla.testing import Broker, advance_time

WAIT_S = 10.0
MANY = 5_000


def test_flush_waits_for_the_callbacks_of_its_messages(bootstrap: str, topic: str) -> None:
    for _ in range(3):
        called: list[ottla.Delivery] = []
        with ottla.Producer(bootstrap) as producer:
            sent = [producer.send(topic, b"") for _ in range(MANY)]
            for delivery in sent:
                delivery.add_done_callback(called.append)
            producer.flush(WAIT_S)
            assert called == sent
            # And the callbacks of messages that have their outcome already.
            for delivery in sent:
                delivery.add_done_callback(called.append)
            producer.flush(WAIT_S)
            assert len(called) == 2 * MANY


async def test_flush_in_an_event_loop_waits_for_callbacks(bootstrap: str, topic: str) -> None:
    called: list[ottla.Delivery] = []
    async with ottla.AsyncProducer(bootstrap) as producer:
        for _ in range(MANY):
            (await producer.send(topic, b"")).add_done_callback(called.append)
        await producer.flush(WAIT_S)
        assert len(called) == MANY


def test_a_callback_that_flushes_does_not_wait_for_itself(bootstrap: str, topic: str) -> None:
    flushed: list[float] = []

    def flush(_: object) -> None:
        began = time.monotonic()
        producer.flush()
        flushed.append(time.monotonic() - began)

    with ottla.Producer(bootstrap) as producer:
        producer.send(topic, b"").add_done_callback(flush)
        producer.flush(WAIT_S)
        assert len(flushed) == 1
    assert flushed[0] < WAIT_S / 2


def test_a_callback_that_hangs_ends_the_flush_and_is_named(
    bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_producer, "CALLBACK_S", 0.2)
    goes_on = threading.Event()

    def hangs(_: object) -> None:
        goes_on.wait(WAIT_S)

    producer = ottla.Producer(bootstrap)
    try:
        producer.send(topic, b"").add_done_callback(hangs)
        with pytest.raises(ottla.Timeout, match=r"hangs.*has not returned"):
            producer.flush()
        assert producer.close().delivered == 1
    finally:
        goes_on.set()
        producer.close()


def test_flush_waits_as_long_as_callbacks_return(
    bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_producer, "CALLBACK_S", 0.2)
    called: list[object] = []

    def slow(delivery: object) -> None:
        time.sleep(0.1)
        called.append(delivery)

    with ottla.Producer(bootstrap) as producer:
        for _ in range(6):
            producer.send(topic, b"").add_done_callback(slow)
        producer.flush()
        assert len(called) == 6


@pytest.mark.embedded_only
def test_the_end_of_a_block_waits_for_the_delivery_timeout() -> None:
    with Broker() as broker:
        producer = ottla.Producer(broker.bootstrap)

        def leave() -> None:
            with producer:
                producer.send("t", b"before").result(WAIT_S)
                broker.kill(1)
                producer.send("t", b"late")

        leaving = threading.Thread(target=leave)
        leaving.start()
        broker.wait_for("Produce")
        assert advance_time(90, until=lambda: not leaving.is_alive()) == 90
        broker.restart(1)
        advance_time(10, until=lambda: not leaving.is_alive())
        leaving.join(WAIT_S)
        assert not leaving.is_alive()
        assert [record.value for record in broker.records("t")] == [b"before", b"late"]
        assert producer.close() == ottla.CloseReport(delivered=2, failed=0, unknown=0)


async def test_asyncio_wait_names_the_right_argument(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        deliveries = [await producer.send(topic, b"") for _ in range(3)]
        with pytest.raises(TypeError, match=r"asyncio\.ensure_future"):
            await asyncio.wait(deliveries)  # type: ignore[type-var]
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(delivery) for delivery in deliveries], timeout=WAIT_S
        )
        assert (len(done), len(pending)) == (3, 0)
        assert len(await asyncio.gather(*deliveries)) == 3
