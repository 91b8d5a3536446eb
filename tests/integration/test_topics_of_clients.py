"""The topics in a client's metadata requests: those in use; only a name that the application has just given may create one."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ottla
from ottla import kafka_errors
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.metadata import MetadataRequest
from ottla.testing import Broker, advance_time

pytestmark = pytest.mark.embedded_only

WAIT_S = 10.0
AGE_MS = 50
FAST: dict[str, Any] = {"metadata_max_age_ms": AGE_MS, "retry_backoff_ms": 10}


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


def refreshed(broker: Broker, times: int = 3) -> None:
    """Wait for this number of further Metadata requests."""
    broker.wait_for("Metadata", broker.count("Metadata") + times)


def exists(broker: Broker, topic: str) -> bool:
    try:
        broker.leader(topic)
    except KeyError:
        return False
    return True


def asked_for(broker: Broker, age_s: float = AGE_MS / 1000) -> set[str] | None:
    """The topics of a Metadata request that is sent because of the metadata's age; None: all."""
    seen: list[MetadataRequest] = []
    broker.answer("Metadata", lambda request, _call: seen.append(request), times=None)
    advance_time(10 * age_s, until=lambda: len(seen) > 2)
    broker.clear_rules()
    topics = seen[-1].topics
    return None if topics is None else {topic.name or "" for topic in topics}


# ---- a topic that was deleted ----------------------------------------------------------------------------------------


def producer(broker: Broker) -> ottla.Producer:
    made = ottla.Producer(broker.bootstrap, linger_ms=0, **FAST)
    made.send_and_wait("old", b"v")
    made.send_and_wait("new", b"v")
    return made


def subscribed(broker: Broker) -> ottla.Consumer:
    made = ottla.Consumer(broker.bootstrap, group_id="g", **FAST)
    made.subscribe(["old"])
    while not made.assignment():
        made.poll(timeout=0.1)
    made.subscribe(["new"])
    while {tp.topic for tp in made.assignment()} != {"new"}:
        made.poll(timeout=0.1)
    return made


def still_subscribed(broker: Broker) -> ottla.Consumer:
    made = ottla.Consumer(broker.bootstrap, group_id="g", enable_auto_commit=False, **FAST)
    made.subscribe(["old", "new"])
    while len(made.assignment()) < 2:
        made.poll(timeout=0.1)
    return made


def assigned(broker: Broker) -> ottla.Consumer:
    made = ottla.Consumer(broker.bootstrap, **FAST)
    made.assign([("old", 0)])
    made.position(("old", 0))
    made.assign([("new", 0)])
    made.position(("new", 0))
    return made


def asking(broker: Broker) -> ottla.Consumer:
    made = ottla.Consumer(broker.bootstrap, **FAST)
    made.end_offsets(("old", 0))
    made.partitions_for("old")
    made.assign([("new", 0)])
    made.position(("new", 0))
    return made


@pytest.mark.parametrize("make", [producer, subscribed, still_subscribed, assigned, asking])
def test_a_topic_that_was_deleted_is_not_created_again(
    broker: Broker, make: Callable[[Broker], ottla.Producer | ottla.Consumer]
) -> None:
    broker.create_topic("old")
    broker.create_topic("new")
    with make(broker):
        broker.delete_topic("old")
        refreshed(broker)
        assert not exists(broker, "old")


@pytest.mark.parametrize("make", [subscribed, assigned, asking])
def test_a_consumer_asks_for_no_topic_that_it_has_left(
    broker: Broker, make: Callable[[Broker], ottla.Consumer]
) -> None:
    broker.create_topic("old")
    broker.create_topic("new")
    with make(broker):
        assert asked_for(broker) == {"new"}


def test_a_consumer_that_unsubscribes_asks_for_no_topic(broker: Broker) -> None:
    broker.create_topic("old")
    broker.create_topic("new")
    with still_subscribed(broker) as consumer:
        consumer.unsubscribe()
        assert asked_for(broker) == set()


def test_a_pattern_ends_with_its_subscription(broker: Broker) -> None:
    broker.create_topic("old")
    with ottla.Consumer(broker.bootstrap, group_id="g", **FAST) as consumer:
        consumer.subscribe(pattern="o.*")
        while not consumer.assignment():
            consumer.poll(timeout=0.1)
        consumer.unsubscribe()
        assert asked_for(broker) == set()


# ---- a topic that does not exist -------------------------------------------------------------------------------------


