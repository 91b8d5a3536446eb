"""The log of failures: one line per failure, with the client, the place, the broker's answer and the next step."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ottla
from ottla import kafka_errors
from ottla.client import producer as client
from ottla.engine import dispatcher
from ottla.observe.running import running
from ottla.producer import holds, verdict
from ottla.producer.identity import IdentitySource
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.init_producer_id import InitProducerIdResponse
from ottla.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponseTopic,
)
from ottla.protocol.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from ottla.testing import Broker, advance_time
from tests.fixtures.logged import Logged

SOON_S = 10.0
WHO = "producer billing"
T0: dict[str, Any] = {"topic": "t", "partition": 0}
GIVES_UP: dict[str, Any] = {
    "client_id": "billing",
    "linger_ms": 0,
    "delivery_timeout_ms": 1_500,
    "request_timeout_ms": 1_000,
}
PATIENT: dict[str, Any] = {"client_id": "billing", "linger_ms": 0}


def eventually(check: Callable[[], object], what: str) -> None:
    """Wait for another thread's work that needs no timer."""
    until = time.monotonic() + SOON_S
    while not check():
        assert time.monotonic() < until, f"not within {SOON_S} s: {what}"
        time.sleep(0.002)


def later(check: Callable[[], object], what: str) -> None:
    """Let time pass until a timer has done its work."""
    advance_time(SOON_S, check)
    assert check(), f"not within {SOON_S} s: {what}"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(auto_create_topics=False) as running:
        running.create_topic("t", 2)
        yield running


def refuse_topic(broker: Broker, name: str, code: int, times: int | None = None) -> None:
    """Metadata has this code for the topic, and no other topic."""
    host, _, port = broker.bootstrap.partition(":")
    node = MetadataResponseBroker(node_id=1, host=host, port=int(port))
    answer = MetadataResponse(
        brokers=[node],
        cluster_id=broker.cluster_id,
        controller_id=1,
        topics=[MetadataResponseTopic(error_code=code, name=name)],
    )
    broker.answer("Metadata", lambda request, call: answer, times=times, topic=name)


def failure(delivery: ottla.Delivery) -> ottla.Error:
    """The error of a delivery, whose time-out passes without a wait."""
    advance_time(SOON_S, delivery.done)
    error = delivery.exception(SOON_S)
    assert isinstance(error, ottla.Error)
    return error


# ---- a missing topic --------------------------------------------------------------------------------------------------


def test_a_topic_that_does_not_exist_is_a_warning_soon_and_the_cause_in_the_end(
    broker: Broker, logged: Logged
) -> None:
    with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
        deliveries = [producer.send("ordres", b"v") for _ in range(3)]
        later(lambda: logged.events(), "it is logged before the messages fail")
        assert not deliveries[0].done()
        (trouble,) = producer.health().troubles
        assert trouble.part == "ordres"
        assert trouble.reason.startswith("UNKNOWN_TOPIC_OR_PARTITION (3): it does not exist")
        assert trouble.for_s > 0
        assert "metadata is requested again" in trouble.next
        errors = [failure(delivery) for delivery in deliveries]
    for error in errors:
        assert isinstance(error, ottla.DeliveryTimeout)
        assert isinstance(error.__cause__, kafka_errors.UnknownTopicOrPartition)
        assert "UNKNOWN_TOPIC_OR_PARTITION (3)" in str(error)
    assert logged.events() == ["topic.unavailable", "batch.expired"]
    (warning,) = logged("topic.unavailable", client=WHO, topic="ordres")
    assert warning.__dict__["reason"].startswith("UNKNOWN_TOPIC_OR_PARTITION (3): it does not")
    assert "requested again every 100 to 1000 ms" in warning.__dict__["next_step"]
    assert "delivery_timeout_ms (1500)" in warning.__dict__["next_step"]
    (failed,) = logged("batch.expired", client=WHO, topic="ordres", count=3, outcome="not_written")
    assert "UNKNOWN_TOPIC_OR_PARTITION (3)" in failed.__dict__["reason"]


