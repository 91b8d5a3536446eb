"""The moment between two owners: what a consumer hands over, commits and raises when it loses or gives up partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.integration._async.members import wait_for
from tests.integration.twins import poll_for_async, sleep_async

QUICK: dict[str, Any] = {
    "heartbeat_interval_ms": 30,
    "session_timeout_ms": 6000,
    "auto_offset_reset": "earliest",
}

pytestmark = pytest.mark.embedded_only


def fill(broker: Broker, topic: str, count: int, partition: int = 0) -> None:
    for number in range(count):
        broker.append(topic, b"%d" % number, partition=partition)


class Listeners:
    """Notes the calls of the group, in order with the records that the test adds."""

    def __init__(self) -> None:
        self.order: list[Any] = []

    async def on_assigned(self, partitions: list[ottla.TopicPartition]) -> None:
        self.order.append("assigned")

    async def on_revoked(self, partitions: list[ottla.TopicPartition]) -> None:
        self.order.append("revoked")

    async def on_lost(self, partitions: list[ottla.TopicPartition]) -> None:
        self.order.append("lost")

    @property
    def all(self) -> dict[str, Any]:
        return {
            "on_assigned": self.on_assigned,
            "on_revoked": self.on_revoked,
            "on_lost": self.on_lost,
        }


async def has_call(consumer: ottla.AsyncConsumer, what: str) -> None:
    """Wait until a decision of the group waits for the application."""
    await wait_for(lambda: len(consumer._client.application.calls) > 0, what)


async def rebalance(cluster: Broker, consumer: ottla.AsyncConsumer) -> None:
    """The only member of the group is asked to join again, and has not served that."""
    cluster.fail("Heartbeat", 27)
    await has_call(consumer, "the rebalance")


async def committed(consumer: ottla.AsyncConsumer, topic: str, partition: int = 0) -> int | None:
    place = ottla.TopicPartition(topic, partition)
    at = (await consumer.committed(place))[place]
    return None if at is None else at.offset


# ---- hand-over -----------------------------------------------------------------------------------------------------------


async def test_a_poll_hands_over_nothing_after_on_revoked(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 10)
    group, seen = f"g-{unique_name}", Listeners()
    async with (
        ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as first,
        ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as second,
    ):
        await first.subscribe([topic], **seen.all)
        seen.order += [record.offset for record in await first.poll(max_records=5, timeout=20)]
        await second.subscribe([topic])
        await has_call(first, "the rebalance")
        offsets: list[int] = []
        while seen.order.count("assigned") < 2:
            seen.order += [
                record.offset for record in await first.poll(max_records=5, timeout=0.05)
            ]
            offsets += [record.offset for record in await second.poll(timeout=0)]
        assert seen.order[:8] == ["assigned", 0, 1, 2, 3, 4, "revoked", "assigned"]
        while len(offsets) + len(seen.order) < 13:
            seen.order += [record.offset for record in await first.poll(timeout=0.05)]
            offsets += [record.offset for record in await second.poll(timeout=0.05)]
        assert [*seen.order[8:], *offsets] == [5, 6, 7, 8, 9], "each record once"


async def test_an_iteration_serves_a_rebalance_between_two_records(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 10)
    group, seen = f"g-{unique_name}", Listeners()
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as consumer:
        await consumer.subscribe([topic], **seen.all)
        async for record in consumer:
            seen.order.append(record.offset)
            if record.offset == 2:
                await rebalance(cluster, consumer)
            if record.offset == 9:
                break
        assert seen.order == ["assigned", 0, 1, 2, "revoked", "assigned", *range(3, 10)]


async def test_commit_position_and_seek_work_in_on_revoked(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 10)
    group, tp = f"g-{unique_name}", ottla.TopicPartition(topic, 0)
    results: list[Any] = []
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as first:

        async def revoked(_partitions: list[ottla.TopicPartition]) -> None:
            results.append(await first.position(tp))
            await first.commit()
            results.append(await committed(first, topic))
            first.pause(tp)
            first.resume(tp)
            await first.seek(tp, 3)
            results.append(await first.position(tp))

        await first.subscribe([topic], on_revoked=revoked)
        assert len(await first.poll(max_records=5, timeout=20)) == 5
        await rebalance(cluster, first)
        records = await first.poll(max_records=5, timeout=20)
        assert results == [5, 5, 3]
        assert records[0].offset == 3, "the position at the end of the listener is committed"


@pytest.mark.parametrize(
    "name", ["poll", "subscribe", "unsubscribe", "assign", "close", "iteration"]
)
async def test_calls_that_are_not_for_listeners_are_refused_by_name(
    cluster: Broker, topic: str, name: str, unique_name: str
) -> None:
    async with ottla.AsyncConsumer(
        cluster.bootstrap, group_id=f"g-{unique_name}", **QUICK
    ) as consumer:

        async def assigned(_partitions: list[ottla.TopicPartition]) -> None:
            if name == "poll":
                await consumer.poll(timeout=0)
            elif name == "subscribe":
                await consumer.subscribe([topic])
            elif name == "unsubscribe":
                await consumer.unsubscribe()
            elif name == "assign":
                await consumer.assign([])
            elif name == "close":
                await consumer.close()
            else:
                async for _record in consumer:
                    pass

        await consumer.subscribe([topic], on_assigned=assigned)
        called = "poll" if name == "iteration" else name
        with pytest.raises(ottla.StateError, match=rf"{called}\(\) was called in on_assigned"):
            await consumer.poll(timeout=20)
        assert consumer.assignment() == {ottla.TopicPartition(topic, 0)}
        fill(cluster, topic, 1)
        assert len(await consumer.poll(timeout=20)) == 1, "the consumer is as usable as before"


@pytest.mark.parametrize("way", ["poll", "iteration"])
async def test_an_exception_of_a_listener_is_an_error_of_the_call_and_ends_nothing(
    cluster: Broker, topic: str, way: str, unique_name: str
) -> None:
    fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as first:

        async def revoked(_partitions: list[ottla.TopicPartition]) -> None:
            raise LookupError("mine")

        await first.subscribe([topic], on_revoked=revoked)
        seen: list[int] = []

        async def read() -> None:
            async for record in first:
                seen.append(record.offset)
                if record.offset == 2:
                    await rebalance(cluster, first)
                    if way == "poll":
                        await first.poll(timeout=1)

        with pytest.raises(LookupError, match="mine"):
            await read()
        assert seen == [0, 1, 2]
        first._polling._listeners.by_kind = {}
        async for record in first:
            seen.append(record.offset)
            if record.offset == 9:
                break
    assert seen == list(range(10))


async def test_a_slow_listener_ends_before_the_next_records(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 10)
    seen: list[Any] = []
    async with ottla.AsyncConsumer(
        cluster.bootstrap, group_id=f"g-{unique_name}", **QUICK
    ) as consumer:

        async def revoked(_partitions: list[ottla.TopicPartition]) -> None:
            await sleep_async(0.3)
            await consumer.commit()
            seen.append("revoked")

        await consumer.subscribe([topic], on_revoked=revoked)
        seen += [record.offset for record in await consumer.poll(max_records=5, timeout=20)]
        await rebalance(cluster, consumer)
        while len(seen) < 11:
            seen += [record.offset for record in await poll_for_async(consumer, 0.05)]
        assert seen == [0, 1, 2, 3, 4, "revoked", 5, 6, 7, 8, 9]


# ---- commits -------------------------------------------------------------------------------------------------------------


async def test_assigning_other_partitions_commits_those_that_are_given_up(
    cluster: Broker, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic = make_topic(2)
    fill(cluster, topic, 10)
    fill(cluster, topic, 10, partition=1)
    async with ottla.AsyncConsumer(
        cluster.bootstrap, group_id=f"g-{unique_name}", **QUICK
    ) as consumer:
        await consumer.assign((topic, 0))
        assert len(await consumer.poll(max_records=4, timeout=20)) == 4
        await consumer.assign((topic, 1))
        assert await committed(consumer, topic) == 4
        seen: list[tuple[int, int]] = []
        async for record in consumer:
            seen.append((record.partition, record.offset))
            if record.partition == 1 and record.offset == 2:
                await consumer.assign((topic, 0))
            if record.partition == 0:
                break
        assert seen == [(1, 0), (1, 1), (1, 2), (0, 4)], "nothing more of the chunk"
        assert await committed(consumer, topic, 1) == 3


@pytest.mark.parametrize("auto_commit", [True, False])
async def test_a_commit_after_a_loss_raises_after_on_lost(
    cluster: Broker, topic: str, unique_name: str, auto_commit: bool
) -> None:
    fill(cluster, topic, 10)
    group, seen = f"g-{unique_name}", Listeners()
    async with ottla.AsyncConsumer(
        cluster.bootstrap, group_id=group, enable_auto_commit=auto_commit, **QUICK
    ) as consumer:
        await consumer.subscribe([topic], **seen.all)
        assert len(await consumer.poll(max_records=5, timeout=20)) == 5
        cluster.expire_member(group, *cluster.members(group))
        await has_call(consumer, "the loss")
        for _ in range(2):
            with pytest.raises(ottla.CommitFailed, match="its session expired") as failed:
                await consumer.commit()
            assert list(failed.value.partitions) == [ottla.TopicPartition(topic, 0)]
            assert seen.order == ["assigned", "lost"]
        assert await committed(consumer, topic) is None
        records = await consumer.poll(max_records=5, timeout=20)
        assert [record.offset for record in records] == [0, 1, 2, 3, 4]
        await consumer.commit()
        assert await committed(consumer, topic) == 5


async def test_a_commit_after_the_poll_interval_ran_out_raises(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 10)
    seen = Listeners()
    async with ottla.AsyncConsumer(
        cluster.bootstrap,
        group_id=f"g-{unique_name}",
        max_poll_interval_ms=300,
        enable_auto_commit=False,
        **QUICK,
    ) as consumer:
        await consumer.subscribe([topic], **seen.all)
        assert len(await consumer.poll(max_records=5, timeout=20)) == 5
        await has_call(consumer, "the application takes too long")
        with pytest.raises(ottla.CommitFailed, match="max_poll_interval_ms"):
            await consumer.commit()
        assert seen.order == ["assigned", "lost"]
        with pytest.raises(ottla.CommitFailed, match="max_poll_interval_ms"):
            await consumer.commit({(topic, 0): 5})
        records = await consumer.poll(max_records=5, timeout=20)
        assert records[0].offset == 0, "nothing was committed"


async def test_an_iteration_after_a_loss_drops_the_rest_and_commits_nothing_of_it(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 10)
    group, seen = f"g-{unique_name}", Listeners()
    commits: list[int] = []

    def see(request: Any, _call: Any) -> None:
        commits.extend(part.committed_offset for one in request.topics for part in one.partitions)

    async with ottla.AsyncConsumer(
        cluster.bootstrap, group_id=group, auto_commit_interval_ms=10, **QUICK
    ) as consumer:
        await consumer.subscribe([topic], **seen.all)
        async for record in consumer:
            seen.order.append(record.offset)
            if record.offset == 5 and "lost" not in seen.order:
                cluster.expire_member(group, *cluster.members(group))
                await has_call(consumer, "the loss")
                cluster.answer("OffsetCommit", see, times=None)
                async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group) as other:
                    await other.assign((topic, 0))
            if record.offset == 9:
                break
    lost = seen.order.index("lost")
    assert seen.order[:lost] == ["assigned", 0, 1, 2, 3, 4, 5]
    again = seen.order[lost + 1 :]
    assert again[0] == "assigned"
    assert commits == sorted(commits), "no commit goes back"


async def test_a_permanent_refusal_is_raised_after_on_lost(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    seen = Listeners()
    async with ottla.AsyncConsumer(
        cluster.bootstrap, group_id=f"g-{unique_name}", **QUICK
    ) as consumer:
        await consumer.subscribe([topic], **seen.all)
        while not seen.order:
            await consumer.poll(timeout=0.05)
        cluster.fail("Heartbeat", 30, times=None)
        with pytest.raises(ottla.KafkaError):
            await consumer.poll(timeout=20)
        assert seen.order == ["assigned", "lost"]


async def test_a_loss_before_the_close_is_reported_and_not_revoked(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    group, seen = f"g-{unique_name}", Listeners()
    consumer = ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK)
    await consumer.subscribe([topic], **seen.all)
    while not seen.order:
        await consumer.poll(timeout=0.05)
    cluster.expire_member(group, *cluster.members(group))
    await has_call(consumer, "the loss")
    await consumer.close()
    assert seen.order == ["assigned", "lost"]


async def test_an_assignment_that_was_lost_before_the_listener_is_never_reported(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    group, seen = f"g-{unique_name}", Listeners()
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **QUICK) as consumer:
        await consumer.subscribe([topic], **seen.all)
        await has_call(consumer, "the assignment")
        cluster.expire_member(group, *cluster.members(group))
        await wait_for(lambda: not consumer.assignment(), "the partition is lost")
        while not seen.order:
            await consumer.poll(timeout=0.05)
        assert seen.order == ["assigned"]
        assert consumer.assignment() == {ottla.TopicPartition(topic, 0)}


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.parametrize("reset", ["latest", "by_duration:PT0S"])
async def test_the_next_owner_begins_where_the_first_one_began(
    cluster: Broker, topic: str, unique_name: str, auto_commit: bool, reset: str
) -> None:
    fill(cluster, topic, 10)
    group = f"g-{unique_name}"
    options: dict[str, Any] = {
        **QUICK,
        "auto_offset_reset": reset,
        "enable_auto_commit": auto_commit,
    }
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **options) as first:
        await first.subscribe([topic])
        while not first.assignment():
            await first.poll(timeout=0.05)
        assert await first.position((topic, 0)) == 10
    fill(cluster, topic, 5)
    async with ottla.AsyncConsumer(cluster.bootstrap, group_id=group, **options) as second:
        await second.subscribe([topic])
        records = await second.poll(timeout=20)
        assert [record.offset for record in records] == list(range(10, 15))
