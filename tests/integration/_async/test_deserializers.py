"""Deserializers: objects in place of bytes, and records that do not deserialize, by every way of reading."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest

import ottla
from tests.fixtures.logged import Logged

A_LONG_WAIT_S = 20
BAD = b"{"


async def fill(bootstrap: str, topic: str, *values: bytes | None, partition: int = 0) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number, value in enumerate(values):
            await producer.send(topic, value, key=b"%d" % number, partition=partition)


async def fill_with_bad(bootstrap: str, topic: str, bad: int = 3, count: int = 6) -> None:
    values = [b"%d" % number for number in range(count)]
    values[bad] = BAD
    await fill(bootstrap, topic, *values)


def consumer_of(bootstrap: str, **options: Any) -> ottla.AsyncConsumer[str, Any]:
    return ottla.AsyncConsumer(
        bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        key_deserializer=bytes.decode,
        value_deserializer=json.loads,
        **options,
    )


async def drain(consumer: ottla.AsyncConsumer[Any, Any], count: int) -> list[Any]:
    values: list[Any] = []
    while len(values) < count:
        records = await consumer.poll(timeout=A_LONG_WAIT_S)
        assert records, f"only {len(values)} of {count} records came"
        values += records.values()
    return values


async def read_into(seen: list[Any], consumer: ottla.AsyncConsumer[Any, Any]) -> None:
    async for record in consumer:
        seen.append(record.value)  # noqa: PERF401 (an error ends the loop)


async def test_records_have_objects(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, b'{"a": 1}', None, b"[2]")
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        records = await consumer.poll(timeout=A_LONG_WAIT_S)
        while len(records) < 3:
            records += await consumer.poll(timeout=A_LONG_WAIT_S)
        assert records.values() == [{"a": 1}, None, [2]]
        assert records.keys() == ["0", "1", "2"]
        assert records[0].value is records[0].value
        assert bytes(records[0].value_view or b"") == b'{"a": 1}'
        assert records[0].serialized_value_size == 8
        assert [record.error for record in records] == [None] * 3
        assert records[1:].values() == [None, [2]]
        for twin in (pickle.loads(pickle.dumps(records[2])), records[2].detach()):
            assert (twin.key, twin.value, twin.error) == ("2", [2], None)


async def test_a_record_that_does_not_deserialize_stops_its_partition(
    bootstrap: str, topic: str
) -> None:
    await fill_with_bad(bootstrap, topic)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        assert await drain(consumer, 3) == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(ottla.DeserializationError, match="the value did not") as caught:
                await consumer.poll(timeout=A_LONG_WAIT_S)
            assert await consumer.position((topic, 0)) == 3
        error = caught.value
        assert (error.topic, error.partition, error.offset) == (topic, 0, 3)
        assert (error.field, error.next_offset) == ("value", 4)
        assert isinstance(error.__cause__, json.JSONDecodeError)
        assert error.record is not None
        assert (error.record.value, error.record.key) == (BAD, b"3")
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), again.record, again.next_offset) == (str(error), error.record, 4)
        await consumer.seek((topic, 0), error.next_offset)
        assert await drain(consumer, 2) == [4, 5]


async def test_an_iteration_ends_at_such_a_record_and_continues_there(
    bootstrap: str, topic: str
) -> None:
    await fill_with_bad(bootstrap, topic)
    async with consumer_of(bootstrap, group_id=topic, enable_auto_commit=False) as consumer:
        await consumer.assign((topic, 0))
        seen: list[Any] = []
        for _ in range(2):
            with pytest.raises(ottla.DeserializationError):
                await read_into(seen, consumer)
            await consumer.commit()
            committed = (await consumer.committed((topic, 0)))[ottla.TopicPartition(topic, 0)]
            assert committed is not None
            assert committed.offset == 3
        assert seen == [0, 1, 2]
        await consumer.seek((topic, 0), 4)
        async for record in consumer:
            seen.append(record.value)
            if len(seen) == 5:
                break
        assert seen == [0, 1, 2, 4, 5]


async def test_such_a_record_holds_up_no_other_partition(
    bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(3)
    for partition in range(3):
        values = [b"%d" % number for number in range(20)]
        await fill(
            bootstrap, topic, *([BAD, *values] if partition else values), partition=partition
        )
    async with consumer_of(bootstrap, max_poll_records=4) as consumer:
        await consumer.assign(*((topic, partition) for partition in range(3)))
        seen: list[Any] = []
        failed: set[int | None] = set()
        for _ in range(60):
            try:
                seen += (await consumer.poll(timeout=1)).values()
            except ottla.DeserializationError as error:
                failed.add(error.partition)
            if len(seen) == 20 and failed == {1, 2}:
                break
        assert seen == list(range(20))
        assert failed == {1, 2}


async def poll_once(consumer: ottla.AsyncConsumer[Any, Any], seen: list[Any]) -> None:
    seen += list(await consumer.poll(timeout=0.5, max_records=7))


async def iterate_once(consumer: ottla.AsyncConsumer[Any, Any], seen: list[Any]) -> None:
    async for record in consumer.read_until():
        seen.append(record)
        if len(seen) % 11 == 0:
            break


@pytest.mark.parametrize("read", [poll_once, iterate_once])
async def test_every_record_is_handed_over_once_or_raised(
    bootstrap: str, make_topic: Callable[..., str], read: Any
) -> None:
    topic, rng = make_topic(3), random.Random(7)
    bad, good = set(), []
    for partition in range(3):
        values = [BAD if rng.random() < 0.15 else b"%d" % number for number in range(150)]
        await fill(bootstrap, topic, *values, partition=partition)
        bad |= {(partition, n) for n, value in enumerate(values) if value == BAD}
        good += [(partition, n) for n, value in enumerate(values) if value != BAD]
    seen: list[Any] = []
    raised: list[tuple[int, int]] = []
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign(*((topic, partition) for partition in range(3)))
        for _ in range(2_000):
            try:
                await read(consumer, seen)
            except ottla.DeserializationError as error:
                if rng.random() < 0.8 and error.record is not None:
                    raised.append((error.record.partition, error.offset))
                    await consumer.seek(error.record.topic_partition, error.next_offset)
            if len(seen) == len(good) and len(raised) == len(bad):
                break
    assert sorted(raised) == sorted(bad)
    for partition in range(3):
        offsets = [record.offset for record in seen if record.partition == partition]
        assert offsets == [offset for place, offset in good if place == partition]
    assert all(record.value == record.offset for record in seen)


async def test_an_error_that_waits_is_forgotten_by_a_seek(bootstrap: str, topic: str) -> None:
    await fill_with_bad(bootstrap, topic)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        assert await drain(consumer, 3) == [0, 1, 2]
        await consumer.seek((topic, 0), 4)
        assert await drain(consumer, 2) == [4, 5]
        await consumer.seek((topic, 0), 2)
        assert await drain(consumer, 1) == [2]
        await consumer.assign([])
        await consumer.assign((topic, 0))
        assert await drain(consumer, 3) == [0, 1, 2]


async def test_skipped_records_are_counted_and_logged(
    bootstrap: str, topic: str, logged: Logged
) -> None:
    await fill(bootstrap, topic, BAD, b"1", BAD, BAD, b"4", BAD)
    async with consumer_of(bootstrap, on_deserialize_error="skip", group_id=topic) as consumer:
        await consumer.assign((topic, 0))
        assert await drain(consumer, 2) == [1, 4]
        await consumer.commit()
        committed = (await consumer.committed((topic, 0)))[ottla.TopicPartition(topic, 0)]
        assert committed is not None
        assert committed.offset == 6
        assert consumer.statistics().skipped_records == 4
    assert len(logged("record.skipped")) == 1
    assert logged("record.skipped", topic=topic, partition=0, offset=0, count=1)


async def test_a_poll_of_skipped_records_alone_waits_for_others(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, BAD, BAD)
    async with consumer_of(bootstrap, on_deserialize_error="skip") as consumer:
        await consumer.assign((topic, 0))
        assert not await consumer.poll(timeout=0.5)
        assert await consumer.position((topic, 0)) == 2
        await fill(bootstrap, topic, b"7")
        assert await drain(consumer, 1) == [7]


async def test_such_records_are_handed_over_with_their_error(bootstrap: str, topic: str) -> None:
    await fill_with_bad(bootstrap, topic)
    seen = []
    async with consumer_of(bootstrap, on_deserialize_error="hand_over") as consumer:
        await consumer.assign((topic, 0))
        async for record in consumer:
            seen.append((record.key, record.value, type(record.error).__name__))
            if len(seen) == 6:
                break
    good = [(str(n), n, "NoneType") for n in range(6)]
    assert seen == [*good[:3], (b"3", BAD, "DeserializationError"), *good[4:]]


async def test_ctrl_c_in_a_deserializer_loses_no_record(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, b"0", b"1", b"2")
    calls: list[bytes] = []

    def interrupted(data: bytes) -> int:
        calls.append(data)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return int(data)

    async with ottla.AsyncConsumer(
        bootstrap, auto_offset_reset="earliest", value_deserializer=interrupted
    ) as consumer:
        await consumer.assign((topic, 0))
        with pytest.raises(KeyboardInterrupt):
            await drain(consumer, 3)
        left = [0, 1, 2] if calls == [b"0", b"1"] else [1, 2]
        assert await drain(consumer, len(left)) == left


class Sums(ottla.AsyncConsumerGroupHandler):
    """Marks every record; resets the offset behind one that does not deserialize."""

    def __init__(self, group: ottla.AsyncConsumerGroup) -> None:
        self.group = group
        self.seen: list[Any] = []
        self.failed: list[int] = []

    async def consume_claim(
        self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim[bytes, Any]
    ) -> None:
        while not session.stopping:
            try:
                async for record in claim:
                    self.seen.append(record.value)
                    session.mark(record)
                    if len(self.seen) == 5:
                        self.group.stop()
            except ottla.DeserializationError as error:
                self.failed.append(error.offset)
                if len(self.failed) == 2:
                    await session.reset_offset((claim.topic, claim.partition), error.next_offset)


async def test_a_claim_raises_the_error_and_is_iterated_again(bootstrap: str, topic: str) -> None:
    await fill_with_bad(bootstrap, topic)
    group = ottla.AsyncConsumerGroup(
        bootstrap, topic, auto_offset_reset="earliest", value_deserializer=json.loads
    )
    handler = Sums(group)
    await group.consume([topic], handler)
    await group.close()
    assert handler.seen == [0, 1, 2, 4, 5]
    assert handler.failed == [3, 3]
