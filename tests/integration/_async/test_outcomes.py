"""Every way to receive outcomes, against a broker: callbacks, interceptors and readers, and their ends."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from typing import Any

import pytest

import ottla

NOBODY = "127.0.0.1:1"


async def test_every_accepted_message_is_reported_once(bootstrap: str, make_topic: Any) -> None:
    topics = [make_topic(partitions=2), make_topic()]
    reported: list[ottla.Delivery] = []
    threads: set[str] = set()

    def on_delivery(delivery: ottla.Delivery) -> None:
        reported.append(delivery)
        threads.add(threading.current_thread().name)

    async with ottla.AsyncProducer(bootstrap, on_delivery=on_delivery, linger_ms=1) as producer:
        for number in range(300):
            await producer.send(topics[number % 2], b"%d" % number, metadata=number)
        await producer.send_many(topics[0], [b"%d" % number for number in range(300, 400)])
        await producer.send_many(
            [ottla.Message(topics[number % 2], b"%d" % number) for number in range(400, 500)]
        )
        producer.send_nowait(topics[0], b"500")
        await producer.flush(20)
        assert len(reported) == 501, "flush waits for the callbacks too"
    assert Counter(delivery.value for delivery in reported) == {b"%d" % n: 1 for n in range(501)}
    assert {delivery.outcome for delivery in reported} == {"written"}
    assert threads == {"ottla-dispatcher"}
    places = {(delivery.topic, delivery.partition) for delivery in reported}
    for place in places:
        offsets = [d.offset for d in reported if (d.topic, d.partition) == place]
        assert offsets == list(range(len(offsets))), "in the order of the calls"


async def test_close_fails_the_rest_and_reports_it() -> None:
    reported: list[ottla.Delivery] = []
    producer = ottla.AsyncProducer(NOBODY, on_delivery=reported.append, return_errors=True)
    sent = [await producer.send("t", b"x") for _ in range(20)]
    report = await producer.close(0)
    assert report == ottla.CloseReport(delivered=0, failed=20, unknown=0)
    assert await producer.close() == report, "closing again waits for the remaining callbacks"
    assert reported == sent
    assert {delivery.outcome for delivery in reported} == {"not_written"}
    assert [delivery.outcome async for delivery in producer.errors()] == ["not_written"] * 20
    with pytest.raises(ottla.Closed):
        await producer.send("t", b"late")
    with pytest.raises(ottla.Closed):
        await producer.send_many([ottla.Message("t", b"late")])
    await producer.flush(1)


async def test_close_waits_for_a_callback_no_longer_than_its_timeout(
    bootstrap: str, topic: str
) -> None:
    go_on = threading.Event()
    reported: list[ottla.Delivery] = []

    def slow(delivery: ottla.Delivery) -> None:
        go_on.wait(20)
        reported.append(delivery)

    producer = ottla.AsyncProducer(bootstrap, on_delivery=slow)
    for _ in range(10):
        await producer.send(topic, b"x")
    with pytest.raises(ottla.Timeout):
        await producer.flush(0.2)
    report = await producer.close(0.2)
    assert report.delivered == 10
    assert reported == []
    go_on.set()
    await producer.close(10)
    assert len(reported) == 10, "none is lost"


async def test_readers_and_callbacks_get_each_outcome(bootstrap: str, topic: str) -> None:
    reported: list[ottla.Delivery] = []
    async with ottla.AsyncProducer(
        bootstrap, on_delivery=reported.append, return_successes=True, return_errors=True
    ) as producer:
        for number in range(100):
            await producer.send(topic, b"%d" % number)
        many = await producer.send_many(topic, [b"x"] * 10)
        single: list[ottla.Delivery] = []
        many[0].add_done_callback(single.append)
        await producer.flush(20)
    read = [delivery.offset async for delivery in producer.successes()]
    assert read == [delivery.offset for delivery in reported] == list(range(110))
    assert [delivery.offset for delivery in single] == [100], "close lets it run"
    assert [delivery.error async for delivery in producer.errors()] == []


class Thing:
    """Metadata of a message: it lives as long as the delivery."""


async def test_unread_deliveries_are_released(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(bootstrap, return_errors=True, linger_ms=1) as producer:
        for _ in range(5):
            things = [Thing() for _ in range(100)]
            alive = [weakref.ref(thing) for thing in things]
            while things:
                await producer.send(topic, b"x", metadata=things.pop())
            await producer.flush(20)
            for _ in range(1000):
                if all(one() is None for one in alive):
                    break
                await producer.send_and_wait(topic, b"time goes by")
            else:
                pytest.fail("some are kept")


class Stamp(ottla.ProducerInterceptor):
    def __init__(self) -> None:
        self.received: list[Any] = []

    def on_send(self, message: ottla.Message) -> ottla.Message:
        message.headers = [*(message.headers or []), ("stamp", b"1")]
        return message

    def on_acknowledgement(self, delivery: ottla.Delivery) -> None:
        self.received.append(delivery.outcome)

    def close(self) -> None:
        self.received.append("closed")


async def test_interceptors_see_every_message_and_its_outcome(bootstrap: str, topic: str) -> None:
    stamp = Stamp()
    reported: list[ottla.Delivery] = []
    async with ottla.AsyncProducer(
        bootstrap, interceptors=[stamp], on_delivery=reported.append, max_request_size=10_000
    ) as producer:
        await producer.send_and_wait(topic, b"1")
        await producer.send(topic, b"2")
        await producer.send_many(topic, [b"3", b"4"], [b"k", b"k"])
        with pytest.raises(ottla.MessageTooLarge):
            await producer.send(topic, bytes(20_000))
    assert sorted(stamp.received[:-1]) == ["not_written", *["written"] * 4]
    assert stamp.received[-1] == "closed"
    assert [delivery.headers for delivery in reported] == [[("stamp", b"1")]] * 4, (
        "accepted ones only"
    )
    async with ottla.AsyncConsumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([ottla.TopicPartition(topic, 0)])
        values: list[Any] = []
        while len(values) < 4:
            records = await consumer.poll(timeout=15)
            assert records
            values += [(record.value, list(record.headers)) for record in records]
    assert values == [(b"%d" % number, [("stamp", b"1")]) for number in range(1, 5)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on_delivery": 5}, "on_delivery: expected a function"),
        ({"interceptors": "com.example.Stamp"}, "interceptors: expected a list of objects"),
        ({"interceptors": [Stamp]}, "not the class Stamp"),
        ({"interceptors": [object()]}, "has no on_send, on_acknowledgement, close"),
    ],
)
async def test_a_receiver_without_a_method_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ottla.ConfigError, match=says):
        ottla.AsyncProducer(NOBODY, **options)


async def test_an_empty_list_of_interceptors_is_accepted(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncProducer(bootstrap, interceptors=[], on_delivery=None) as producer:
        assert (await producer.send_and_wait(topic, b"1")).offset == 0


async def send_until_full(producer: ottla.AsyncProducer, topic: str) -> int:
    for sent in range(10_000):
        try:
            await producer.send(topic, bytes(1_000))
        except ottla.BufferFull:
            return sent
    raise AssertionError("the buffer never fills")


async def test_a_full_buffer_waits_for_callbacks(bootstrap: str, topic: str) -> None:
    go_on = threading.Event()
    reported: list[int] = []

    def slow(delivery: ottla.Delivery) -> None:
        go_on.wait(20)
        reported.append(delivery.offset or 0)

    async with ottla.AsyncProducer(
        bootstrap, on_delivery=slow, buffer_memory=100_000, batch_size=10_000, max_block_ms=300
    ) as producer:
        sent = await send_until_full(producer, topic)
        assert sent < 200
        go_on.set()
        await producer.send(topic, b"there is space again")
    assert reported == list(range(sent + 1))


async def test_the_callback_of_a_single_message_is_called_once_and_flush_waits_for_it(
    bootstrap: str, topic: str
) -> None:
    called: list[ottla.Delivery] = []
    threads: set[str] = set()

    def on_delivery(delivery: ottla.Delivery) -> None:
        called.append(delivery)
        threads.add(threading.current_thread().name)

    async with ottla.AsyncProducer(bootstrap, linger_ms=1) as producer:
        sent = [await producer.send(topic, b"%d" % n, on_delivery=on_delivery) for n in range(50)]
        sent.append(producer.send_nowait(topic, b"50", on_delivery=on_delivery))
        await producer.send(topic, b"without one")
        await producer.send_many(topic, [b"51", b"52"], on_delivery=on_delivery)
        await producer.flush(20)
        assert len(called) == 53, "flush waits for the callbacks too"
        await producer.send_and_wait(topic, b"53", on_delivery=on_delivery)
    assert [each for each in called if each in sent] == sent
    assert sorted(int(each.value) for each in called) == list(range(54))
    assert {each.outcome for each in called} == {"written"}
    assert threads == {"ottla-dispatcher"}


async def test_the_callback_of_a_message_comes_after_the_producers_own(
    bootstrap: str, topic: str
) -> None:
    calls: list[tuple[str, Any]] = []
    async with ottla.AsyncProducer(
        bootstrap, on_delivery=lambda delivery: calls.append(("all", delivery.value))
    ) as producer:
        await producer.send(
            topic, b"x", on_delivery=lambda delivery: calls.append(("own", delivery.value))
        )
    assert calls == [("all", b"x"), ("own", b"x")]


async def test_close_gives_the_callback_of_a_message_its_failure() -> None:
    called: list[ottla.Delivery] = []
    producer = ottla.AsyncProducer(NOBODY)
    await producer.send("t", b"x", on_delivery=called.append)
    await producer.close(0)
    await producer.close()
    assert [(each.outcome, type(each.error)) for each in called] == [("not_written", ottla.Closed)]
