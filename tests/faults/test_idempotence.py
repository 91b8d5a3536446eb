"""Sequences and epochs: never lost, never twice, in order, even where the broker has forgotten the producer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla import kafka_errors
from ottla._native import assume_sequence
from ottla.message import TopicPartition
from ottla.producer.routes import ProduceTarget
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.init_producer_id import InitProducerIdResponse
from ottla.testing import Broker, advance_time
from tests.faults.support import (
    LIFE_S,
    code_of,
    outcome,
    outcomes,
    pass_time,
    producer,
    stored,
    values,
)
from tests.fixtures.logged import Logged


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(2) as running:
        running.create_topic("t")
        yield running


LOST = [
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.UNKNOWN_PRODUCER_ID,
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.INVALID_PRODUCER_ID_MAPPING,
]


@pytest.mark.parametrize("code", LOST)
@pytest.mark.parametrize("acknowledged", [0, 3])
def test_lost_sequences_start_a_new_epoch(
    broker: Broker, code: ErrorCode, acknowledged: int
) -> None:
    with producer(broker) as sending:
        for number in range(acknowledged):
            assert outcome(sending.send("t", b"%d" % number)) == "written"
        broker.forget_producer("t")
        broker.fail("Produce", code)
        assert outcome(sending.send("t", b"after")) == "written"
    last = stored(broker)[-1]
    assert (last.epoch, last.sequence, last.values) == (1, 0, [b"after"])
    assert len(values(broker)) == acknowledged + 1


@pytest.mark.parametrize("given_late", [False, True])
def test_the_new_epoch_follows_the_one_that_was_used(broker: Broker, given_late: bool) -> None:
    """The partition may have its route before the producer id."""
    if given_late:
        broker.delay("InitProducerId", 0.3)
    with producer(broker) as sending:
        first = [sending.send("t", b"a"), sending.send("t", b"b")]
        assert outcomes(first) == ["written"] * 2
        broker.fail("Produce", ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        assert outcome(sending.send("t", b"c")) == "written"
    assert [batch.epoch for batch in stored(broker)][-1] == 1
    assert values(broker) == [b"a", b"b", b"c"]


def test_sequences_survive_the_loss_of_the_metadata(broker: Broker) -> None:
    with producer(broker) as sending:
        assert outcome(sending.send("t", b"0")) == "written"
        asked = broker.count("Metadata")
        broker.fail("Metadata", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, times=3)
        pass_time(lambda: broker.count("Metadata") >= asked + 3, seconds=330)
        assert outcome(sending.send("t", b"1")) == "written"
    assert [(batch.epoch, batch.sequence) for batch in stored(broker)] == [(0, 0), (0, 1)]


def test_sequences_survive_a_leader_that_moves_there_and_back(broker: Broker) -> None:
    home = broker.leader("t")
    with producer(broker) as sending:
        for number, node in enumerate([home, 3 - home, home, 3 - home]):
            broker.move_leader("t", 0, node)
            assert outcome(sending.send("t", b"%d" % number)) == "written"
    assert [(batch.epoch, batch.sequence) for batch in stored(broker)] == [
        (0, number) for number in range(4)
    ]


def test_sequences_survive_a_restart_of_the_broker() -> None:
    with Broker() as broker:
        broker.create_topic("t")
        with producer(broker) as sending:
            assert outcome(sending.send("t", b"0")) == "written"
            broker.kill(1)
            waiting = sending.send("t", b"1")
            broker.restart(1)
            assert outcome(waiting) == "written"
        assert [(batch.epoch, batch.sequence) for batch in stored(broker)] == [(0, 0), (0, 1)]


@pytest.mark.parametrize("appended", [True, False])
def test_expiry_in_flight_and_the_messages_after_it(broker: Broker, appended: bool) -> None:
    with producer(broker) as sending:
        assert outcome(sending.send("t", b"before")) == "written"
        if appended:
            broker.spoil("Produce", lambda frame: b"", times=None)
        else:
            broker.delay("Produce", 3600, times=None)
        expires = sending.send("t", b"expires")
        # Real time passes too.
        assert LIFE_S - 10 <= pass_time(expires.done) <= LIFE_S + 1
        assert outcome(expires) == "unknown"
        broker.clear_rules()
        assert outcome(sending.send("t", b"after")) == "written"
    assert values(broker) == (
        [b"before", b"expires", b"after"] if appended else [b"before", b"after"]
    )


def test_used_up_epochs_take_a_new_producer_id(broker: Broker) -> None:
    last = InitProducerIdResponse(producer_id=77, producer_epoch=32767)
    broker.answer("InitProducerId", lambda request, call: last)
    with producer(broker) as sending:
        assert outcome(sending.send("t", b"a")) == "written"
        broker.fail("Produce", ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        assert outcomes([sending.send("t", b"b"), sending.send("t", b"c")]) == ["written"] * 2
    first, *rest = stored(broker)
    assert (first.producer_id, first.epoch) == (77, 32767)
    assert {(batch.producer_id, batch.epoch) for batch in rest} == {(1000, 0)}
    assert (rest[0].sequence, values(broker)) == (0, [b"a", b"b", b"c"])


def test_failures_are_reported_while_a_new_producer_id_is_requested(broker: Broker) -> None:
    last = InitProducerIdResponse(producer_id=77, producer_epoch=32767)
    broker.answer("InitProducerId", lambda request, call: last)
    with producer(broker, max_in_flight_requests_per_connection=1, batch_size=1) as sending:
        assert outcome(sending.send("t", b"a")) == "written"
        broker.fail("InitProducerId", ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=None)
        broker.fail("Produce", ErrorCode.POLICY_VIOLATION)
        refused, behind = sending.send("t", b"b"), sending.send("t", b"c")
        assert outcome(refused) == "not_written"
        assert code_of(refused) == ErrorCode.POLICY_VIOLATION
        assert not behind.done()
        broker.clear_rules()
        assert outcome(behind) == "written"
    first, second = stored(broker)
    assert (first.producer_id, first.epoch) == (77, 32767)
    assert second == (1000, 0, 0, [b"c"])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, "written"),
        (ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "not_written"),
    ],
)
def test_waiting_messages_fail_where_the_first_producer_id_is_finally_refused(
    broker: Broker, code: ErrorCode, expected: str
) -> None:
    broker.fail("InitProducerId", code, times=3)
    with producer(broker) as sending:
        deliveries = [sending.send("t", b"%d" % number) for number in range(3)]
        assert outcomes(deliveries) == [expected] * 3
        if expected == "not_written":
            assert code_of(deliveries[0]) == code
    assert len(values(broker)) == (3 if expected == "written" else 0)


def test_a_producer_id_that_is_refused_to_one_partition_blocks_no_other(broker: Broker) -> None:
    broker.create_topic("u")
    last = InitProducerIdResponse(producer_id=77, producer_epoch=32767)
    broker.answer("InitProducerId", lambda request, call: last)
    with producer(broker, max_in_flight_requests_per_connection=1, batch_size=1) as sending:
        assert outcomes([sending.send("t", b"a"), sending.send("u", b"a")]) == ["written"] * 2
        broker.fail("InitProducerId", ErrorCode.CLUSTER_AUTHORIZATION_FAILED, times=None)
        broker.fail("Produce", ErrorCode.POLICY_VIOLATION)
        refused, behind = sending.send("t", b"b"), sending.send("t", b"c")
        assert outcome(refused) == "not_written"
        for _ in range(20):
            assert outcome(sending.send("u", b"x")) == "written"
        pass_time(lambda: broker.count("InitProducerId") >= 2)
        assert outcome(sending.send("u", b"x")) == "written"
        assert outcome(behind) == "not_written"
        assert isinstance(behind.exception(), kafka_errors.ClusterAuthorizationFailed)
        asked = broker.count("InitProducerId")
        advance_time(60)
        assert broker.count("InitProducerId") == asked, "nothing needs an id"
        broker.clear_rules()
        assert outcome(sending.send("t", b"d")) == "written"


def test_a_bug_in_the_search_for_a_leader_is_logged_and_the_partition_flows_on(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    choosing = ProduceTarget.choose_node
    bugs = [RuntimeError("a bug")]

    def with_a_bug(self: ProduceTarget, partition: TopicPartition, leader: int) -> int:
        if bugs:
            raise bugs.pop()
        return choosing(self, partition, leader)

    monkeypatch.setattr(ProduceTarget, "choose_node", with_a_bug)
    with producer(broker) as sending:
        assert outcome(sending.send("t", b"a")) == "written"
    assert logged("internal_error.route", topic="t", partition=0)


@pytest.mark.parametrize("lost", range(4))
def test_sequences_start_again_at_0_after_the_last_one(broker: Broker, lost: int) -> None:
    """2^31 - 1 is the last one, within a batch too. The answer to each of the batches is lost once: it is resent as it was."""
    with producer(broker, linger_ms=20) as sending:
        assert outcome(sending.send("t", b"first")) == "written"
        broker.forget_producer(
            "t"
        )  # It accepts any sequence of the next batch, and only the following ones behind that.
        assume_sequence(sending._client.flow, "t", 0, 2**31 - 3)
        for number in range(4):
            if number == lost:
                broker.lose_answer("Produce")
            pair = [sending.send("t", b"%d" % number), sending.send("t", b"%d+" % number)]
            assert outcomes(pair) == ["written"] * 2
            assert [each.offset for each in pair] == [2 * number + 1, 2 * number + 2]
    _, *batches = stored(broker)
    assert [(batch.epoch, batch.sequence) for batch in batches] == [
        (0, 2**31 - 3),
        (0, 2**31 - 1),
        (0, 1),
        (0, 3),
    ]


def test_a_duplicate_is_a_success_without_an_offset(broker: Broker) -> None:
    with producer(broker) as sending:
        broker.lose_answer("Produce")
        broker.fail("Produce", ErrorCode.DUPLICATE_SEQUENCE_NUMBER)
        delivery = sending.send("t", b"once")
        assert outcome(delivery) == "written"
        assert delivery.offset == -1
    assert values(broker) == [b"once"]


def test_a_repeat_that_the_broker_knows_has_its_offset(broker: Broker) -> None:
    with producer(broker) as sending:
        assert outcome(sending.send("t", b"a")) == "written"
        broker.lose_answer("Produce")
        delivery = sending.send("t", b"b")
        assert (outcome(delivery), delivery.offset) == ("written", 1)
    assert values(broker) == [b"a", b"b"]


@pytest.mark.parametrize("code", LOST)
@pytest.mark.parametrize("appended", [True, False])
def test_lost_sequences_after_an_attempt_without_an_answer_are_unknown(
    broker: Broker, code: ErrorCode, appended: bool
) -> None:
    with producer(broker, batch_size=1) as sending:
        assert outcome(sending.send("t", b"before")) == "written"
        if appended:
            broker.lose_answer("Produce")
        else:
            broker.disconnect("Produce")
        broker.fail("Produce", code)
        doubtful = sending.send("t", b"doubtful")
        assert outcome(doubtful) == "unknown"
        assert code_of(doubtful) == code
        assert outcome(sending.send("t", b"after")) == "written"
    there = [b"doubtful"] if appended else []
    assert values(broker) == [b"before", *there, b"after"]


@pytest.mark.parametrize("appended", [0, 1, 5])
def test_no_message_after_a_doubtful_failure_is_written_twice(
    broker: Broker, appended: int
) -> None:
    """Several in flight, some appended, no answer; then the first is refused finally."""
    with producer(broker, batch_size=1) as sending:
        assert outcome(sending.send("t", b"before")) == "written"
        if appended:
            broker.spoil("Produce", lambda frame: b"", times=appended)
        broker.delay("Produce", 3600)
        first = broker.count("Produce")
        deliveries = [sending.send("t", b"%d" % number) for number in range(5)]
        broker.wait_for("Produce", first + (min(appended + 1, 5)))
        broker.clear_rules()
        broker.fail("Produce", ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        broker.kill(broker.leader("t"))
        reported = outcomes(deliveries)
        assert outcome(sending.send("t", b"after")) == "written"
    log = values(broker)
    assert log[0] == b"before"
    assert log[-1] == b"after"
    assert len(log) == len(set(log)), log
    for number, one in enumerate(reported):
        assert one != "written" or b"%d" % number in log
        assert one != "not_written" or b"%d" % number not in log
    assert reported[0] == "unknown"


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_a_new_leader_that_refuses_the_first_and_takes_the_second(
    broker: Broker, refused: int
) -> None:
    broker.create_topic("new")
    broker.fail("Produce", ErrorCode.NOT_LEADER_OR_FOLLOWER, times=refused)
    with producer(broker, batch_size=1) as sending:
        deliveries = [sending.send("new", b"%d" % number) for number in range(20)]
        assert outcomes(deliveries) == ["written"] * 20
    assert values(broker, "new") == [b"%d" % number for number in range(20)]
    assert [delivery.offset for delivery in deliveries] == list(range(20))


def test_a_forgotten_producer_loses_nothing_after_a_pause(broker: Broker) -> None:
    with producer(broker, batch_size=1) as sending:
        for number in range(10):
            assert outcome(sending.send("t", b"%d" % number)) == "written"
        broker.forget_producer("t")
        later = [sending.send("t", b"%d" % number) for number in range(10, 20)]
        assert outcomes(later) == ["written"] * 10
    assert values(broker) == [b"%d" % number for number in range(20)]
