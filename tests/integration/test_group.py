"""Groups of several members: rebalances, handlers that fail or hang, members that vanish."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import ottla

PARTITIONS = 6


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.02)


def fill(bootstrap: str, topic: str, count: int) -> None:
    with ottla.Producer(bootstrap) as producer:
        for number in range(count):
            producer.send(topic, b"%d" % number, partition=number % PARTITIONS)


class Counting(ottla.ConsumerGroupHandler):
    """Counts what it got and what it was told."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()
        self.claims: list[int] = []
        self.order: list[str] = []

    def setup(self, session: ottla.GroupSession) -> None:
        self.order.append("setup")
        self.claims = [tp.partition for tp in session.claims]

    def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
        for record in claim:
            self.seen[record.value or b""] += 1
            session.mark(record)

    def cleanup(self, session: ottla.GroupSession) -> None:
        self.order.append("cleanup")
        self.claims = []


class Member:
    """A group member in a thread of its own."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topic: str,
        handler: ottla.ConsumerGroupHandler,
        **config: Any,
    ) -> None:
        self.handler = handler
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._group = ottla.ConsumerGroup(
            bootstrap, group, auto_offset_reset="earliest", enable_auto_commit=False, **config
        )
        self._thread = threading.Thread(target=self._run, args=(topic,))
        self._thread.start()

    def _run(self, topic: str) -> None:
        try:
            self._group.consume([topic], self.handler, self._stop, timeout=5)
        except BaseException as error:
            self.error = error
        finally:
            self._group.close(5)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_two_members_share_the_partitions_and_nothing_is_lost(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"g-{unique_name}"
    fill(bootstrap, topic, 600)
    first = Counting()
    one = Member(bootstrap, group, topic, first, heartbeat_interval_ms=200, session_timeout_ms=6000)
    try:
        wait_for(lambda: sum(first.seen.values()) == 600, "the first member reads everything")
        second = Counting()
        two = Member(
            bootstrap, group, topic, second, heartbeat_interval_ms=200, session_timeout_ms=6000
        )
        try:
            wait_for(
                lambda: len(first.claims) == len(second.claims) == 3,
                "each has half of the partitions",
            )
            assert sorted(first.claims + second.claims) == list(range(PARTITIONS))
            fill(bootstrap, topic, 1200)
            wait_for(lambda: sum((first.seen + second.seen).values()) >= 1800, "both read on")
        finally:
            two.stop()
        wait_for(lambda: len(first.claims) == PARTITIONS, "the first member takes everything back")
    finally:
        one.stop()
    total = first.seen + second.seen
    assert sum(total.values()) == 1800, (
        "nothing was read twice: marks are committed before partitions move"
    )
    assert first.order.count("setup") == first.order.count("cleanup") == 3
    assert second.order == ["setup", "cleanup"]


def test_handler_that_raises_ends_the_group_with_its_error(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"g-{unique_name}"
    fill(bootstrap, topic, 60)

    class Failing(Counting):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            for record in claim:
                session.mark(record)
                if claim.partition == 2 and record.offset == 5:
                    raise RuntimeError("this one")

    handler = Failing()
    member = Member(bootstrap, group, topic, handler)
    wait_for(lambda: member.error is not None, "the group ends")
    member.stop()
    assert str(member.error) == "this one"
    assert handler.order == ["setup", "cleanup"]
    with ottla.Consumer(bootstrap, group_id=group) as consumer:
        at = consumer.committed(ottla.TopicPartition(topic, 2))[ottla.TopicPartition(topic, 2)]
    assert at is not None
    assert at.offset == 6


def test_poll_style_members_hear_of_every_rebalance(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"g-{unique_name}"
    told: list[tuple[str, int]] = []
    options: ottla.ConsumerOptions = {
        "group_id": group,
        "auto_offset_reset": "earliest",
        "heartbeat_interval_ms": 200,
    }
    with (
        ottla.Consumer(bootstrap, **options) as first,
        ottla.Consumer(bootstrap, **options) as second,
    ):
        first.subscribe(
            [topic],
            on_assigned=lambda tps: told.append(("assigned", len(tps))),
            on_revoked=lambda tps: told.append(("revoked", len(tps))),
        )
        while not told:
            first.poll(timeout=0.1)
        second.subscribe([topic])
        deadline = time.monotonic() + 30
        while len(second.assignment()) != 3 or len(told) < 3:
            assert time.monotonic() < deadline, told
            first.poll(timeout=0.05)
            second.poll(timeout=0.05)
        assert told == [("assigned", PARTITIONS), ("revoked", PARTITIONS), ("assigned", 3)]
        assert not first.assignment() & second.assignment()


def test_application_that_does_not_poll_is_put_out_and_comes_back(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str
) -> None:
    topic = make_topic(1)
    lost: list[list[ottla.TopicPartition]] = []
    with ottla.Consumer(
        bootstrap,
        group_id=f"g-{unique_name}",
        auto_offset_reset="earliest",
        max_poll_interval_ms=1000,
        session_timeout_ms=6000,
        heartbeat_interval_ms=200,
    ) as consumer:
        consumer.subscribe([topic], on_lost=lost.append)
        while not consumer.assignment():
            consumer.poll(timeout=0.1)
        wait_for(lambda: not consumer.assignment(), "the member is put out", 10)
        deadline = time.monotonic() + 20
        while not consumer.assignment():
            assert time.monotonic() < deadline
            consumer.poll(timeout=0.1)
        assert lost == [[ottla.TopicPartition(topic, 0)]]


def test_subscribing_without_a_group_is_an_error(bootstrap: str) -> None:
    with ottla.Consumer(bootstrap) as consumer, pytest.raises(ottla.ConfigError, match="group_id"):
        consumer.subscribe(["t"])
