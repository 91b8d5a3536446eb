"""`read_until`: records up to an end, one by one and in chunks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import ottla
from tests.integration.twins import RunningTask, sleep_async

A_LONG_WAIT_S = 20


async def fill(bootstrap: str, topic: str, count: int, partitions: int = 1, first: int = 0) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number in range(first, first + count):
            await producer.send(
                topic, b"%d" % number, partition=number % partitions, timestamp_ms=1000 + number
            )


def consumer_of(bootstrap: str, **options: Any) -> ottla.AsyncConsumer:
    return ottla.AsyncConsumer(
        bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50, **options
    )


async def read_into(seen: list[int], read: ottla.AsyncBoundedRead) -> None:
    async for record in read:
        seen.append(record.offset)  # noqa: PERF401 (an error ends the loop)


async def offsets_of(read: ottla.AsyncBoundedRead) -> list[int]:
    return [record.offset async for record in read]


async def count_of(chunks: AsyncIterator[ottla.Records]) -> int:
    return sum([len(records) async for records in chunks])


async def test_a_read_ends_at_the_end_of_its_beginning(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 1_200)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        read = consumer.read_until()
        states = {read.is_complete}
        seen = []
        async for record in read:
            seen.append(record.offset)
            if record.offset == 0:
                await fill(bootstrap, topic, 10, first=1_200)
        assert seen == list(range(1_200))
        assert states | {read.is_complete} == {False, True}
        assert read.ends == {(topic, 0): 1_200}
        assert await consumer.position((topic, 0)) == 1_200
        assert consumer.paused() == set()
        assert await offsets_of(consumer.read_until()) == list(range(1_200, 1_210))
        assert await offsets_of(consumer.read_until()) == []


async def test_chunks_of_several_partitions(bootstrap: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(4)
    await fill(bootstrap, topic, 1_000, partitions=3)
    seen: dict[int, list[int]] = {}
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign(*((topic, partition) for partition in range(4)))
        read = consumer.read_until()
        async for records in read.chunks(max_records=70):
            assert 0 < len(records) <= 70
            for tp, some in records.by_partition().items():
                seen.setdefault(tp.partition, []).extend(some.offsets())
        assert read.ends == {(topic, 0): 334, (topic, 1): 333, (topic, 2): 333, (topic, 3): 0}
    assert seen == {0: list(range(334)), 1: list(range(333)), 2: list(range(333))}


async def test_given_ends_are_exclusive(bootstrap: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(3)
    await fill(bootstrap, topic, 90, partitions=3)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign(*((topic, partition) for partition in range(3)))
        await consumer.seek((topic, 1), 20)
        read = consumer.read_until({(topic, 0): 7, (topic, 1): 10})
        seen = [(record.partition, record.offset) async for record in read]
        assert sorted(seen) == [(0, offset) for offset in range(7)]
        assert read.ends == {(topic, 0): 7, (topic, 1): 10}
        for partition, position in ((0, 7), (1, 20), (2, 0)):
            assert await consumer.position((topic, partition)) == position
        rest = [(record.partition, record.offset) async for record in consumer.read_until()]
        assert sorted(rest) == [
            (partition, offset) for partition, first in ((0, 7), (1, 20), (2, 0)) for offset in range(first, 30)
        ]  # fmt: skip


async def test_a_time_is_an_end(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 50)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        assert await offsets_of(consumer.read_until(timestamp_ms=1020)) == list(range(20))
        later = consumer.read_until(timestamp_ms=int(time.time() * 1000) + 3_600_000)
        assert await offsets_of(later) == list(range(20, 50))


async def test_a_read_that_is_left_continues(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 30)
    async with consumer_of(bootstrap, group_id=topic, enable_auto_commit=False) as consumer:
        await consumer.assign((topic, 0))
        read = consumer.read_until({(topic, 0): 20})
        async for record in read:
            if record.offset == 9:
                break
        assert await consumer.position((topic, 0)) == 10
        await consumer.commit()
        committed = (await consumer.committed((topic, 0)))[ottla.TopicPartition(topic, 0)]
        assert committed is not None
        assert committed.offset == 10
        assert await offsets_of(read) == list(range(10, 20))
        assert await offsets_of(read) == []


async def test_a_read_begins_where_an_iteration_stopped(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 30)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        async for record in consumer:
            if record.offset == 4:
                break
        assert await offsets_of(consumer.read_until({(topic, 0): 8})) == [5, 6, 7]
        async for record in consumer:
            assert record.offset == 8
            break


async def test_records_of_a_read_are_committed_when_the_next_is_asked_for(
    bootstrap: str, topic: str
) -> None:
    await fill(bootstrap, topic, 10)
    async with consumer_of(bootstrap, group_id=topic) as consumer:
        await consumer.subscribe([topic])
        assert await offsets_of(consumer.read_until()) == list(range(10))
    async with consumer_of(bootstrap, group_id=topic) as consumer:
        await consumer.subscribe([topic])
        assert await offsets_of(consumer.read_until()) == []
        await fill(bootstrap, topic, 3, first=10)
        read = consumer.read_until()
        async for record in read:
            if record.offset == 11:
                break
        await consumer.commit({(topic, 0): 11})
        await consumer.seek((topic, 0), 11)
        assert await offsets_of(read) == [11, 12]


async def test_a_member_without_partitions_reads_nothing(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 5)
    async with consumer_of(bootstrap, group_id=topic) as first:
        await first.subscribe([topic])
        assert await offsets_of(first.read_until()) == list(range(5))
        async with consumer_of(bootstrap, group_id=f"{topic}-other") as second:
            await second.subscribe([f"{topic}-that-is-missing"])
            assert await offsets_of(second.read_until(timeout=A_LONG_WAIT_S)) == []


async def read_slowly(consumer: ottla.AsyncConsumer, seen: list[tuple[int, int]]) -> None:
    async for record in consumer.read_until():
        seen.append((record.partition, record.offset))
        await sleep_async(0.002)


async def test_two_members_share_a_read(bootstrap: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(4)
    await fill(bootstrap, topic, 1_200, partitions=4)
    group: dict[str, Any] = {"group_id": topic, "heartbeat_interval_ms": 100}
    first, second = consumer_of(bootstrap, **group), consumer_of(bootstrap, **group)
    seen: list[tuple[int, int]] = []
    seen_by_second: list[tuple[int, int]] = []
    await first.subscribe([topic])
    reading = RunningTask(read_slowly, first, seen)
    while len(seen) < 50:
        await sleep_async(0.01)
    await second.subscribe([topic])
    await read_slowly(second, seen_by_second)
    await reading.join(A_LONG_WAIT_S)
    await first.close()
    await second.close()
    assert seen_by_second
    everything = [(partition, offset) for partition in range(4) for offset in range(300)]
    assert sorted(seen + seen_by_second) == everything


async def test_no_progress_is_an_error_that_names_the_partition(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 5)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        read = consumer.read_until({(topic, 0): 8}, timeout=0.6)
        seen: list[int] = []
        with pytest.raises(ottla.Timeout, match=rf"{topic}-0 is at 5 of 8"):
            await read_into(seen, read)
        assert seen == [0, 1, 2, 3, 4]
        await fill(bootstrap, topic, 5, first=5)
        assert await offsets_of(read) == [5, 6, 7]
        consumer.pause((topic, 0))
        with pytest.raises(ottla.Timeout, match=rf"{topic}-0 is at 8 of 10, paused"):
            await offsets_of(consumer.read_until(timeout=0.6))
        assert consumer.paused() == {(topic, 0)}


async def test_wakeup_ends_a_read(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 5)
    async with consumer_of(bootstrap) as consumer:
        await consumer.assign((topic, 0))
        read = consumer.read_until({(topic, 0): 8})
        seen = []
        async for record in read:
            seen.append(record.offset)
            if record.offset == 4:
                consumer.wakeup()
        assert seen == [0, 1, 2, 3, 4]
        assert not read.is_complete


async def test_neither_deserializers_nor_interceptors_see_records_beyond_the_end(
    bootstrap: str, topic: str
) -> None:
    class Watcher(ottla.ConsumerInterceptor):
        def on_consume(self, records: ottla.Records[Any, Any]) -> ottla.Records[Any, Any]:
            watched.extend(records.values())
            return records

    watched: list[Any] = []
    await fill(bootstrap, topic, 20)
    async with consumer_of(bootstrap, value_deserializer=int, interceptors=[Watcher()]) as consumer:
        await consumer.assign((topic, 0))
        await offsets_of(consumer.read_until({(topic, 0): 9}))
        assert watched == list(range(9))


async def test_wrong_ends_are_refused(bootstrap: str, topic: str) -> None:
    async with consumer_of(bootstrap) as consumer:
        with pytest.raises(ottla.StateError, match="call subscribe"):
            await offsets_of(consumer.read_until())
        await consumer.assign((topic, 0))
        with pytest.raises(ottla.StateError, match="not assigned"):
            consumer.read_until({(topic, 1): 5})
        with pytest.raises(ValueError, match="either offsets or timestamp_ms"):
            consumer.read_until({(topic, 0): 5}, timestamp_ms=5)
        with pytest.raises(ValueError, match="timestamp_ms"):
            consumer.read_until(timestamp_ms=-1)
        with pytest.raises((TypeError, ValueError), match="offset"):
            consumer.read_until({(topic, 0): -5})
        with pytest.raises(ValueError, match="max_records"):
            await count_of(consumer.read_until().chunks(max_records=0))
