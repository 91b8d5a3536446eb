"""Interceptors of consumers: records of every way of reading, and commits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import ottla
from tests.fixtures.logged import Logged
from tests.integration.twins import sleep_async

A_LONG_WAIT_S = 20


class Watcher(ottla.ConsumerInterceptor):
    """Records its calls and leaves out values that are odd."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.committed: list[dict[ottla.TopicPartition, ottla.OffsetAndMetadata]] = []
        self.closed = 0
        self.threads: set[str] = set()

    def on_consume(self, records: ottla.Records[Any, Any]) -> ottla.Records[Any, Any]:
        self.given += records.offsets()
        return ottla.Records(record for record in records if record.offset % 2 == 0)

    def on_commit(self, offsets: dict[ottla.TopicPartition, ottla.OffsetAndMetadata]) -> None:
        self.committed.append(offsets)
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self.closed += 1


async def fill(bootstrap: str, topic: str, count: int) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number in range(count):
            await producer.send(topic, b"%d" % number, partition=0)


async def seen_by_iteration(consumer: ottla.AsyncConsumer, last: int) -> list[int]:
    seen = []
    async for record in consumer:
        seen.append(record.offset)
        if record.offset == last:
            break
    return seen


async def until(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        await sleep_async(0.05)
    raise AssertionError("it did not come in time")


async def test_interceptors_see_records_and_commits(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 10)
    first, second = Watcher(), Watcher()
    consumer = ottla.AsyncConsumer(
        bootstrap,
        group_id=topic,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        interceptors=[first, second],
    )
    tp = ottla.TopicPartition(topic, 0)
    await consumer.assign(tp)
    assert await seen_by_iteration(consumer, 8) == [0, 2, 4, 6, 8]
    assert first.given == list(range(len(first.given)))
    assert second.given == [0, 2, 4, 6, 8]
    await consumer.commit({tp: 9})
    await until(lambda: first.committed)
    assert first.committed == second.committed == [{tp: ottla.OffsetAndMetadata(9)}]
    assert first.committed[0] is not second.committed[0]
    assert first.threads == {"ottla-dispatcher"}
    await consumer.close()
    await until(lambda: second.closed)
    assert (first.closed, second.closed) == (1, 1)


async def test_refused_commits_are_not_reported(bootstrap: str, topic: str) -> None:
    watcher = Watcher()
    async with ottla.AsyncConsumer(bootstrap, group_id=topic, interceptors=[watcher]) as consumer:
        with pytest.raises(ottla.CommitFailed):
            await consumer.commit({(f"{topic}-missing", 0): 1})
    await until(lambda: watcher.closed)
    assert watcher.committed == []


class Wrong(ottla.ConsumerInterceptor):
    """Returns what its function returns."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def on_consume(self, records: ottla.Records[Any, Any]) -> ottla.Records[Any, Any]:
        changed: ottla.Records[Any, Any] = self.change(records)
        return changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda records: 1 / 0, "division by zero"),
        (list, "it returned list instead of Records"),
        (lambda records: records[::-1], "it returned records in another order"),
        (lambda records: records + records, "it returned records in another order"),
    ],
)
async def test_a_wrong_interceptor_changes_nothing(
    bootstrap: str, topic: str, logged: Logged, change: Any, reason: str
) -> None:
    await fill(bootstrap, topic, 10)
    async with ottla.AsyncConsumer(
        bootstrap, auto_offset_reset="earliest", interceptors=[Wrong(change)]
    ) as consumer:
        await consumer.assign((topic, 0))
        assert await seen_by_iteration(consumer, 9) == list(range(10))
    assert reason in logged("callback.raised")[0].__dict__["reason"]


class Marks(ottla.AsyncConsumerGroupHandler):
    """Marks every record, and stops at the last one."""

    def __init__(self, group: ottla.AsyncConsumerGroup) -> None:
        self.group = group
        self.seen: list[int] = []

    async def consume_claim(
        self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
    ) -> None:
        async for record in claim:
            self.seen.append(record.offset)
            session.mark(record)
            if record.offset == 8:
                self.group.stop()


async def test_interceptors_see_the_records_of_claims(bootstrap: str, topic: str) -> None:
    await fill(bootstrap, topic, 10)
    watcher = Watcher()
    group = ottla.AsyncConsumerGroup(
        bootstrap, topic, auto_offset_reset="earliest", interceptors=[watcher]
    )
    handler = Marks(group)
    await group.consume([topic], handler)
    await group.close()
    await until(lambda: watcher.closed)
    assert handler.seen == [0, 2, 4, 6, 8]
    assert [offset.offset for commit in watcher.committed for offset in commit.values()][-1] == 9
