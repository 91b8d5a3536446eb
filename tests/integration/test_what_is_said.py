"""What a user reads when things go wrong: one line per failure, with the client, the place, the broker's word and what comes next."""

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

SOON_S = 10.0
WHO = "[producer billing] "
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


class Said:
    """The lines of the log, from a level on."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def at(self, level: int) -> list[str]:
        """From this level on, without what the broker in the test says."""
        return [
            record.getMessage()
            for record in self._caplog.records
            if record.levelno >= level and not record.name.startswith("ottla.testing")
        ]

    def warnings(self) -> list[str]:
        return self.at(logging.WARNING)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    caplog.set_level(logging.DEBUG, "ottla")
    return Said(caplog)


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(auto_create_topics=False) as running:
        running.create_topic("t", 2)
        yield running


def refuse_topic(broker: Broker, name: str, code: int, times: int | None = None) -> None:
    """Metadata tells this of the topic, and nothing of any other one."""
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


# ---- a topic that is not there ---------------------------------------------------------------------------------------


def test_a_topic_that_does_not_exist_is_a_warning_soon_and_the_cause_in_the_end(
    broker: Broker, said: Said
) -> None:
    with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
        deliveries = [producer.send("ordres", b"v") for _ in range(3)]
        later(lambda: said.warnings() != [], "it is said before the messages fail")
        assert not deliveries[0].done()
        (trouble,) = producer.health().troubles
        assert trouble.part == "ordres"
        assert trouble.reason.startswith("UNKNOWN_TOPIC_OR_PARTITION (3): it does not exist")
        assert trouble.for_s > 0
        assert "metadata is asked for again" in trouble.next
        errors = [failure(delivery) for delivery in deliveries]
    for error in errors:
        assert isinstance(error, ottla.DeliveryTimeout)
        assert isinstance(error.__cause__, kafka_errors.UnknownTopicOrPartition)
        assert "UNKNOWN_TOPIC_OR_PARTITION (3)" in str(error)
    warning, failed = said.warnings()
    assert warning.startswith(f"{WHO}topic ordres: UNKNOWN_TOPIC_OR_PARTITION (3): it does not")
    assert "asked for again every 100 to 1000 ms" in warning
    assert "delivery_timeout_ms (1500)" in warning
    assert failed.startswith(f"{WHO}3 messages to ordres failed (outcome not_written): ")
    assert "UNKNOWN_TOPIC_OR_PARTITION (3)" in failed


def test_a_topic_that_comes_late_is_told_to_be_there(broker: Broker, said: Said) -> None:
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        delivery = producer.send("late", b"v")
        later(lambda: said.warnings() != [], "it is said")
        broker.create_topic("late")
        delivery.result(SOON_S)
    assert len(said.warnings()) == 1
    assert [line for line in said.at(logging.INFO) if f"{WHO}topic late is there now" in line]


def test_a_topic_that_is_just_created_is_no_warning(said: Said) -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        refuse_topic(broker, "fresh", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, times=2)
        producer.send_and_wait("fresh", b"v")
    assert said.warnings() == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, kafka_errors.TopicAuthorizationFailed),
        (ErrorCode.INVALID_TOPIC_EXCEPTION, kafka_errors.InvalidTopicException),
    ],
)
def test_a_topic_that_is_refused_for_good_fails_its_messages_at_once_and_is_asked_for_anew(
    broker: Broker, said: Said, code: ErrorCode, kind: type[ottla.Error]
) -> None:
    heard: list[ottla.Event] = []
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.listen(heard.append)
        refuse_topic(broker, "t", code)
        begun = time.monotonic()
        assert isinstance(failure(producer.send("t", b"v")), kind)
        assert isinstance(failure(producer.send("t", b"v", partition=1)), kind)
        assert time.monotonic() - begun < 5
        broker.clear_rules()
        # Who has mended it sends again, and an answer of before does not stand in the way.
        producer.send_and_wait("t", b"v")
        assert producer.health()
        assert dispatcher.settle(SOON_S)
    failed = [event.fields for event in heard if event.name == "batch.failed"]
    assert [(fields["topic"], fields["partition"]) for fields in failed] == [("t", -1)] * 2
    lines = said.warnings()
    assert all(line.startswith(WHO) and code.name in line for line in lines)
    counts = re.findall(r"(\d) messages? to t failed", " ".join(lines))
    assert sum(map(int, counts)) == 2


def test_a_topic_that_is_deleted_is_one_warning(broker: Broker, said: Said) -> None:
    with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
        producer.send_and_wait("t", b"v", partition=0)
        broker.delete_topic("t")
        delivery = producer.send("t", b"v", partition=0)
        eventually(lambda: said.warnings() != [], "it is said")
        error = failure(delivery)
    assert isinstance(error, ottla.DeliveryTimeout)
    assert isinstance(error.__cause__, kafka_errors.UnknownTopicOrPartition)
    warning, failed = said.warnings()
    assert warning.startswith(f"{WHO}t-0: UNKNOWN_TOPIC_OR_PARTITION (3): it does not exist")
    assert failed.startswith(f"{WHO}1 message to t-0 failed (outcome not_written): ")


@pytest.mark.parametrize("lack", ["has no leader", "of 1 does not exist"])
def test_a_partition_without_a_leader_is_the_cause_of_what_expires_there(lack: str) -> None:
    with Broker() as broker:
        broker.create_topic("t", 2)
        with ottla.Producer(
            broker.bootstrap, metadata_max_age_ms=100, retry_backoff_ms=10, **GIVES_UP
        ) as producer:
            producer.send_and_wait("t", b"v", partition=0)
            if lack == "has no leader":
                broker._on_thread(lambda: broker._partition("t", 1).lead(-1))
            producer.send("t", b"v", partition=1)
            if lack != "has no leader":
                broker.delete_topic("t")
                broker.create_topic("t", 1)
            delivery = producer.send("t", b"v", partition=1)
            eventually(lambda: f"partition 1 {lack}" in str(producer.health().troubles), lack)
            error = failure(delivery)
    assert isinstance(error, ottla.DeliveryTimeout)
    assert f"partition 1 {lack}" in str(error)


def test_the_wait_of_a_partitioner_names_what_keeps_its_topic(broker: Broker) -> None:
    with ottla.Producer(
        broker.bootstrap, partitioner=lambda *_: 0, max_block_ms=300, **PATIENT
    ) as producer:
        with pytest.raises(ottla.Timeout, match=r"UNKNOWN_TOPIC_OR_PARTITION \(3\)") as caught:
            producer.send("ordres", b"v")
        assert isinstance(caught.value.__cause__, kafka_errors.UnknownTopicOrPartition)


# ---- no broker -------------------------------------------------------------------------------------------------------


def test_where_no_broker_is_the_error_says_what_was_met(said: Said) -> None:
    with ottla.Producer("127.0.0.1:1", **GIVES_UP) as producer:
        error = failure(producer.send("t", b"v"))
        report = producer.health()
    assert isinstance(error, ottla.DeliveryTimeout)
    assert isinstance(error.__cause__, ottla.NoBrokersAvailable)
    assert "127.0.0.1:1: Connection refused" in str(error)
    assert "\n" not in str(error) + str(report.troubles)
    warning, failed = said.warnings()
    assert warning.startswith(f"{WHO}no metadata of the cluster: no broker can be reached: 127.")
    assert "Tried again every 100 to 1000 ms" in warning
    assert failed.startswith(f"{WHO}1 message to t failed (outcome not_written): ")


def test_a_broker_that_dies_is_one_warning_and_comes_back_with_one_line(said: Said) -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"v")
        broker.kill(1)
        delivery = producer.send("t", b"v")
        later(lambda: said.warnings() != [], "it is said")
        broker.restart(1)
        delivery.result(SOON_S)
        lines = said.at(logging.INFO)
    (warning,) = said.warnings()
    assert "no broker can be reached" in warning
    assert warning.count("Connection refused") == 1, "one address, told once"
    assert [line for line in lines if line.startswith(f"{WHO}metadata again, after ")]


def test_a_connection_that_is_lost_with_a_batch_is_told_with_what_becomes_of_it(
    broker: Broker, said: Said
) -> None:
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"v", partition=0)
        broker.lose_answer("Produce")
        producer.send("t", b"v", partition=0).result(SOON_S)
        eventually(lambda: said.warnings() != [], "it is said")
    (warning,) = said.warnings()
    assert warning.startswith(f"{WHO}1 batch of t-0 without an answer: the connection to node 1 at")
    assert "closed by the broker" in warning
    assert "nothing is there twice" in warning


# ---- a broker that refuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["NOT_ENOUGH_REPLICAS", "KAFKA_STORAGE_ERROR"])
def test_a_refusal_that_lasts_is_one_warning_and_the_cause_in_the_end(
    broker: Broker, said: Said, name: str
) -> None:
    code = ErrorCode[name]
    with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
        producer.send_and_wait("t", b"v", partition=0)
        broker.fail("Produce", code, times=None)
        delivery = producer.send("t", b"v", partition=0)
        later(lambda: said.warnings() != [], "it is said")
        (trouble,) = producer.health().troubles
        assert trouble.part == "t-0"
        assert name in trouble.reason
        error = failure(delivery)
    assert isinstance(error, ottla.DeliveryTimeout)
    assert isinstance(error.__cause__, ottla.KafkaError)
    assert error.__cause__.code == code
    assert f"the broker's last answer was {name} ({int(code)})" in str(error)
    warning, failed = said.warnings()
    assert f"answered {name} ({int(code)}) to 1 batch of t-0: sent again until" in warning
    assert failed.startswith(f"{WHO}1 message to t-0 failed (outcome {error.outcome}): ")


@pytest.mark.parametrize(
    "code", [ErrorCode.TOPIC_AUTHORIZATION_FAILED, ErrorCode.MESSAGE_TOO_LARGE]
)
def test_what_is_refused_for_good_is_one_line(broker: Broker, said: Said, code: ErrorCode) -> None:
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        broker.fail("Produce", code)
        failure(producer.send("t", b"v", partition=0))
    (line,) = said.warnings()
    assert line.startswith(f"{WHO}1 message to t-0 failed (outcome not_written): {code.name} (")


def test_a_quota_is_told_with_the_node(broker: Broker, said: Said) -> None:
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
        line = f"{WHO}over its quota, so nothing is sent: to node 1 at {broker.bootstrap} for 40 ms"
        eventually(lambda: line in said.at(logging.INFO), "it is said")
    assert said.warnings() == []


def test_a_producer_that_gets_no_id_says_so_once(broker: Broker, said: Said) -> None:
    broker.fail("InitProducerId", ErrorCode.CLUSTER_AUTHORIZATION_FAILED, times=None)
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        later(lambda: said.warnings() != [], "it is said though nothing is sent")
        error = failure(producer.send("t", b"v", partition=0))
        assert isinstance(error, kafka_errors.ClusterAuthorizationFailed)
        assert str(error).count("no producer id") == 1
        broker.clear_rules()
        later(producer.health, "it has its id")
        eventually(
            lambda: any("the producer has its id" in line for line in said.at(logging.INFO)),
            "that is said",
        )
    warning, failed = said.warnings()
    assert warning.startswith(f"{WHO}no producer id: CLUSTER_AUTHORIZATION_FAILED (31). ")
    assert failed.startswith(f"{WHO}1 message to t-0 failed (outcome not_written): ")


# ---- the end -----------------------------------------------------------------------------------------------------------


def test_what_is_given_up_at_close_is_told_to_listeners_and_in_the_log(
    broker: Broker, said: Said
) -> None:
    heard: list[ottla.Event] = []
    broker.delay("Produce", 30.0, times=None)
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.listen(heard.append)
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
        event.fields["topic"]: event.fields for event in heard if event.name == "batch.failed"
    }
    assert {topic: (told["records"], told["outcome"]) for topic, told in failed.items()} == {
        "t": (1, "unknown"),
        "ordres": (2, "not_written"),
    }
    assert {told["error"] for told in failed.values()} == {"Closed"}
    closed = [line for line in said.warnings() if "the producer was closed before" in line]
    assert len(closed) == 2
    assert any(line.startswith(f"{WHO}2 messages to ordres failed") for line in closed)


def test_a_broker_that_is_silent_at_close_is_named_while_it_waits_and_after(
    broker: Broker, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CLOSE_TOLD_S", 0.2)
    broker.delay("Produce", 30.0, times=None)
    producer = ottla.Producer(broker.bootstrap, **PATIENT)
    delivery = producer.send("t", b"v", partition=0)
    broker.wait_for("Produce")
    advance_time(2)
    report = producer.close(timeout=0.4)
    assert report.unknown == 1
    waits, failed = said.warnings()
    silent = r"node 1 at \S+ has not answered for \d\.\d s"
    assert re.fullmatch(
        re.escape(f"{WHO}close has waited 0.2 s for the outcome of 1 message: t-0 (")
        + silent
        + re.escape("). What has none after its 0.4 s is given up"),
        waits,
    )
    assert re.search(f"before its messages had their outcome: {silent}$", failed)
    assert re.search(silent, str(failure(delivery)))
    health, told = producer.health(), producer.statistics()
    assert (health.state, health.troubles, health.buffer.used_bytes) == ("closed", (), 0)
    assert health.buffer.holders == ()
    assert (told.buffered_bytes, told.buffered_records, told.in_flight_requests) == (0, 0, 0)


def test_a_buffer_that_stays_full_is_one_warning_that_names_who_holds_it(
    broker: Broker, said: Said
) -> None:
    broker.delay("Produce", 30.0, times=None)
    producer = ottla.Producer(broker.bootstrap, buffer_memory=100_000, **PATIENT)

    def fill() -> None:
        while True:
            producer.send_nowait("t", b"x" * 1000, partition=0)

    def is_refused_and_logged() -> list[str]:
        with pytest.raises(ottla.BufferFull):
            fill()
        assert [one.part for one in producer.health().troubles][-1] == "buffer"
        return said.warnings()

    later(is_refused_and_logged, "it is told")
    (line,) = said.warnings()
    assert line.startswith(f"{WHO}buffer_memory (100000 bytes) is full: ")
    assert "of it wait for t-0 (node 1 at " in line
    producer.close(timeout=0)


def test_a_flush_that_waits_for_callbacks_says_so_with_the_time_it_was_given(
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


def test_a_connection_that_cannot_be_made_is_one_line_of_an_event() -> None:
    heard: list[ottla.Event] = []
    with Broker(nodes=2) as broker:
        broker.create_topic("t", partitions=1)
        broker.move_leader("t", 0, 2)
        with ottla.Producer(broker.bootstrap, **GIVES_UP) as producer:
            producer.listen(heard.append)
            producer.send_and_wait("t", b"v")
            broker.kill(2)
            producer.send("t", b"v")
            eventually(
                lambda: [one for one in heard if one.name == "connection.failed"], "it is told"
            )
    reasons = {one.fields["reason"] for one in heard if one.name == "connection.failed"}
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
def test_a_hold_that_cannot_be_decided_ends_with_an_honest_outcome(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, said: Said, owner: Any, name: str
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
    assert any("a bug: the hold of t-0 (the broker answered" in line for line in said.warnings())


def test_a_hold_that_cannot_be_decided_does_not_deny_what_may_be_written(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "judge", broken(verdict.judge, [RuntimeError("a bug")]))
    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        producer.send_and_wait("t", b"before", partition=0)
        broker.lose_answer("Produce")
        assert failure(producer.send("t", b"held", partition=0)).outcome == "unknown"
        producer.send_and_wait("t", b"after", partition=0)
    assert [r.value for r in broker.records("t", 0)] == [b"before", b"held", b"after"]


def test_a_bug_behind_the_end_of_a_hold_leaves_the_partition_flowing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, said: Said
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
    assert any("did not end as it should: it goes on" in line for line in said.warnings())
    assert [record.value for record in broker.records("t", 0)] == [b"before", b"held"]


# ---- everywhere -------------------------------------------------------------------------------------------------------


def test_every_line_names_its_client(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ottla")
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
    records = [record for record in caplog.records if not record.name.startswith("ottla.testing")]
    assert {getattr(record, "client", None) for record in records} == who
    for record in records:
        assert record.getMessage().startswith(f"[{record.__dict__['client']}] ")
        assert "\n" not in record.getMessage()


def test_a_consumer_warns_once_of_a_topic_that_is_not_there(broker: Broker, said: Said) -> None:
    with ottla.Consumer(
        broker.bootstrap, client_id="reader", group_id="g", metadata_max_age_ms=100
    ) as consumer:
        consumer.subscribe(["ordres"])
        consumer.poll(timeout=0.7)
    (warning,) = said.warnings()
    assert warning.startswith(
        "[consumer reader] topic ordres cannot be read: UNKNOWN_TOPIC_OR_PARTITION (3);"
    )


def test_a_callback_of_what_is_delivered_already_is_named(broker: Broker, said: Said) -> None:
    seen: list[object] = []

    def raises(_: ottla.Delivery) -> None:
        seen.append(running.function)
        raise ValueError("no")

    with ottla.Producer(broker.bootstrap, **PATIENT) as producer:
        delivery = producer.send("t", b"v")
        delivery.result(SOON_S)
        delivery.add_done_callback(raises)
        assert dispatcher.settle(SOON_S)
    assert seen == [raises], "what does not return is told by this"
    (line,) = said.warnings()
    assert line == f"{WHO}a callback raised: {raises!r} of {delivery!r}"