def test_a_topic_that_exists_later_is_logged_as_found(broker: Broker, logged: Logged) -> None:
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        delivery = producer.send("late", b"v")
        later(lambda: logged.events(), "it is logged")
        broker.create_topic("late")
        delivery.result(SOON_S)
    assert logged.events() == ["topic.unavailable"]
    assert logged("topic.found", client=WHO, topic="late")


def test_a_topic_that_is_just_created_is_no_warning(logged: Logged) -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        refuse_topic(broker, "fresh", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, times=2)
        producer.send_and_wait("fresh", b"v")
    assert logged.events() == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, kafka_errors.TopicAuthorizationFailed),
        (ErrorCode.INVALID_TOPIC_EXCEPTION, kafka_errors.InvalidTopicException),
    ],
)
def test_a_finally_refused_topic_fails_its_messages_at_once_and_is_requested_again(
    broker: Broker, logged: Logged, code: ErrorCode, kind: type[ottla.Error]
) -> None:
    received: list[ottla.Event] = []
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.listen(received.append)
        refuse_topic(broker, "t", code)
        begun = time.monotonic()
        assert isinstance(failure(producer.send("t", b"v")), kind)
        assert isinstance(failure(producer.send("t", b"v", partition=1)), kind)
        assert time.monotonic() - begun < 5
        broker.clear_rules()
        # The user has mended it and sends again: the earlier answer does not fail the message.
        producer.send_and_wait("t", b"v")
        assert producer.health()
        assert dispatcher.settle(SOON_S)
    failed = [event.fields for event in received if event.name == "batch.failed"]
    assert [(fields["topic"], fields["partition"]) for fields in failed] == [("t", -1)] * 2
    records = logged(level=logging.WARNING)
    assert records == logged("batch.failed", client=WHO, topic="t", error=kind.__name__)
    assert sum(record.__dict__["count"] for record in records) == 2


def test_a_topic_that_is_deleted_is_one_warning(broker: Broker, logged: Logged) -> None:
    with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
        producer.send_and_wait("t", b"v", partition=0)
        broker.delete_topic("t")
        delivery = producer.send("t", b"v", partition=0)
        eventually(lambda: logged.events(), "it is logged")
        error = failure(delivery)
    assert isinstance(error, ottla.DeliveryTimeout)
    assert isinstance(error.__cause__, kafka_errors.UnknownTopicOrPartition)
    assert logged.events() == ["partition.unroutable", "batch.expired"]
    (warning,) = logged(
        "partition.unroutable", client=WHO, topic="t", partition=0, level=logging.WARNING
    )
    assert warning.__dict__["reason"].startswith(
        "UNKNOWN_TOPIC_OR_PARTITION (3): it does not exist"
    )
    assert logged("batch.expired", client=WHO, **T0, count=1, outcome="not_written")


@pytest.mark.parametrize("lack", ["has no leader", "of 1 does not exist"])
def test_a_partition_without_a_leader_is_the_cause_of_its_expired_messages(lack: str) -> None:
    with Broker() as broker:
        broker.create_topic("t", 2)
        with ottla.Producer(
            broker.bootstrap, metadata_max_age_ms=100, retry_backoff_ms=10, **GIVES_UP
        ) as producer:
            producer.send_and_wait("t", b"v", partition=0)
            if lack == "has no leader":
                broker.move_leader("t", 1, None)
            producer.send("t", b"v", partition=1)
            if lack != "has no leader":
                broker.delete_topic("t")
                broker.create_topic("t", 1)
            delivery = producer.send("t", b"v", partition=1)
            eventually(lambda: f"partition 1 {lack}" in str(producer.health().troubles), lack)
            error = failure(delivery)
    assert isinstance(error, ottla.DeliveryTimeout)
    assert f"partition 1 {lack}" in str(error)


