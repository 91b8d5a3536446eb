"""What a handler may rely on in its claims, and members that come and go while records flow."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ottla
from tests.fixtures.logged import Logged
from tests.integration.test_group import PARTITIONS, Counting, Member, fill, wait_for

QUICK: dict[str, Any] = {"heartbeat_interval_ms": 100, "session_timeout_ms": 6000}


@pytest.fixture
def group(bootstrap: str, unique_name: str) -> Iterator[ottla.ConsumerGroup]:
    group = ottla.ConsumerGroup(
        bootstrap,
        f"g-{unique_name}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **QUICK,
    )
    yield group
    group.close(5)


def test_members_come_and_go_and_every_record_is_handled_once(
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

    def more(count: int) -> None:
        nonlocal total
        fill(bootstrap, topic, count)
        total += count

    try:
        join()
        join()
        more(1_200)
        for _ in range(2):
            guest = join()
            more(1_200)
            wait_for(lambda: bool(handlers[-1].claims), "the guest has partitions")
            more(1_200)
            guest.stop()
            more(1_200)
        wait_for(lambda: sum(seen().values()) >= total, "everything is read")
    finally:
        for member in members:
            member.stop()
    assert [member.error for member in members] == [None] * len(members)
    assert sum(seen().values()) == total
    with ottla.Consumer(bootstrap, group_id=group) as reader:
        places = [ottla.TopicPartition(topic, number) for number in range(PARTITIONS)]
        committed = reader.committed(*places)
        assert {tp: at.offset for tp, at in committed.items() if at} == reader.end_offsets(*places)


def test_a_loop_that_was_left_goes_on_where_it_was(
    bootstrap: str, topic: str, group: ottla.ConsumerGroup
) -> None:
    with ottla.Producer(bootstrap) as producer:
        for number in range(20):
            producer.send(topic, b"%d" % number, partition=0)
    offsets: list[int] = []

    class Handler(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            for record in claim:
                offsets.append(record.offset)
                if record.offset == 4:
                    break
            for record in claim:
                offsets.append(record.offset)
                if record.offset == 12 and offsets.count(12) == 1:
                    session.reset_offset((claim.topic, claim.partition), 10)
                if record.offset == 19:
                    group.stop()

    group.consume([topic], Handler(), timeout=5)
    assert offsets == [*range(13), *range(10, 20)]


def test_a_claim_ends_with_the_record_in_hand(
    bootstrap: str, topic: str, group: ottla.ConsumerGroup
) -> None:
    with ottla.Producer(bootstrap) as producer:
        for number in range(300):
            producer.send(topic, b"%d" % number, partition=0)
    handled: list[int] = []

    class Handler(ottla.ConsumerGroupHandler):
        def setup(self, session: ottla.GroupSession) -> None:
            self.session = session

        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            for record in claim:
                handled.append(record.offset)
                session.mark(record)
                if record.offset == 2:
                    group.stop()
                    wait_for(lambda: session.stopping, "the session ends")

    handler = Handler()
    group.consume([topic], handler, timeout=5)
    assert handled == [0, 1, 2]
    with pytest.raises(ottla.errors.Error, match="not claimed"):
        handler.session.mark_offset((topic, 0), 300)
    with pytest.raises(ottla.errors.Error, match="has ended"):
        handler.session.commit()


def test_the_group_can_be_used_again_after_it_ended(
    bootstrap: str, topic: str, group: ottla.ConsumerGroup
) -> None:
    class Once(ottla.ConsumerGroupHandler):
        def __init__(self) -> None:
            self.values: list[bytes | None] = []

        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            for record in claim:
                self.values.append(record.value)
                session.mark(record)
                group.stop()

    for number in range(3):
        with ottla.Producer(bootstrap) as producer:
            producer.send_and_wait(topic, b"%d" % number, partition=0)
        handler = Once()
        group.consume([topic], handler, timeout=5)
        assert handler.values == [b"%d" % number]


def test_a_stuck_claim_does_not_hold_the_end_beyond_its_time(
    bootstrap: str, topic: str, group: ottla.ConsumerGroup
) -> None:
    fill_one(bootstrap, topic)
    freed, begun, stop = threading.Event(), threading.Event(), threading.Event()

    class Stuck(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            begun.set()
            freed.wait(60)

    def stop_when_begun() -> None:
        begun.wait(30)
        stop.set()

    threading.Thread(target=stop_when_begun).start()
    try:
        group.consume([topic], Stuck(), stop, timeout=1.0)
        ended = time.monotonic()
        group.close(2)
        assert time.monotonic() - ended < 5
    finally:
        freed.set()


def test_failures_of_a_claim_and_of_cleanup_are_both_told(
    bootstrap: str,
    topic: str,
    group: ottla.ConsumerGroup,
    logged: Logged,
) -> None:
    fill_one(bootstrap, topic)

    class Failing(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            raise LookupError("of the claim")

        def cleanup(self, session: ottla.GroupSession) -> None:
            raise ZeroDivisionError("of cleanup")

    with pytest.raises(LookupError, match="of the claim"):
        group.consume([topic], Failing(), timeout=5)
    assert logged("session.cleanup_failed", error="ZeroDivisionError")


def test_an_exit_in_a_claim_is_raised(
    bootstrap: str, topic: str, group: ottla.ConsumerGroup
) -> None:
    fill_one(bootstrap, topic)

    class Exiting(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        group.consume([topic], Exiting(), timeout=5)


def test_one_thread_polls_at_a_time(bootstrap: str, topic: str) -> None:
    with ottla.Consumer(bootstrap) as consumer:
        consumer.assign([ottla.TopicPartition(topic, 0)])
        polling = threading.Thread(target=consumer.poll)
        polling.start()
        wait_for(lambda: consumer._polling._turn.locked(), "the other thread polls")
        with pytest.raises(ottla.errors.Error, match="polls this consumer"):
            consumer.poll(timeout=0)
        consumer.wakeup()
        polling.join(30)
        assert not polling.is_alive()


def fill_one(bootstrap: str, topic: str) -> None:
    with ottla.Producer(bootstrap) as producer:
        producer.send_and_wait(topic, b"one", partition=0)
