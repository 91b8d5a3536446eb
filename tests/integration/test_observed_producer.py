"""Observation of a producer while one of two brokers is silent: statistics, health, events, and the parts of the buffer."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import ottla
from ottla.engine import dispatcher
from ottla.protocol.error_codes import ErrorCode
from ottla.testing import Broker, advance_time

SOON_S = 10.0


def eventually(check: Callable[[], object], what: str) -> None:
    """Wait for the work of another thread."""
    until = time.monotonic() + SOON_S
    while not check():
        assert time.monotonic() < until, f"not within {SOON_S} s: {what}"
        time.sleep(0.01)


def fill(send: Callable[..., object]) -> str:
    """Send to partition 1 until the buffer is full, and return the text of the error."""
    while True:
        try:
            send("t", b"x" * 1000, partition=1)
        except ottla.BufferFull as full:
            return full.message


@pytest.fixture
def two_nodes() -> Iterator[Broker]:
    """Node 1 leads t-0, node 2 leads t-1."""
    with Broker(nodes=2) as broker:
        broker.create_topic("t", partitions=2)
        broker.move_leader("t", 0, 1)
        broker.move_leader("t", 1, 2)
        yield broker


def test_statistics_fit_together_and_go_to_json(two_nodes: Broker) -> None:
    with ottla.Producer(two_nodes.bootstrap, compression="lz4", linger_ms=5) as producer:
        for number in range(2000):
            producer.send("t", b"the same again" * 10, partition=number % 2)
        producer.flush(SOON_S)
        totals = producer.statistics()
    assert totals.accepted == totals.delivered == 2000
    assert (totals.buffered_records, totals.buffered_bytes, totals.waiting_senders) == (0, 0, 0)
    assert totals.buffer_capacity_bytes == 32 * 1024 * 1024
    assert [broker.node_id for broker in totals.brokers] == [1, 2]
    assert (
        sum(broker.requests for broker in totals.brokers) == totals.requests == totals.latency.count
    )
    assert (
        sum(broker.batched_records for broker in totals.brokers) == totals.batched_records == 2000
    )
    assert totals.average_batch_records == 2000 / totals.batches
    assert totals.average_batch_bytes == totals.sent_bytes / totals.batches
    assert 0 < totals.compression_ratio < 0.5
    assert (
        0 < totals.latency.p50_ms <= totals.latency.p99_ms <= totals.latency.max_ms < SOON_S * 1000
    )
    (topic,) = totals.topics
    assert (topic.topic, topic.accepted, topic.delivered) == ("t", 2000, 2000)
    assert json.loads(json.dumps(totals.as_dict()))["topics"][0]["delivered"] == 2000


def test_a_silent_broker_is_named_by_health_and_by_the_errors(two_nodes: Broker) -> None:
    producer = ottla.Producer(
        two_nodes.bootstrap, linger_ms=0, buffer_memory=200_000, batch_size=16_384, max_block_ms=300
    )
    with producer:
        for partition in (0, 1):
            producer.send_and_wait("t", b"v", partition=partition)
        assert producer.health()
        assert producer.health().state == "ok"
        two_nodes.delay("Produce", 30.0, times=None, node=2)
        text = fill(producer.send)
        advance_time(2)
        eventually(
            lambda: any(one.part == "t-1" for one in producer.health().troubles),
            "the silence is noticed",
        )
        health = producer.health()
        assert health.state == "degraded"
        (trouble,) = [one for one in health.troubles if one.part == "t-1"]
        assert re.search(r"node 2 at \S+ has not answered for \d+\.\d s", trouble.reason)
        assert "delivery_timeout_ms" in trouble.next
        holder = health.buffer.holders[0]
        assert (holder.topic, holder.partition, holder.node_id) == ("t", 1, 2)
        assert holder.bytes > 0.9 * 200_000
        assert text.startswith("buffer_memory (200000 bytes) is full; ")
        assert "queued for t-1 (" in text
        assert "node 2 at " in text
        with pytest.raises(ottla.BufferFull, match=r"node 2 at \S+ has not answered for"):
            producer.send("t", b"x" * 1000, partition=0)
        producer.close(timeout=0)


def test_a_topic_that_exists_late_is_not_reported_as_a_trouble() -> None:
    with (
        Broker(auto_create_topics=False) as broker,
        ottla.Producer(broker.bootstrap, linger_ms=0) as producer,
    ):
        delivery = producer.send("late", b"v")

        def unknown() -> bool:
            (trouble,) = producer.health().troubles
            return trouble.part == "late" and trouble.reason != "the topic's metadata has not come"

        eventually(unknown, "the broker does not know the topic")
        broker.create_topic("late", partitions=1)
        delivery.result(SOON_S)
        broker.delay("Produce", 0.5, times=1)
        producer.send("late", b"v")
        assert producer.health(), producer.health().troubles


def test_a_message_that_expires_names_the_silent_broker(two_nodes: Broker) -> None:
    two_nodes.delay("Produce", 30.0, times=None, node=2)
    with ottla.Producer(
        two_nodes.bootstrap, linger_ms=0, delivery_timeout_ms=1500, request_timeout_ms=1400
    ) as producer:
        delivery = producer.send("t", b"v", partition=1)
        advance_time(SOON_S, delivery.done)
        with pytest.raises(ottla.DeliveryTimeout, match=r"node 2"):
            delivery.result(SOON_S)


def test_a_silent_broker_stops_the_others_only_once_the_budget_is_used_up(
    two_nodes: Broker,
) -> None:
    with ottla.Producer(
        two_nodes.bootstrap, linger_ms=0, buffer_memory=1_000_000, max_block_ms=10_000
    ) as producer:
        for partition in (0, 1):
            producer.send_and_wait("t", b"v", partition=partition)
        two_nodes.delay("Produce", 30.0, times=None, node=2)
        for _ in range(200):
            producer.send("t", b"x" * 1000, partition=1)
        started = time.monotonic()
        for _ in range(50):
            producer.send_and_wait("t", b"x" * 1000, partition=0)
        assert time.monotonic() - started < 3, (
            "a fifth of the budget waits, and other partitions do not"
        )
        fill(producer.send_nowait)
        # Now the budget is used up, and every further message waits, for each leader: ADR 0016.
        with pytest.raises(ottla.BufferFull):
            producer.send_nowait("t", b"x" * 1000, partition=0)
        waiting = threading.Thread(target=producer.send, args=("t", b"y" * 1000, None, None, 0))
        waiting.start()
        eventually(lambda: producer.statistics().waiting_senders == 1, "it waits in the queue")
        two_nodes.move_leader("t", 1, 1)
        two_nodes.kill(2)
        waiting.join(SOON_S)
        assert not waiting.is_alive(), "space is freed once the partition has another leader"
        assert producer.close(timeout=SOON_S).unknown == 0


def test_listeners_receive_batches_connections_and_holds(two_nodes: Broker) -> None:
    received: list[ottla.Event] = []
    threads: set[str] = set()

    def listen(event: ottla.Event) -> None:
        received.append(event)
        threads.add(threading.current_thread().name)

    def named(name: str) -> list[dict[str, object]]:
        return [event.fields for event in received if event.name == name]

    with ottla.Producer(two_nodes.bootstrap, linger_ms=0) as producer:
        producer.listen(listen)
        producer.send_and_wait("t", b"v", partition=1)
        two_nodes.move_leader("t", 1, 1)
        producer.send_and_wait("t", b"v", partition=1)
        eventually(lambda: len(named("batch.acked")) == 2, "both batches were acknowledged")
        producer.unlisten(listen)
        assert dispatcher.settle(SOON_S)
        count = len(received)
        producer.send_and_wait("t", b"v", partition=1)
        assert dispatcher.settle(SOON_S)
        assert len(received) == count
    acked = named("batch.acked")
    assert [fields["base_offset"] for fields in acked] == [0, 1]
    assert acked[1]["attempts"] == 2
    assert named("partition.held")[0]["partition"] == 1
    assert named("batch.retried")[0]["reason"] == "NOT_LEADER_OR_FOLLOWER (6)"
    assert named("partition.moved")[0]["node"] == 1
    assert named("partition.routed")[-1]["node"] == 1
    assert "produce" in [fields["role"] for fields in named("connection.opened")]
    assert threads == {"ottla-dispatcher"}
    from ottla.observe.event_table import EVENTS

    for event in received:
        assert event.fields.keys() == EVENTS[event.name].fields.keys(), event
        json.dumps(event.fields)


def test_messages_that_fail_after_a_failure_are_reported_as_such(two_nodes: Broker) -> None:
    received: list[ottla.Event] = []
    with ottla.Producer(
        two_nodes.bootstrap, linger_ms=0, batch_size=1, gapless=True, retry_backoff_ms=5
    ) as producer:
        producer.send_and_wait("t", b"before", partition=0)
        producer.listen(received.append)
        two_nodes.delay("Produce", 0.1)
        two_nodes.fail("Produce", ErrorCode.POLICY_VIOLATION)
        deliveries = [producer.send("t", b"%d" % number, partition=0) for number in range(4)]
        errors = [type(delivery.exception(SOON_S)).__name__ for delivery in deliveries]
        producer.send_and_wait("t", b"after", partition=0)
        assert dispatcher.settle(SOON_S)
    failed = [event.fields for event in received if event.name == "batch.failed"]
    reported = [str(fields["error"]) for fields in failed for _ in range(fields["records"])]
    assert errors == ["NoneType", *reported]
    assert reported == ["PolicyViolation", "EarlierMessageFailed", "EarlierMessageFailed"]
    assert "batch.retried" not in [event.name for event in received], (
        "no later batch was sent again"
    )


def test_the_buffer_emits_when_it_is_full_and_when_no_sender_waits_any_more(
    two_nodes: Broker,
) -> None:
    received: list[str] = []
    two_nodes.delay("Produce", 0.5, times=1)
    with ottla.Producer(two_nodes.bootstrap, linger_ms=0, buffer_memory=100_000) as producer:
        producer.listen(lambda event: received.append(event.name))
        for _ in range(150):
            producer.send("t", b"x" * 1000, partition=0)
        eventually(lambda: "buffer.free" in received, "no sender waits")
    assert received.index("buffer.full") < received.index("buffer.free")