def test_the_wait_of_a_partitioner_names_the_trouble_of_its_topic(broker: Broker) -> None:
    with ottla.Producer(
        broker.bootstrap, partitioner=lambda *_: 0, max_block_ms=300, **PATIENT
    ) as producer:
        with pytest.raises(ottla.Timeout, match=r"UNKNOWN_TOPIC_OR_PARTITION \(3\)") as caught:
            producer.send("ordres", b"v")
        assert isinstance(caught.value.__cause__, kafka_errors.UnknownTopicOrPartition)


# ---- no broker -------------------------------------------------------------------------------------------------------


def test_without_a_broker_the_error_names_each_failed_address(logged: Logged) -> None:
    with ottla.Producer("127.0.0.1:1", **GIVES_UP) as producer:
        error = failure(producer.send("t", b"v"))
        report = producer.health()
    assert isinstance(error, ottla.DeliveryTimeout)
    assert isinstance(error.__cause__, ottla.NoBrokersAvailable)
    assert "127.0.0.1:1: Connection refused" in str(error)
    assert "\n" not in str(error) + str(report.troubles)
    assert logged.events() == ["cluster.unreachable", "batch.expired"]
    (warning,) = logged("cluster.unreachable", client=WHO, retry_min_ms=100, retry_max_ms=1000)
    assert warning.__dict__["reason"].startswith("no broker can be reached: 127.")
    assert logged("batch.expired", client=WHO, topic="t", partition=-1, outcome="not_written")


def test_a_broker_that_dies_is_one_warning_and_comes_back_with_one_line(logged: Logged) -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"v")
        broker.kill(1)
        delivery = producer.send("t", b"v")
        later(lambda: logged.events(), "it is logged")
        broker.restart(1)
        delivery.result(SOON_S)
    assert logged.events() == ["cluster.unreachable"]
    (warning,) = logged("cluster.unreachable")
    assert warning.__dict__["reason"].count("Connection refused") == 1, "one address, named once"
    assert logged("cluster.reachable", client=WHO)


def test_a_connection_lost_with_a_batch_is_logged_with_its_next_step(
    broker: Broker, logged: Logged
) -> None:
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"v", partition=0)
        broker.lose_answer("Produce")
        producer.send("t", b"v", partition=0).result(SOON_S)
        eventually(lambda: logged.events(), "it is logged")
    assert logged.events() == ["batch.unanswered"]
    (warning,) = logged("batch.unanswered", client=WHO, **T0, count=1, node=1)
    assert "closed by the broker" in warning.__dict__["reason"]
    assert "nothing is written twice" in warning.__dict__["next_step"]


# ---- a broker that refuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["NOT_ENOUGH_REPLICAS", "KAFKA_STORAGE_ERROR"])
def test_a_refusal_that_lasts_is_one_warning_and_the_cause_in_the_end(
    broker: Broker, logged: Logged, name: str
) -> None:
    code = ErrorCode[name]
    with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
        producer.send_and_wait("t", b"v", partition=0)
        broker.fail("Produce", code, times=None)
        delivery = producer.send("t", b"v", partition=0)
        later(lambda: logged.events(), "it is logged")
        (trouble,) = producer.health().troubles
        assert trouble.part == "t-0"
        assert name in trouble.reason
        error = failure(delivery)
    assert isinstance(error, ottla.DeliveryTimeout)
    assert isinstance(error.__cause__, ottla.KafkaError)
    assert error.__cause__.code == code
    assert f"the broker's last answer was {name} ({int(code)})" in str(error)
    assert logged.events() == ["batch.refused", "batch.expired"]
    assert logged("batch.refused", **T0, count=1, node=1, reason=f"{name} ({int(code)})")
    assert logged("batch.expired", client=WHO, **T0, count=1, outcome=error.outcome)


@pytest.mark.parametrize(
    "code", [ErrorCode.TOPIC_AUTHORIZATION_FAILED, ErrorCode.MESSAGE_TOO_LARGE]
)
def test_a_final_refusal_is_one_line(broker: Broker, logged: Logged, code: ErrorCode) -> None:
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        broker.fail("Produce", code)
        failure(producer.send("t", b"v", partition=0))
    assert logged.events() == ["batch.failed"]
    (failed,) = logged("batch.failed", client=WHO, **T0, count=1, outcome="not_written")
    assert failed.__dict__["reason"].startswith(f"{code.name} (")


