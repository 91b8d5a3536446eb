"""Groups of several members: rebalances, handlers that fail or hang, members that vanish."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import ottla
from tests.integration._async.members import PARTITIONS, Counting, Member, fill, wait_for


async def test_two_members_share_the_partitions_and_nothing_is_lost(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"g-{unique_name}"
    await fill(bootstrap, topic, 600)
    first = Counting()
    one = Member(bootstrap, group, topic, first, heartbeat_interval_ms=200, session_timeout_ms=6000)
    try:
        await wait_for(lambda: sum(first.seen.values()) == 600, "the first member reads everything")
        second = Counting()
        two = Member(
            bootstrap, group, topic, second, heartbeat_interval_ms=200, session_timeout_ms=6000
        )
        try:
            await wait_for(
                lambda: len(first.claims) == len(second.claims) == 3,
                "each has half of the partitions",
            )
            assert sorted(first.claims + second.claims) == list(range(PARTITIONS))
            await fill(bootstrap, topic, 1200)
            await wait_for(lambda: sum((first.seen + second.seen).values()) >= 1800, "both read on")
        finally:
            await two.stop()
        await wait_for(
            lambda: len(first.claims) == PARTITIONS, "the first member has every partition again"
        )
    finally:
        await one.stop()
    total = first.seen + second.seen
    assert sum(total.values()) == 1800, (
        "nothing was read twice: marks are committed before partitions move"
    )
    assert first.order.count("setup") == first.order.count("cleanup") == 3
    assert second.order == ["setup", "cleanup"]


async def test_a_handler_that_raises_ends_the_group_with_its_error(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"g-{unique_name}"
    await fill(bootstrap, topic, 60)

    class Failing(Counting):
        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                session.mark(record)
                if claim.partition == 2 and record.offset == 5:
                    raise RuntimeError("this one")

    handler = Failing()
    member = Member(bootstrap, group, topic, handler)
    await wait_for(lambda: member.error is not None, "the group ends")
    await member.stop()
    assert str(member.error) == "this one"
    assert handler.order == ["setup", "cleanup"]
    place = ottla.TopicPartition(topic, 2)
    async with ottla.AsyncConsumer(bootstrap, group_id=group) as consumer:
        at = (await consumer.committed(place))[place]
    assert at is not None
    assert at.offset == 6


async def test_listeners_of_polling_members_see_every_rebalance(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"g-{unique_name}"
    calls: list[tuple[str, int]] = []
    options: ottla.ConsumerOptions = {
        "group_id": group,
        "auto_offset_reset": "earliest",
        "heartbeat_interval_ms": 200,
    }
    async with (
        ottla.AsyncConsumer(bootstrap, **options) as first,
        ottla.AsyncConsumer(bootstrap, **options) as second,
    ):
        await first.subscribe(
            [topic],
            on_assigned=lambda tps: calls.append(("assigned", len(tps))),
            on_revoked=lambda tps: calls.append(("revoked", len(tps))),
        )
        while not calls:
            await first.poll(timeout=0.1)
        await second.subscribe([topic])
        deadline = time.monotonic() + 30
        while len(second.assignment()) != 3 or len(calls) < 3:
            assert time.monotonic() < deadline, calls
            await first.poll(timeout=0.05)
            await second.poll(timeout=0.05)
        assert calls == [("assigned", PARTITIONS), ("revoked", PARTITIONS), ("assigned", 3)]
        assert not first.assignment() & second.assignment()


async def test_a_member_that_does_not_poll_is_removed_and_joins_again(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic = make_topic(1)
    lost: list[list[ottla.TopicPartition]] = []
    async with ottla.AsyncConsumer(
        bootstrap,
        group_id=f"g-{unique_name}",
        auto_offset_reset="earliest",
        max_poll_interval_ms=1000,
        session_timeout_ms=6000,
        heartbeat_interval_ms=200,
    ) as consumer:
        await consumer.subscribe([topic], on_lost=lost.append)
        while not consumer.assignment():
            await consumer.poll(timeout=0.1)
        await consumer.poll(timeout=0)  # serves the assignment
        await wait_for(lambda: not consumer.assignment(), "the member is removed", 10)
        deadline = time.monotonic() + 20
        while not consumer.assignment():
            assert time.monotonic() < deadline
            await consumer.poll(timeout=0.1)
        assert lost == [[ottla.TopicPartition(topic, 0)]]


async def test_subscribing_without_a_group_is_an_error(bootstrap: str) -> None:
    consumer = ottla.AsyncConsumer(bootstrap)
    with pytest.raises(ottla.ConfigError, match="group_id"):
        await consumer.subscribe(["t"])
    await consumer.close()
