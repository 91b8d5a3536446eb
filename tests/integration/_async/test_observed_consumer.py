"""Statistics, health and events of consumers and groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.integration._async.members import wait_for
from tests.integration._sync.members import wait_for as block_until

A_LONG_WAIT_S = 20
QUICK: dict[str, Any] = {
    "auto_offset_reset": "earliest",
    "heartbeat_interval_ms": 50,
    "fetch_max_wait_ms": 50,
}


async def fill(bootstrap: str, topic: str, count: int, partitions: int = 1) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number in range(count):
            await producer.send(topic, b"%d" % number, partition=number % partitions)


async def take(consumer: ottla.AsyncConsumer, count: int) -> int:
    taken = 0
    while taken < count:
        records = await consumer.poll(max_records=count - taken, timeout=A_LONG_WAIT_S)
        assert records, f"only {taken} of {count} records came"
        taken += len(records)
    return taken


async def test_statistics_by_partition_and_by_broker(
    bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(partitions=2)
    await fill(bootstrap, topic, 100, partitions=2)
    async with ottla.AsyncConsumer(bootstrap, **QUICK) as consumer:
        await consumer.assign([(topic, 0)])
        assert await take(consumer, 30) == 30
        statistics = consumer.statistics()
        (partition,) = statistics.partitions
        assert (partition.topic, partition.partition) == (topic, 0)
        assert (partition.position, partition.end_offset, partition.lag) == (30, 50, 20)
        assert partition.handed_records == statistics.handed_records == 30
        assert partition.buffered_records == 20
        assert partition.buffered_bytes == statistics.buffered_bytes > 0
        assert statistics.lag == 20
        assert statistics.records_per_s > 0
        assert statistics.bytes_per_s > 0
        (broker,) = statistics.brokers
        assert broker.node_id == partition.node_id
        assert broker.requests == statistics.requests > 0
        assert broker.latency.count > 0
        assert broker.fetched_bytes == statistics.fetched_bytes > partition.fetched_bytes > 0
        assert statistics.group is None
        json.dumps(statistics.as_dict())


async def test_a_member_shows_its_rebalances_and_commits(
    bootstrap: str, topic: str, unique_name: str
) -> None:
    await fill(bootstrap, topic, 10)
    events: list[ottla.Event] = []
    group_id = f"g-{unique_name}"
    async with ottla.AsyncConsumer(bootstrap, group_id=group_id, **QUICK) as consumer:
        consumer.listen(events.append)
        await consumer.subscribe([topic])
        assert await take(consumer, 10) == 10
        await consumer.commit()
        group = consumer.statistics().group
        assert group is not None
        assert (group.group_id, group.rebalances, group.lost_partitions) == (group_id, 1, 0)
        assert group.generation >= 0
        assert group.member_id
        assert group.last_rebalance_ms == group.rebalance_ms > 0
        assert (group.commits, group.failed_commits, group.commit_latency.count) == (1, 0, 1)
        health = consumer.health()
        assert health
        assert (health.state, health.troubles) == ("ok", ())
        assert health.member is not None
        assert (health.member.state, health.member.assigned) == ("stable", 1)
        json.dumps(health.as_dict())
        with pytest.raises(ottla.CommitFailed):
            await consumer.commit({(topic, 7): 1})
    closed = consumer.health()
    assert (closed.state, closed.troubles, closed.waits) == ("closed", (), ())
    assert not closed
    await wait_for(
        lambda: "group.assigned" in {event.name for event in events}, "the listener is called"
    )
    started, assigned = (
        next(event for event in events if event.name == name)
        for name in ("rebalance.started", "group.assigned")
    )
    assert started.fields == {"group": group_id, "reason": "the member joins for the first time"}
    assert assigned.fields["partitions"] == [f"{topic}-0"]
    assert assigned.fields["reason"] == started.fields["reason"]
    assert assigned.fields["duration_ms"] > 0
    assert {"connection.opened", "cluster.changed", "partition.routed"} <= {e.name for e in events}


async def test_health_names_the_poll_that_waits(bootstrap: str, topic: str) -> None:
    waits: list[ottla.HealthWait] = []
    async with ottla.AsyncConsumer(bootstrap, **QUICK) as consumer:

        def check_waits(event: ottla.Event) -> None:
            if event.name == "partition.routed":
                block_until(lambda: bool(consumer.health().waits), "the poll waits")
                waits.extend(consumer.health().waits)
                consumer.wakeup()

        consumer.listen(check_waits)
        await consumer.assign([(topic, 0)])
        assert not await consumer.poll(timeout=A_LONG_WAIT_S)
        consumer.unlisten(check_waits)
    assert ("poll", "records") in {(wait.who, wait.waits_for) for wait in waits}


@pytest.mark.embedded_only
async def test_a_refused_partition_is_a_trouble_until_a_seek(cluster: Broker, topic: str) -> None:
    await fill(cluster.bootstrap, topic, 3)
    async with ottla.AsyncConsumer(cluster.bootstrap, **QUICK) as consumer:
        cluster.fail("Fetch", 29, times=1)
        await consumer.assign([(topic, 0)])
        with pytest.raises(ottla.KafkaError):
            await consumer.poll(timeout=A_LONG_WAIT_S)
        health = consumer.health()
        assert not health
        (trouble,) = health.troubles
        assert trouble.part == f"{topic}-0"
        assert trouble.reason.startswith("TOPIC_AUTHORIZATION_FAILED (29)")
        assert "until a seek" in trouble.next
        assert not await consumer.poll(timeout=0.2), "it is raised once"
        await consumer.seek((topic, 0), 0)
        assert await take(consumer, 3) == 3
        assert consumer.health()


@pytest.mark.embedded_only
async def test_events_of_a_loss_and_of_a_failed_commit(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    events: list[ottla.Event] = []
    group_id = f"g-{unique_name}"
    await fill(cluster.bootstrap, topic, 3)
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group_id, **QUICK) as consumer:
        consumer.listen(events.append)
        await consumer.subscribe([topic])
        assert await take(consumer, 3) == 3
        cluster.fail("OffsetCommit", 29, times=1)
        with pytest.raises(ottla.CommitFailed):
            await consumer.commit()
        (trouble,) = consumer.health().troubles
        assert trouble.part == "commit"
        assert "this client may not read the topic" in trouble.reason
        await consumer.commit()
        assert consumer.health()
        cluster.expire_member(group_id, *cluster.members(group_id))
        await wait_for(lambda: cluster.count("SyncGroup") == 2, "the member is back")
        assert not await consumer.poll(timeout=0.2)
        await wait_for(
            lambda: [event.name for event in events].count("group.assigned") == 2, "it is assigned"
        )
        group = consumer.statistics().group
        assert group is not None
        assert (group.lost_partitions, group.rebalances, group.failed_commits) == (1, 2, 1)
        assert group.last_rebalance_reason.startswith("the coordinator no longer knows this member")
    failed, lost = (
        next(event.fields for event in events if event.name == name)
        for name in ("commit.failed", "partition.lost")
    )
    assert failed["partitions"] == lost["partitions"] == [f"{topic}-0"]


async def test_a_group_shows_the_same(bootstrap: str, topic: str, unique_name: str) -> None:
    await fill(bootstrap, topic, 10)
    events: list[ottla.Event] = []
    found: list[Any] = []

    class Handler(ottla.AsyncConsumerGroupHandler):
        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                session.mark(record)
                if record.offset == 9:
                    await session.commit()
                    found.append((group.statistics(), group.health()))
                    group.stop()

    group = ottla.AsyncConsumerGroup(bootstrap, f"g-{unique_name}", **QUICK)
    async with group:
        group.listen(events.append)
        await group.consume([topic], Handler())
        group.unlisten(events.append)
    ((statistics, health),) = found
    assert statistics.handed_records == 10
    assert (statistics.group.rebalances, statistics.group.commits) == (1, 1)
    assert health.state == "ok"
    assert health.member.state == "stable"
    assert group.health().state == "closed"
    assert "group.assigned" in {event.name for event in events}


async def test_health_names_the_application_that_a_rebalance_waits_for(
    bootstrap: str, topic: str, unique_name: str
) -> None:
    await fill(bootstrap, topic, 1)
    options = {**QUICK, "group_id": f"g-{unique_name}"}
    async with ottla.AsyncConsumer(bootstrap, **options) as first:
        await first.subscribe([topic])
        assert await take(first, 1) == 1

        def waits_of(consumer: ottla.AsyncConsumer) -> set[tuple[str, str]]:
            return {(wait.who, wait.waits_for) for wait in consumer.health().waits}

        async with ottla.AsyncConsumer(bootstrap, **options) as second:
            await second.subscribe([topic])
            await wait_for(
                lambda: ("group", "the application") in waits_of(first), "it has to poll"
            )
            await wait_for(lambda: ("group", "the other members") in waits_of(second), "it joins")
            assert first.health(), "a wait is no trouble"
            await first.poll(timeout=0.5)
            await second.poll(timeout=0.5)
            await wait_for(
                lambda: ("group", "the application") not in waits_of(first), "it has polled"
            )


@pytest.mark.embedded_only
async def test_a_silent_broker_is_a_trouble(cluster: Broker, topic: str) -> None:
    await fill(cluster.bootstrap, topic, 1)
    async with ottla.AsyncConsumer(cluster.bootstrap, **QUICK) as consumer:
        await consumer.assign([(topic, 0)])
        assert await take(consumer, 1) == 1
        cluster.delay("Fetch", 10, times=None)
        await wait_for(lambda: not consumer.health(), "the broker is silent")
        (trouble,) = consumer.health().troubles
        (broker,) = consumer.statistics().brokers
        assert trouble.part == f"node {broker.node_id}"
        assert "has not answered a fetch for" in trouble.reason
        assert trouble.for_s > 1
        cluster.clear_rules()
