"""Commits under trouble: a partition holds up no other one, a refusal is the loss, and restored offsets are committed again."""

from __future__ import annotations

import time
from typing import Any

import pytest

import ottla
from ottla.engine.twins import wait_async
from ottla.protocol.error_codes import ErrorCode
from ottla.testing import Broker
from tests.fixtures.logged import Logged
from tests.integration._async.members import Counting, Member, wait_for
from tests.integration.twins import sleep_async

QUICK: dict[str, Any] = {"heartbeat_interval_ms": 50, "session_timeout_ms": 6000}

pytestmark = pytest.mark.embedded_only


def fill(broker: Broker, topic: str, count: int) -> ottla.TopicPartition:
    for number in range(count):
        broker.append(topic, b"%d" % number, partition=0)
    return ottla.TopicPartition(topic, 0)


def consumer_of(broker: Broker, group: str, **config: Any) -> ottla.AsyncConsumer:
    options = {"auto_offset_reset": "earliest", "auto_commit_interval_ms": 20, **QUICK, **config}
    return ottla.AsyncConsumer(broker.bootstrap, group_id=group, **options)


async def read(consumer: ottla.AsyncConsumer, count: int) -> None:
    """Take this number of records, and ask for the next one, so that they are finished."""
    while count:
        count -= len(await consumer.poll(max_records=count, timeout=20))
    await consumer.poll(timeout=0)


async def test_a_deleted_topic_holds_up_neither_commits_nor_the_close(
    cluster: Broker, make_topic: Any, unique_name: str
) -> None:
    deleted, other = make_topic(), make_topic()
    gone, here = fill(cluster, deleted, 5), fill(cluster, other, 5)
    group = f"g-{unique_name}"
    begun = time.monotonic()
    async with consumer_of(cluster, group, allow_auto_create_topics=False) as consumer:
        await consumer.subscribe([deleted, other])
        await read(consumer, 10)
        cluster.fail(
            "OffsetCommit", int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), times=None, topic=deleted
        )
        cluster.delete_topic(deleted)
        ticket = consumer.commit_async({gone: 3})
        await consumer.commit({here: 4}, timeout=5)
    with pytest.raises(ottla.CommitFailed, match=r"does not exist|was deleted"):
        await wait_async(ticket)
    assert time.monotonic() - begun < 10
    assert cluster.committed(group) == {here: 5}
    assert cluster.members(group) == []


async def test_a_deleted_topic_holds_up_no_rebalance(
    cluster: Broker, make_topic: Any, unique_name: str
) -> None:
    deleted, other = make_topic(), make_topic()
    fill(cluster, deleted, 5)
    here = fill(cluster, other, 5)
    group = f"g-{unique_name}"
    async with consumer_of(cluster, group, allow_auto_create_topics=False) as consumer:
        await consumer.subscribe([deleted, other])
        await read(consumer, 10)
        cluster.delete_topic(deleted)
        begun = time.monotonic()
        second = Member(cluster.bootstrap, group, other, Counting(), **QUICK)
        while len(cluster.members(group)) < 2 or cluster.count("SyncGroup") < 3:
            await consumer.poll(timeout=0.05)
            assert time.monotonic() - begun < 10, "the rebalance waits for the deleted topic"
        assert cluster.committed(group) == {here: 5}
        await second.stop()


@pytest.mark.parametrize(
    "code", [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION], ids=lambda code: code.name
)
async def test_the_first_commit_that_the_coordinator_refuses_is_the_loss(
    cluster: Broker, topic: str, unique_name: str, code: ErrorCode
) -> None:
    tp = fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    lost: list[list[ottla.TopicPartition]] = []
    slow = {"heartbeat_interval_ms": 5000}
    async with consumer_of(cluster, group, enable_auto_commit=False, **slow) as consumer:
        await consumer.subscribe([topic], on_lost=lost.append)
        await read(consumer, 5)
        cluster.fail("OffsetCommit", int(code))
        refused = 0
        until = time.monotonic() + 3
        while not lost and time.monotonic() < until:
            try:
                await consumer.commit({tp: 5}, timeout=5)
            except ottla.CommitFailed:
                refused += 1
            await consumer.poll(timeout=0.05)
        assert lost == [[tp]]
        assert refused == 1
        assert cluster.count("OffsetCommit") == 1