def test_a_topic_that_is_sent_to_assigned_or_subscribed_is_created(broker: Broker) -> None:
    with ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("sent", b"v")
    with ottla.Consumer(broker.bootstrap) as consumer:
        consumer.assign([("assigned", 0)])
        consumer.position(("assigned", 0))
    with ottla.Consumer(broker.bootstrap, group_id="g") as consumer:
        consumer.subscribe(["subscribed"])
        while not consumer.assignment():
            consumer.poll(timeout=0.1)
    assert all(exists(broker, topic) for topic in ("sent", "assigned", "subscribed"))


def test_a_consumer_without_leave_creates_none(broker: Broker) -> None:
    with ottla.Consumer(broker.bootstrap, allow_auto_create_topics=False, **FAST) as consumer:
        consumer.assign([("assigned", 0)])
        refreshed(broker)
    assert not exists(broker, "assigned")


@pytest.mark.parametrize(
    ("place", "missing"),
    [(("typo", 0), ("typo", None)), (("there", 7), ("there", 7))],
    ids=["topic", "partition"],
)
def test_offsets_of_a_missing_topic_are_refused_at_once(
    broker: Broker, place: tuple[str, int], missing: tuple[str, int | None]
) -> None:
    broker.create_topic("there")
    with ottla.Consumer(broker.bootstrap) as consumer:
        consumer.end_offsets(("there", 0))
        begun = time.monotonic()
        for ask in (consumer.end_offsets, consumer.beginning_offsets):
            with pytest.raises(kafka_errors.UnknownTopicOrPartition) as caught:
                ask(place, timeout=WAIT_S)
            assert (caught.value.topic, caught.value.partition) == missing
        assert time.monotonic() - begun < WAIT_S / 2
    assert not exists(broker, "typo")


def test_offsets_of_partitions_that_were_just_added_are_found(broker: Broker) -> None:
    broker.create_topic("t")
    with ottla.Consumer(broker.bootstrap) as consumer:
        consumer.assign([("t", 0)])
        consumer.position(("t", 0))
        broker.add_partitions("t", 4)
        assert consumer.end_offsets(("t", 3), timeout=WAIT_S) == {("t", 3): 0}


# ---- a server that is silent -----------------------------------------------------------------------------------------


def test_offsets_of_a_silent_server_are_one_error_that_names_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ottla")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with ottla.Consumer(address, request_timeout_ms=1_000) as consumer:
            with pytest.raises(ottla.Timeout) as caught:
                consumer.end_offsets(("t", 0), timeout=1.5)
            assert str(caught.value).startswith(
                "Consumer.end_offsets: no offset of t-0 within 1.5 s"
            )
            assert address in str(caught.value)
            assert "outcome" not in str(caught.value)
    assert not [r for r in caplog.records if "end_offsets" in r.getMessage()]