def test_a_quota_is_logged_with_the_node(broker: Broker, logged: Logged) -> None:
    def throttled(request: ProduceRequest, _call: object) -> ProduceResponse:
        return ProduceResponse(
            throttle_time_ms=40,
            responses=[
                TopicProduceResponse(
                    name=topic.name,
                    topic_id=topic.topic_id,
                    partition_responses=[
                        PartitionProduceResponse(index=part.index, base_offset=7)
                        for part in topic.partition_data
                    ],
                )
                for topic in request.topic_data
            ],
        )

    broker.answer("Produce", throttled)
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        assert producer.send_and_wait("t", b"v", partition=0).offset == 7
        quota: dict[str, Any] = {"client": WHO, "node": 1, "address": broker.bootstrap, "count": 40}
        eventually(lambda: logged("connection.throttled", **quota), "it is logged")
    assert logged.events() == []


def test_a_missing_producer_id_is_logged_once(broker: Broker, logged: Logged) -> None:
    broker.fail("InitProducerId", ErrorCode.CLUSTER_AUTHORIZATION_FAILED, times=None)
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        later(lambda: logged.events(), "it is logged though nothing is sent")
        error = failure(producer.send("t", b"v", partition=0))
        assert isinstance(error, kafka_errors.ClusterAuthorizationFailed)
        assert str(error).count("no producer id") == 1
        broker.clear_rules()
        producer.send_and_wait("t", b"v", partition=0)
        later(producer.health, "the producer has its id")
        eventually(
            lambda: logged("producer_id.acquired", client=WHO),
            "that is logged",
        )
    assert logged.events() == ["producer_id.refused", "batch.failed"]
    reason = "no producer id: CLUSTER_AUTHORIZATION_FAILED (31)"
    assert logged("producer_id.refused", client=WHO, reason=reason, level=logging.WARNING)
    assert logged("batch.failed", client=WHO, **T0, count=1, outcome="not_written")


# ---- the end -----------------------------------------------------------------------------------------------------------


def test_messages_that_fail_at_close_are_reported_to_listeners_and_logged(
    broker: Broker, logged: Logged
) -> None:
    received: list[ottla.Event] = []
    broker.delay("Produce", 30.0, times=None)
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.listen(received.append)
        in_flight = producer.send("t", b"v", partition=0)
        broker.wait_for("Produce")
        waiting = [producer.send("ordres", b"v") for _ in range(2)]
        report = producer.close(timeout=0)
        assert (report.failed, report.unknown) == (2, 1)
        assert [failure(delivery).outcome for delivery in (in_flight, *waiting)] == [
            "unknown",
            "not_written",
            "not_written",
        ]
        assert dispatcher.settle(SOON_S)
    failed = {
        event.fields["topic"]: event.fields for event in received if event.name == "batch.failed"
    }
    assert {topic: (fields["records"], fields["outcome"]) for topic, fields in failed.items()} == {
        "t": (1, "unknown"),
        "ordres": (2, "not_written"),
    }
    assert {fields["error"] for fields in failed.values()} == {"Closed"}
    assert len(logged("batch.failed", error="Closed")) == 2
    assert logged("batch.failed", client=WHO, topic="ordres", count=2, error="Closed")


