"""Members that the coordinator forgets: what they had in hand counts no more, and they come back."""

from __future__ import annotations

from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.fixtures.logged import Logged
from tests.integration.test_group import Counting, Member, wait_for

QUICK: dict[str, Any] = {"heartbeat_interval_ms": 50, "session_timeout_ms": 6000}

pytestmark = pytest.mark.embedded_only


def fill(broker: Broker, topic: str, count: int) -> None:
    for number in range(count):
        broker.append(topic, b"%d" % number, partition=0)


@pytest.mark.parametrize("auto_commit", [True, False])
def test_what_was_in_hand_when_the_member_was_lost_is_not_committed(
    cluster: Broker, topic: str, unique_name: str, auto_commit: bool
) -> None:
    group = f"g-{unique_name}"
    fill(cluster, topic, 10)
    told: list[str] = []
    with ottla.Consumer(
        cluster.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=auto_commit,
        auto_commit_interval_ms=20,
        **QUICK,
    ) as consumer:
        consumer.subscribe(
            [topic],
            on_assigned=lambda _: told.append("assigned"),
            on_revoked=lambda _: told.append("revoked"),
            on_lost=lambda _: told.append("lost"),
        )
        assert consumer.poll(max_records=5, timeout=20)
        commits: list[int] = []

        def see(request: Any, _call: Any) -> None:
            commits.extend(
                part.committed_offset for topic in request.topics for part in topic.partitions
            )

        cluster.answer("OffsetCommit", see, times=None)
        cluster.expire_member(group, consumer._client.member_id)
        wait_for(lambda: cluster.count("SyncGroup") == 2, "the member is back")
        assert consumer.assignment() == set(), "nothing is assigned before the loss was heard of"
        with pytest.raises(ottla.CommitFailed):
            consumer.commit({ottla.TopicPartition(topic, 0): 5})
        records = consumer.poll(max_records=5, timeout=20)
        assert records
        assert records[0].offset == 0, "it was not committed, so it comes again"
        assert told == ["assigned", "lost", "assigned"]
        assert set(commits) <= {0}, "only where it stands again"


def test_a_loss_is_one_line(cluster: Broker, topic: str, unique_name: str, logged: Logged) -> None:
    group = f"g-{unique_name}"
    with ottla.Consumer(cluster.bootstrap, group_id=group, **QUICK) as consumer:
        consumer.subscribe([topic])
        consumer.poll(timeout=0)
        wait_for(lambda: bool(consumer.assignment()), "the partition is assigned")
        cluster.expire_member(group, consumer._client.member_id)
        wait_for(lambda: cluster.count("SyncGroup") == 2, "the member is back")
        consumer.poll(timeout=0.5)
    assert logged.events() == ["partition.lost"]
    assert logged("partition.lost", group=group)


def test_a_refusal_for_good_is_one_line(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    group = f"g-{unique_name}"
    with ottla.Consumer(cluster.bootstrap, group_id=group, **QUICK) as consumer:
        consumer.subscribe([topic])
        consumer.poll(timeout=0)
        wait_for(lambda: bool(consumer.assignment()), "the partition is assigned")
        cluster.fail("Heartbeat", 30, times=None)
        with pytest.raises(ottla.KafkaError):
            consumer.poll(timeout=20)
    assert logged.events() == ["group.failed"]
    assert logged("group.failed", group=group, error="GroupAuthorizationFailed", count=1)


def test_a_member_without_partitions_that_was_lost_takes_some_later(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    group = f"g-{unique_name}"
    fill(cluster, topic, 10)

    class Named(Counting):
        member_id = ""

        def setup(self, session: ottla.GroupSession) -> None:
            super().setup(session)
            self.member_id = session.member_id

    handlers = [Named(), Named()]
    members = [Member(cluster.bootstrap, group, topic, handler, **QUICK) for handler in handlers]
    try:
        wait_for(lambda: all(handler.member_id for handler in handlers), "both are members")
        wait_for(lambda: any(handler.claims for handler in handlers), "one has the partition")
        wait_for(lambda: cluster.count("Heartbeat") > 4, "the group is stable")
        idle = next(number for number, handler in enumerate(handlers) if not handler.claims)
        forgotten = handlers[idle].member_id
        cluster.expire_member(group, forgotten)
        wait_for(lambda: handlers[idle].member_id != forgotten, "it comes back")
        members[1 - idle].stop()
        wait_for(lambda: bool(handlers[idle].claims), "it takes over the partition")
    finally:
        for member in members:
            member.stop()
    assert [member.error for member in members] == [None, None]
    assert logged.events() == [], "a member without partitions has nothing to lose"


def test_a_sent_commit_that_cannot_be_made_is_raised_by_the_end(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    fill(cluster, topic, 3)
    group = ottla.ConsumerGroup(
        cluster.bootstrap,
        f"g-{unique_name}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **QUICK,
    )

    class Handler(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            for record in claim:
                session.mark(record)
                if record.offset == 2:
                    cluster.fail("OffsetCommit", 29, times=None)
                    group.stop()

    with group, pytest.raises(ottla.CommitFailed):
        group.consume([topic], Handler(), timeout=5)