def test_an_abandoned_query_ends_without_a_line(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with ottla.Consumer(broker.bootstrap) as consumer:
        consumer.partitions_for("there")
        broker.delay("Metadata", 3600)
        with pytest.raises(ottla.Timeout):
            consumer.partitions_for("other", timeout=0.05)
        advance_time(60)
    assert not caplog.records


# ---- producers -------------------------------------------------------------------------------------------------------

IDLE_S = 300
AGE_S = 30.0


def test_a_topic_without_messages_leaves_the_metadata_after_five_minutes(broker: Broker) -> None:
    with ottla.Producer(
        broker.bootstrap, linger_ms=0, metadata_max_age_ms=AGE_S * 1000
    ) as producer:
        producer.send_and_wait("idle", b"a", partition=0)
        producer.partitions_for("asked")
        for _ in range(4):
            advance_time(IDLE_S / 4)
            producer.send_and_wait("used", b"v", partition=0)
        advance_time(IDLE_S / 4)
        assert asked_for(broker, AGE_S) == {"used"}
        assert producer.send_and_wait("idle", b"b", partition=0).offset == 1
        assert asked_for(broker, AGE_S) == {"idle", "used"}


def test_a_missing_topic_is_not_requested_for_ever() -> None:
    with (
        Broker(auto_create_topics=False) as broker,
        ottla.Producer(broker.bootstrap, metadata_max_age_ms=AGE_S * 1000) as producer,
    ):
        delivery = producer.send("ordres", b"v")
        advance_time(130, until=delivery.done)
        assert isinstance(delivery.exception(0), ottla.DeliveryTimeout)
        advance_time(IDLE_S + 60)
        assert asked_for(broker, AGE_S) == set()


def test_a_waiting_message_keeps_its_topic_in_the_metadata() -> None:
    with (
        Broker(auto_create_topics=False) as broker,
        ottla.Producer(broker.bootstrap, delivery_timeout_ms=3_600_000) as producer,
    ):
        delivery = producer.send("later", b"v")
        advance_time(IDLE_S + 60)
        broker.create_topic("later")
        assert delivery.result(WAIT_S).offset == 0


def test_partitions_that_were_just_added_are_sent_to(broker: Broker) -> None:
    broker.create_topic("t", partitions=2)
    with ottla.Producer(broker.bootstrap, linger_ms=0) as producer:
        producer.send_and_wait("t", b"a", partition=0)
        broker.add_partitions("t", 4)
        deliveries = [producer.send("t", b"%d" % number, partition=3) for number in range(3)]
        assert [delivery.result(WAIT_S).offset for delivery in deliveries] == [0, 1, 2]
        assert [record.value for record in broker.records("t", 3)] == [b"0", b"1", b"2"]


def test_a_partition_that_brokers_learn_late_is_sent_to(broker: Broker) -> None:
    broker.create_topic("t", partitions=2)
    with ottla.Producer(broker.bootstrap, linger_ms=0) as producer:
        producer.send_and_wait("t", b"a", partition=0)
        delivery = producer.send("t", b"b", partition=2)
        broker.wait_for("Metadata", broker.count("Metadata") + 1)
        broker.add_partitions("t", 3)
        assert delivery.result(WAIT_S).offset == 0


def test_a_partition_that_does_not_exist_is_refused_by_a_younger_answer(broker: Broker) -> None:
    broker.create_topic("t", partitions=2)
    with ottla.Producer(broker.bootstrap, linger_ms=0) as producer:
        producer.send_and_wait("t", b"a", partition=0)
        delivery = producer.send("t", b"b", partition=7)
        advance_time(0.5)
        assert not delivery.done(), "it may have been added just now"
        advance_time(5, until=delivery.done)
        error = delivery.exception(0)
        assert isinstance(error, kafka_errors.UnknownTopicOrPartition)
        assert (error.topic, error.partition, error.outcome) == ("t", 7, "not_written")
        assert "partition 7 does not exist: the topic has 2" in str(error)
        assert producer.send_and_wait("t", b"c", partition=1).offset == 0


# ---- a client that is refused ----------------------------------------------------------------------------------------


def test_a_refused_producer_fails_its_messages_and_asks_no_more(broker: Broker) -> None:
    broker.fail("Metadata", ErrorCode.CLUSTER_AUTHORIZATION_FAILED, times=None)
    with ottla.Producer(broker.bootstrap, retry_backoff_ms=10) as producer:
        error = producer.send("t", b"a").exception(WAIT_S)
        assert isinstance(error, kafka_errors.ClusterAuthorizationFailed)
        assert error.outcome == "not_written"
        assert error.permanent
        asked = broker.count("Metadata")
        advance_time(120)
        assert broker.count("Metadata") == asked
        broker.clear_rules()
        assert producer.send_and_wait("t", b"b").offset == 0


def test_a_refused_consumer_raises_and_asks_no_more(broker: Broker) -> None:
    broker.create_topic("t")
    broker.fail("Metadata", ErrorCode.CLUSTER_AUTHORIZATION_FAILED, times=None)
    with ottla.Consumer(
        broker.bootstrap, retry_backoff_ms=10, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([("t", 0)])
        with pytest.raises(kafka_errors.ClusterAuthorizationFailed):
            consumer.poll(timeout=WAIT_S)
        asked = broker.count("Metadata")
        advance_time(120)
        assert broker.count("Metadata") == asked
        broker.clear_rules()
        broker.append("t", b"v")
        consumer.assign([("t", 0)])
        assert [record.value for record in consumer.poll(timeout=WAIT_S)] == [b"v"]


def test_a_refused_producer_id_is_asked_for_with_the_next_message(broker: Broker) -> None:
    broker.fail("InitProducerId", ErrorCode.CLUSTER_AUTHORIZATION_FAILED, times=None)
    with ottla.Producer(broker.bootstrap, linger_ms=0) as producer:
        error = producer.send("t", b"a").exception(WAIT_S)
        assert isinstance(error, kafka_errors.ClusterAuthorizationFailed)
        advance_time(5)
        asked = broker.count("InitProducerId")
        advance_time(120)
        assert broker.count("InitProducerId") == asked
        broker.clear_rules()
        assert producer.send_and_wait("t", b"b").offset == 0


# ---- a start ---------------------------------------------------------------------------------------------------------


def test_a_seek_right_after_assign_logs_no_missing_leader(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.create_topic("t")
    for value in (b"a", b"b"):
        broker.append("t", value)
    with ottla.Consumer(broker.bootstrap) as consumer:
        consumer.assign([("t", 0)])
        consumer.seek(("t", 0), 1)
        assert [record.value for record in consumer.poll(timeout=WAIT_S)] == [b"b"]
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