def test_a_broker_that_is_silent_at_close_is_named_while_it_waits_and_after(
    broker: Broker, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CLOSE_WARNING_S", 0.2)
    broker.delay("Produce", 30.0, times=None)
    producer = ottla.Producer(broker.bootstrap, **PATIENT)
    delivery = producer.send("t", b"v", partition=0)
    broker.wait_for("Produce")
    advance_time(2)
    report = producer.close(timeout=0.4)
    assert report.unknown == 1
    assert logged.events() == ["close.waiting", "batch.failed"]
    (waits,) = logged("close.waiting", client=WHO, elapsed_s=0.2, count=1, limit="its 0.4 s")
    (failed,) = logged("batch.failed")
    silent = r"node 1 at \S+ has not answered for \d\.\d s"
    assert re.fullmatch(rf"t-0 \({silent}\)", waits.__dict__["reason"])
    assert re.search(f"before its messages had their outcome: {silent}$", failed.__dict__["reason"])
    assert re.search(silent, str(failure(delivery)))
    health, statistics = producer.health(), producer.statistics()
    assert (health.state, health.troubles, health.buffer.used_bytes) == ("closed", (), 0)
    assert health.buffer.holders == ()
    assert (
        statistics.buffered_bytes,
        statistics.buffered_records,
        statistics.in_flight_requests,
    ) == (0, 0, 0)


def test_a_buffer_that_stays_full_is_one_warning_that_names_its_largest_part(
    broker: Broker, logged: Logged
) -> None:
    broker.delay("Produce", 30.0, times=None)
    producer = ottla.Producer(broker.bootstrap, buffer_memory=100_000, **PATIENT)

    def fill() -> None:
        while True:
            producer.send_nowait("t", b"x" * 1000, partition=0)

    def is_refused_and_logged() -> object:
        with pytest.raises(ottla.BufferFull):
            fill()
        assert [one.part for one in producer.health().troubles][-1] == "buffer"
        return logged("buffer.full")

    later(is_refused_and_logged, "it is reported")
    assert logged.events() == ["buffer.full"]
    (full,) = logged("buffer.full", client=WHO, max_block_ms=60_000)
    assert full.__dict__["reason"].startswith("buffer_memory (100000 bytes) is full; ")
    assert "queued for t-0 (node 1 at " in full.__dict__["reason"]
    producer.close(timeout=0)


def test_a_flush_that_waits_for_callbacks_names_them_and_its_timeout(
    broker: Broker,
) -> None:
    go_on = threading.Event()
    with ottla.Producer(
        broker.bootstrap, on_delivery=lambda _: go_on.wait(SOON_S), **PATIENT
    ) as producer:
        producer.send_and_wait("t", b"v", partition=0)
        with pytest.raises(ottla.Timeout, match=r"^flush: .*callback.* within 0\.3 s: the"):
            producer.flush(0.3)
        go_on.set()


def test_a_failed_connection_is_one_line_of_an_event() -> None:
    received: list[ottla.Event] = []
    with Broker(nodes=2) as broker:
        broker.create_topic("t", partitions=1)
        broker.move_leader("t", 0, 2)
        with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
            producer.listen(received.append)
            producer.send_and_wait("t", b"v")
            broker.kill(2)
            producer.send("t", b"v")
            eventually(
                lambda: [one for one in received if one.name == "connection.failed"],
                "it is reported",
            )
    reasons = {one.fields["reason"] for one in received if one.name == "connection.failed"}
    for reason in reasons:
        assert "\n" not in reason
        assert reason.count("127.0.0.1:") == 1


# ---- bugs ---------------------------------------------------------------------------------------------------------------


def broken(function: Callable[..., Any], bugs: list[Exception]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        if bugs:
            raise bugs.pop()
        return function(*args, **named)

    return call


@pytest.mark.parametrize(
    ("owner", "name"),
    [(holds, "judge"), (holds, "lines_of"), (holds.Holds, "_follow"), (IdentitySource, "after")],
)
def test_a_hold_without_a_decision_ends_with_a_true_outcome(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, logged: Logged, owner: Any, name: str
) -> None:
    bugs: list[Exception] = [RuntimeError("a bug")]
    monkeypatch.setattr(owner, name, broken(getattr(owner, name), bugs))
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"before", partition=0)
        broker.fail("Produce", ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        error = failure(producer.send("t", b"held", partition=0))
        assert not bugs
        assert (type(error), error.outcome) == (ottla.Error, "not_written")
        assert "a bug of the client: RuntimeError: a bug" in str(error)
        producer.send_and_wait("t", b"after", partition=0)
    assert [record.value for record in broker.records("t", 0)] == [b"before", b"after"]
    assert logged("internal_error.hold", **T0, error="RuntimeError")


def test_a_hold_without_a_decision_leaves_a_possible_write_unknown(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "judge", broken(verdict.judge, [RuntimeError("a bug")]))
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"before", partition=0)
        broker.lose_answer("Produce")
        assert failure(producer.send("t", b"held", partition=0)).outcome == "unknown"
        producer.send_and_wait("t", b"after", partition=0)
    assert [r.value for r in broker.records("t", 0)] == [b"before", b"held", b"after"]


def test_a_bug_after_the_release_leaves_the_partition_flowing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    last = InitProducerIdResponse(producer_id=77, producer_epoch=32767)
    broker.answer("InitProducerId", lambda request, call: last)
    bugs: list[Exception] = []
    monkeypatch.setattr(IdentitySource, "renew", broken(IdentitySource.renew, bugs))
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"before", partition=0)
        bugs.append(RuntimeError("a bug"))
        broker.fail("Produce", ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        producer.send("t", b"held", partition=0).result(SOON_S)
    assert not bugs
    (bug,) = logged("internal_error.hold", **T0)
    assert bug.__dict__["next_step"] == "it was released and continues"
    assert [record.value for record in broker.records("t", 0)] == [b"before", b"held"]


# ---- sentences ---------------------------------------------------------------------------------------------------------


def test_a_line_has_event_object_cause_and_next_step_in_this_order(
    broker: Broker, logged: Logged
) -> None:
    with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
        failure(producer.send("ordres", b"v"))
    warning, failed = (record.getMessage() for record in logged(level=logging.WARNING))
    assert warning == (
        "[producer billing] topic ordres unavailable: UNKNOWN_TOPIC_OR_PARTITION (3): it does not exist, or this client may "
        "not describe it; its messages wait, its metadata is requested again every 100 to 1000 ms, and each message fails "
        "after delivery_timeout_ms (1500)"
    )
    assert failed.startswith(
        "[producer billing] 1 message to ordres failed (outcome not_written): "
    )
    assert failed.endswith("; they are not in the topic, so sending them again duplicates nothing")


# ---- everywhere -------------------------------------------------------------------------------------------------------


def test_every_line_names_its_client(broker: Broker, logged: Logged) -> None:
    with (
        ottla.Producer(broker.bootstrap, client_id="one", delivery_timeout_ms=1_500) as one,
        ottla.Producer("127.0.0.1:1", client_id="two", delivery_timeout_ms=1_500) as two,
        ottla.Consumer(broker.bootstrap, client_id="three", group_id="g") as three,
    ):
        three.subscribe(["ordres"])
        three.poll(timeout=0.5)
        for producer in (one, two):
            failure(producer.send("ordres", b"v"))
    who = {"producer one", "producer two", "consumer three"}
    assert {getattr(record, "client", None) for record in logged()} == who
    for record in logged():
        assert record.getMessage().startswith(f"[{record.__dict__['client']}] ")
        assert "\n" not in record.getMessage()


def test_a_consumer_warns_once_of_a_missing_topic(broker: Broker, logged: Logged) -> None:
    with ottla.Consumer(
        broker.bootstrap, client_id="reader", group_id="g", metadata_max_age_ms=100
    ) as consumer:
        consumer.subscribe(["ordres"])
        consumer.poll(timeout=0.7)
    assert logged.events() == ["topic.unavailable"]
    assert logged(
        "topic.unavailable",
        client="consumer reader",
        topic="ordres",
        error="UnknownTopicOrPartition",
    )


def test_a_callback_of_a_delivered_message_is_named(broker: Broker, logged: Logged) -> None:
    seen: list[object] = []

    def raises(_: ottla.Delivery) -> None:
        seen.append(running.function)
        raise ValueError("no")

    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        delivery = producer.send("t", b"v")
        delivery.result(SOON_S)
        delivery.add_done_callback(raises)
        assert dispatcher.settle(SOON_S)
    assert seen == [raises], "a callback that does not return is found by this"
    assert logged.events() == ["callback.raised"]
    assert logged("callback.raised", client=WHO, function=repr(raises), argument=repr(delivery))
