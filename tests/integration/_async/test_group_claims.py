"""Claims of a handler, and members that join and leave while records flow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

import ottla
from ottla.engine.twins import AsyncEvent
from tests.fixtures.logged import Logged
from tests.integration._async.members import PARTITIONS, QUICK, Counting, Member, fill, wait_for
from tests.integration.twins import RunningTask, wait_set_async


@pytest.fixture
async def group(bootstrap: str, unique_name: str) -> AsyncIterator[ottla.AsyncConsumerGroup]:
    group = ottla.AsyncConsumerGroup(
        bootstrap,
        f"g-{unique_name}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **QUICK,
    )
    yield group
    await group.close(5)


async def test_members_join_and_leave_and_every_record_is_handled_once(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"g-{unique_name}"
    handlers: list[Counting] = []
    members: list[Member] = []
    total = 0

    def join() -> Member:
        handlers.append(Counting())
        members.append(Member(bootstrap, group, topic, handlers[-1], **QUICK))
        return members[-1]

    def seen() -> Counter[bytes]:
        return sum((handler.seen for handler in list(handlers)), Counter())

    async def more(count: int) -> None:
        nonlocal total
        await fill(bootstrap, topic, count)
        total += count

    try:
        join()
        join()
        await more(1_200)
        for _ in range(2):
            guest = join()
            await more(1_200)
            await wait_for(lambda: bool(handlers[-1].claims), "the guest has partitions")
            await more(1_200)
            await guest.stop()
            await more(1_200)
        await wait_for(lambda: sum(seen().values()) >= total, "everything is read")
    finally:
        for member in members:
            await member.stop()
    assert [member.error for member in members] == [None] * len(members)
    assert sum(seen().values()) == total
    async with ottla.AsyncConsumer(bootstrap, group_id=group) as reader:
        places = [ottla.TopicPartition(topic, number) for number in range(PARTITIONS)]
        committed = await reader.committed(*places)
        ends = await reader.end_offsets(*places)
    assert {tp: at.offset for tp, at in committed.items() if at} == ends


async def test_a_second_loop_continues_after_the_first(
    bootstrap: str, topic: str, group: ottla.AsyncConsumerGroup
) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number in range(20):
            await producer.send(topic, b"%d" % number, partition=0)
    offsets: list[int] = []

    class Handler(ottla.AsyncConsumerGroupHandler):
        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                offsets.append(record.offset)
                if record.offset == 4:
                    break
            async for record in claim:
                offsets.append(record.offset)
                if record.offset == 12 and offsets.count(12) == 1:
                    await session.reset_offset((claim.topic, claim.partition), 10)
                if record.offset == 19:
                    group.stop()

    await group.consume([topic], Handler(), timeout=5)
    assert offsets == [*range(13), *range(10, 20)]


async def test_a_claim_ends_after_the_current_record(
    bootstrap: str, topic: str, group: ottla.AsyncConsumerGroup
) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number in range(300):
            await producer.send(topic, b"%d" % number, partition=0)
    handled: list[int] = []

    class Handler(ottla.AsyncConsumerGroupHandler):
        async def setup(self, session: ottla.AsyncGroupSession) -> None:
            self.session = session

        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                handled.append(record.offset)
                session.mark(record)
                if record.offset == 2:
                    group.stop()
                    await wait_for(lambda: session.stopping, "the session ends")

    handler = Handler()
    await group.consume([topic], handler, timeout=5)
    assert handled == [0, 1, 2]
    with pytest.raises(ottla.errors.Error, match="not claimed"):
        handler.session.mark_offset((topic, 0), 300)
    with pytest.raises(ottla.errors.Error, match="has ended"):
        await handler.session.commit()


async def test_the_group_can_be_used_again_after_it_ended(
    bootstrap: str, topic: str, group: ottla.AsyncConsumerGroup
) -> None:
    class Once(ottla.AsyncConsumerGroupHandler):
        def __init__(self) -> None:
            self.values: list[bytes | None] = []

        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                self.values.append(record.value)
                session.mark(record)
                group.stop()

    for number in range(3):
        async with ottla.AsyncProducer(bootstrap) as producer:
            await producer.send_and_wait(topic, b"%d" % number, partition=0)
        handler = Once()
        await group.consume([topic], handler, timeout=5)
        assert handler.values == [b"%d" % number]


async def test_a_stuck_claim_does_not_delay_the_end_beyond_its_timeout(
    bootstrap: str, topic: str, group: ottla.AsyncConsumerGroup
) -> None:
    await fill(bootstrap, topic, 1, partitions=1)
    freed, begun, stop = AsyncEvent(), AsyncEvent(), AsyncEvent()

    class Stuck(ottla.AsyncConsumerGroupHandler):
        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            begun.set()
            await wait_set_async(freed, 60)

    async def stop_when_begun() -> None:
        await wait_set_async(begun, 30)
        stop.set()

    stopping = RunningTask(stop_when_begun)
    try:
        with pytest.raises(ottla.Timeout, match="did not return within"):
            await group.consume([topic], Stuck(), stop, timeout=0.5)
        ended = time.monotonic()
        await group.close(2)
        assert time.monotonic() - ended < 5
    finally:
        freed.set()
        await stopping.join(30)


async def test_failures_of_a_claim_and_of_cleanup_are_both_reported(
    bootstrap: str,
    topic: str,
    group: ottla.AsyncConsumerGroup,
    logged: Logged,
) -> None:
    await fill(bootstrap, topic, 1, partitions=1)

    class Failing(ottla.AsyncConsumerGroupHandler):
        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            raise LookupError("of the claim")

        async def cleanup(self, session: ottla.AsyncGroupSession) -> None:
            raise ZeroDivisionError("of cleanup")

    with pytest.raises(LookupError, match="of the claim"):
        await group.consume([topic], Failing(), timeout=5)
    assert logged("session.cleanup_failed", error="ZeroDivisionError")


async def test_one_poll_at_a_time(bootstrap: str, topic: str) -> None:
    async with ottla.AsyncConsumer(bootstrap) as consumer:
        await consumer.assign([ottla.TopicPartition(topic, 0)])
        polling = RunningTask(consumer.poll)
        await wait_for(lambda: consumer._polling._turn.locked(), "the other poll has begun")
        with pytest.raises(ottla.errors.Error, match="polls this consumer"):
            await consumer.poll(timeout=0)
        consumer.wakeup()
        await polling.join(30)
