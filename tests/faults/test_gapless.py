"""`gapless`: no message in the log without those that were accepted before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import ottla
from ottla.protocol.error_codes import ErrorCode
from ottla.testing import Broker
from tests.faults.support import WAIT_S, code_of, outcome, outcomes, producer, values


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        running.create_topic("t", 2)
        yield running


def refuse_one(broker: Broker, *, gapless: bool, **config: Any) -> list[ottla.Delivery]:
    """Ten batches, of which the broker refuses the third finally; then another message."""
    with producer(broker, gapless=gapless, batch_size=1, **config) as sending:
        assert outcome(sending.send("t", b"before", partition=0)) == "written"
        asked = broker.count("Produce")
        broker.delay("Produce", 0.05)
        broker.delay("Produce", 0)
        broker.fail("Produce", ErrorCode.POLICY_VIOLATION)
        deliveries = [sending.send("t", b"%d" % number, partition=0) for number in range(10)]
        broker.wait_for("Produce", asked + 3)
        other = sending.send("t", b"other", partition=1)
        reported = outcomes(deliveries)
        assert outcome(other) == "written"
        assert outcome(sending.send("t", b"after", partition=0)) == "written"
        assert reported[:3] == ["written", "written", "not_written"]
    return deliveries


def test_every_message_after_a_failure_fails(broker: Broker) -> None:
    deliveries = refuse_one(broker, gapless=True)
    assert outcomes(deliveries[3:]) == ["not_written"] * 7
    assert code_of(deliveries[2]) == ErrorCode.POLICY_VIOLATION
    for delivery in deliveries[3:]:
        error = delivery.exception(0)
        assert isinstance(error, ottla.EarlierMessageFailed)
        assert "POLICY_VIOLATION (44)" in str(error)
        assert type(error.__cause__) is type(deliveries[2].error)
    assert values(broker) == [b"before", b"0", b"1", b"after"]


def test_without_gapless_only_the_refused_message_fails(broker: Broker) -> None:
    deliveries = refuse_one(broker, gapless=False)
    assert outcomes(deliveries[3:]) == ["written"] * 7
    assert values(broker) == [b"before", b"0", b"1", *(b"%d" % n for n in range(3, 10)), b"after"]


def test_records_after_the_refused_one_of_the_same_batch_fail(broker: Broker) -> None:
    broker.create_topic("c", config={"cleanup.policy": "compact"})
    with producer(broker, gapless=True, linger_ms=50) as sending:
        deliveries = [
            sending.send("c", b"%d" % number, key=None if number == 2 else b"k")
            for number in range(5)
        ]
        sending.flush(WAIT_S)
        assert outcomes(deliveries) == ["written"] * 2 + ["not_written"] * 3
        assert code_of(deliveries[2]) == ErrorCode.INVALID_RECORD
        for behind in deliveries[3:]:
            error = behind.exception(0)
            assert isinstance(error, ottla.EarlierMessageFailed)
            assert "without key" in str(error)
            assert type(error.__cause__) is type(deliveries[2].error)
        assert outcome(sending.send("c", b"after", key=b"k")) == "written"
    assert values(broker, "c") == [b"0", b"1", b"after"]


def test_messages_after_an_expired_one_fail(broker: Broker) -> None:
    with producer(broker, gapless=True, batch_size=1) as sending:
        assert outcome(sending.send("t", b"before", partition=0)) == "written"
        broker.delay("Produce", 3600, times=None)
        deliveries = [sending.send("t", b"%d" % number, partition=0) for number in range(8)]
        reported = outcomes(deliveries)
        assert reported == ["unknown"] * 5 + ["not_written"] * 3, "five were in flight"
        broker.clear_rules()
        assert outcome(sending.send("t", b"after", partition=0)) == "written"
    assert values(broker) == [b"before", b"after"]


def test_gapless_needs_idempotence() -> None:
    for config in ({"acks": 0}, {"acks": 1}, {"enable_idempotence": False}):
        with pytest.raises(ottla.ConfigError, match="gapless"):
            ottla.Producer("127.0.0.1:1", gapless=True, **config)
