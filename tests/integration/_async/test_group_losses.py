"""Members that the coordinator forgets: their current records are not committed, and they join again."""

from __future__ import annotations

from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.fixtures.logged import Logged
from tests.integration._async.members import Counting, Member, wait_for

QUICK: dict[str, Any] = {"heartbeat_interval_ms": 50, "session_timeout_ms": 6000}

pytestmark = pytest.mark.embedded_only


def fill(broker: Broker, topic: str, count: int) -> None:
    for number in range(count):
        broker.append(topic, b"%d" % number, partition=0)


@pytest.mark.parametrize("auto_commit", [True, False])
async def test_current_records_of_a_lost_member_are_not_committed(
    cluster: Broker, topic: str, unique_name: str, auto_commit: bool
) -> None:
    group = f"g-{unique_name}"
    fill(cluster, topic, 10)
    calls: list[str] = []
    async with ottla.AsyncConsumer(
        cluster.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=auto_commit,
        auto_commit_interval_ms=20,
        **QUICK,
    ) as consumer:
        await consumer.subscribe(
            [topic],
            on_assigned=lambda _: calls.append("assigned"),
            on_revoked=lambda _: calls.append("revoked"),
            on_lost=lambda _: calls.append("lost"),
        )
        assert await consumer.poll(max_records=5, timeout=20)
        commits: list[int] = []

        def see(request: Any, _call: Any) -> None:
            commits.extend(
                part.committed_offset for topic in request.topics for part in topic.partitions
            )

        cluster.answer("OffsetCommit", see, times=None)
        cluster.expire_member(group, *cluster.members(group))
        await wait_for(lambda: cluster.count("SyncGroup") == 2, "the member is back")
        assert consumer.assignment() == set(), (
            "nothing is assigned before the listener of the loss was called"
        )
        with pytest.raises(ottla.CommitFailed):
            await consumer.commit({ottla.TopicPartition(topic, 0): 5})
        records = await consumer.poll(max_records=5, timeout=20)
        assert records
        assert records[0].offset == 0, "it was not committed, so it is read again"
        assert calls == ["assigned", "lost", "assigned"]
        assert set(commits) <= {0}, "only the first offset, where it starts again"


async def test_a_loss_is_one_line(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    group = f"g-{unique_name}"
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as consumer:
        await consumer.subscribe([topic])
        await consumer.poll(timeout=0)
        await wait_for(lambda: bool(consumer.assignment()), "the partition is assigned")
        cluster.expire_member(group, *cluster.members(group))
        await wait_for(lambda: cluster.count("SyncGroup") == 2, "the member is back")
        await consumer.poll(timeout=0.5)
    assert logged.events() == ["partition.lost"]
    assert logged("partition.lost", group=group)


async def test_a_permanent_refusal_is_one_line(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    group = f"g-{unique_name}"
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as consumer:
        await consumer.subscribe([topic])
        await consumer.poll(timeout=0)
        await wait_for(lambda: bool(consumer.assignment()), "the partition is assigned")
        cluster.fail("Heartbeat", 30, times=None)
        with pytest.raises(ottla.KafkaError):
            await consumer.poll(timeout=20)
    assert logged.events() == ["group.failed"]
    assert logged("group.failed", group=group, error="GroupAuthorizationFailed", count=1)


async def test_a_lost_member_without_partitions_gets_some_later(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    group = f"g-{unique_name}"
    fill(cluster, topic, 10)

    handlers = [Counting(), Counting()]
    members = [Member(cluster.bootstrap, group, topic, handler, **QUICK) for handler in handlers]
    try:
        await wait_for(lambda: all(handler.member_id for handler in handlers), "both are members")
        await wait_for(lambda: any(handler.claims for handler in handlers), "one has the partition")
        await wait_for(lambda: cluster.count("Heartbeat") > 4, "the group is stable")
        idle = next(number for number, handler in enumerate(handlers) if not handler.claims)
        forgotten = handlers[idle].member_id
        cluster.expire_member(group, forgotten)
        await wait_for(lambda: handlers[idle].member_id != forgotten, "it joins again")
        await members[1 - idle].stop()
        await wait_for(lambda: bool(handlers[idle].claims), "it takes over the partition")
    finally:
        for member in members:
            await member.stop()
    assert [member.error for member in members] == [None, None]
    assert logged.events() == [], "a member without partitions has nothing to lose"


async def test_a_failed_commit_in_the_background_is_raised_by_consume(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 3)
    group = ottla.AsyncConsumerGroup(
        cluster.bootstrap,
        f"g-{unique_name}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **QUICK,
    )

    class Handler(ottla.AsyncConsumerGroupHandler):
        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                session.mark(record)
                if record.offset == 2:
                    cluster.fail("OffsetCommit", 29, times=None)
                    group.stop()

    async with group:
        with pytest.raises(ottla.CommitFailed):
            await group.consume([topic], Handler(), timeout=5)