async def test_an_instance_that_is_fenced_learns_it_from_a_commit(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    tp = fill(cluster, topic, 10)
    slow = {"heartbeat_interval_ms": 5000, "enable_auto_commit": False}
    async with consumer_of(cluster, f"g-{unique_name}", group_instance_id="i", **slow) as consumer:
        await consumer.subscribe([topic])
        await read(consumer, 5)
        cluster.fail("OffsetCommit", int(ErrorCode.FENCED_INSTANCE_ID))
        with pytest.raises(ottla.CommitFailed, match="same group_instance_id"):
            await consumer.commit({tp: 5}, timeout=5)
        with pytest.raises(ottla.KafkaError, match="FENCED_INSTANCE_ID"):
            await consumer.poll(timeout=5)


async def test_an_offset_that_was_put_back_is_committed_again(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    tp = fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    async with consumer_of(cluster, group) as consumer:
        await consumer.assign([tp])
        await read(consumer, 10)
        await wait_for(lambda: cluster.committed(group) == {tp: 10}, "the automatic commit")
        await consumer.commit({tp: 3})
        await wait_for(
            lambda: cluster.committed(group) == {tp: 10}, "the next automatic commit: it differs"
        )


async def test_an_offset_that_another_client_put_back_is_committed_again_at_close(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    tp = fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    async with consumer_of(cluster, group) as consumer:
        await consumer.assign([tp])
        await read(consumer, 10)
        await wait_for(lambda: cluster.committed(group) == {tp: 10}, "the automatic commit")
        async with consumer_of(cluster, group, enable_auto_commit=False) as other:
            await other.commit({tp: 3})
        assert cluster.committed(group) == {tp: 3}
    assert cluster.committed(group) == {tp: 10}


async def test_a_recreated_topic_is_committed_though_its_end_is_the_same(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    tp = fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    async with consumer_of(cluster, group, metadata_max_age_ms=100) as consumer:
        await consumer.subscribe([topic])
        await read(consumer, 10)
        await wait_for(lambda: cluster.committed(group) == {tp: 10}, "the automatic commit")
        cluster.delete_topic(topic)
        cluster.create_topic(topic)
        fill(cluster, topic, 10)
        await read(consumer, 10)
        await wait_for(lambda: cluster.committed(group) == {tp: 10}, "the commit of the new topic")


async def test_one_record_is_committed(cluster: Broker, topic: str, unique_name: str) -> None:
    tp = fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    async with consumer_of(cluster, group, enable_auto_commit=False) as consumer:
        await consumer.subscribe([topic])
        records = await consumer.poll(max_records=10, timeout=20)
        await consumer.commit(records[0])
        assert cluster.committed(group) == {tp: records[0].offset + 1}
        with pytest.raises(TypeError, match="offsets must be a Record, or a mapping"):
            await consumer.commit(3)  # type: ignore[arg-type]


async def test_a_commit_without_an_answer_may_have_happened(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    tp = fill(cluster, topic, 1)
    group = f"g-{unique_name}"
    async with consumer_of(
        cluster, group, enable_auto_commit=False, default_api_timeout_ms=300
    ) as consumer:
        await consumer.assign([tp])
        cluster.lose_answer("OffsetCommit", times=None)
        with pytest.raises(ottla.CommitFailed) as failed:
            await consumer.commit({tp: 1})
        assert failed.value.outcome == "unknown"
        assert cluster.committed(group) == {tp: 1}
        cluster.clear_rules()
    assert logged("commit.retried", group=group)


async def test_a_commit_from_outside_a_group_with_members_fails_with_the_reason(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    tp = fill(cluster, topic, 1)
    group = f"g-{unique_name}"
    member = Member(cluster.bootstrap, group, topic, Counting(), **QUICK)
    await wait_for(lambda: cluster.count("SyncGroup"), "the member")
    async with consumer_of(cluster, group, enable_auto_commit=False) as consumer:
        await consumer.assign([tp])
        with pytest.raises(ottla.CommitFailed, match="the group has members"):
            await consumer.commit({tp: 1})
    await member.stop()


async def test_the_marks_of_a_recreated_topic_go_back_with_its_offsets(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    class Marking(ottla.AsyncConsumerGroupHandler):
        handed = 0

        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                session.mark(record)
                await session.commit()
                self.handed += 1

    tp = fill(cluster, topic, 10)
    group, handler = f"g-{unique_name}", Marking()
    member = Member(cluster.bootstrap, group, topic, handler, metadata_max_age_ms=100, **QUICK)
    await wait_for(lambda: cluster.committed(group) == {tp: 10}, "the commit of the old topic")
    cluster.delete_topic(topic)
    cluster.create_topic(topic)
    fill(cluster, topic, 7)
    await wait_for(lambda: handler.handed == 17, "the records of the new topic")
    assert cluster.committed(group) == {tp: 7}
    await member.stop()
    assert member.error is None


async def test_progress_in_the_old_log_of_a_recreated_topic_is_not_committed_for_the_new_one(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    tp = fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    async with consumer_of(cluster, group, metadata_max_age_ms=100) as consumer:
        await consumer.assign([tp])
        await read(consumer, 10)
        await wait_for(lambda: cluster.committed(group) == {tp: 10}, "the automatic commit")
        cluster.delete_topic(topic)
        cluster.create_topic(topic)
        fill(cluster, topic, 3)
        await wait_for(lambda: logged("position.reset"), "the reset")
        await sleep_async(0.1)  # some intervals of automatic commits
        assert cluster.committed(group) in ({}, {tp: 0})
        await read(consumer, 3)
        await wait_for(lambda: cluster.committed(group) == {tp: 3}, "the commit of the new topic")
