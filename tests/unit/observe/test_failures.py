"""The exceptions and words for failures and waits that Rust reports as kinds and numbers."""

from __future__ import annotations

from typing import get_args

import pytest

from ottla import errors, kafka_errors
from ottla.observe import failures
from ottla.observe.budget import cause_text, full_text, share_text
from ottla.observe.failures import error_from, error_of, failure_text
from ottla.observe.troubles import trouble_text
from ottla.seam.budget import Budget, InFlight, Place, Share
from ottla.seam.failures import (
    EarlierFailed,
    ErrorData,
    ErrorKind,
    Failure,
    GivenUp,
    NoSuchPartition,
    Refused,
    Reported,
    Silent,
    Stage,
    Throttling,
    TimedOut,
    Unreadable,
)

DENIED = Failure(GivenUp(ErrorData("broker", 29, "no")), "not_written")


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_every_kind_of_error_has_its_class_and_keeps_its_place(kind: ErrorKind) -> None:
    error = error_from(ErrorData(kind, 19, "text"), "orders", 3, "unknown")
    assert "text" in str(error)
    if kind != "no_brokers":
        assert (error.topic, error.partition, error.outcome) == ("orders", 3, "unknown")
    if kind == "broker":
        assert isinstance(error, kafka_errors.NotEnoughReplicas)
    assert failures.error_data(error_from(ErrorData(kind, 0, "text"))).kind == kind


def test_a_refusal_of_a_broker_is_its_own_reason() -> None:
    error = error_of(DENIED, "orders", 1)
    assert str(error) == "TOPIC_AUTHORIZATION_FAILED (29): no [orders-1, outcome not_written]"
    assert error.__cause__ is None


def test_abandoned_messages_have_the_reason_of_their_wait_as_cause() -> None:
    no_topic = Reported("no such topic", ErrorData("broker", 3, "so it is"))
    given_up = Failure(GivenUp(ErrorData("closed", 0, "closed"), no_topic), "not_written")
    error = error_of(given_up, "orders", 1)
    assert isinstance(error, errors.Closed)
    assert error.message == "closed: no such topic"
    assert isinstance(error.__cause__, kafka_errors.UnknownTopicOrPartition)
    assert str(error.__cause__) == "UNKNOWN_TOPIC_OR_PARTITION (3): so it is [orders-1]"
    forgotten = Failure(GivenUp(ErrorData("closed", 0, "")), "unknown")
    assert failure_text(forgotten) == "the producer is gone"


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("metadata", "the topic's metadata did not come before delivery_timeout_ms"),
        ("sending", "it could not be sent before delivery_timeout_ms"),
        ("answer", "no answer came before delivery_timeout_ms"),
        ("acknowledgement", "it was not acknowledged before delivery_timeout_ms"),
    ],
)
def test_a_delivery_timeout_names_the_lack_and_the_reason(stage: Stage, text: str) -> None:
    error = error_of(Failure(TimedOut(stage, None), "unknown"), "orders", None)
    assert isinstance(error, errors.DeliveryTimeout)
    assert str(error) == f"{text} [orders, outcome unknown]"
    error = error_of(Failure(TimedOut(stage, Refused(56)), "unknown"), "orders", 1)
    assert error.message == f"{text}: the broker's last answer was KAFKA_STORAGE_ERROR (56)"
    assert isinstance(error.__cause__, kafka_errors.KafkaStorageError)
    assert (error.__cause__.topic, error.__cause__.partition) == ("orders", 1)


def test_an_earlier_failure_is_named_and_is_the_cause() -> None:
    error = error_of(Failure(EarlierFailed(DENIED), "unknown"), "orders", 1)
    assert isinstance(error, errors.EarlierMessageFailed)
    first = "TOPIC_AUTHORIZATION_FAILED (29): no"
    assert error.message == f"a message before it in the partition failed: {first}"
    assert error.outcome == "unknown"
    assert isinstance(error.__cause__, kafka_errors.TopicAuthorizationFailed)
    assert error.__cause__.outcome == "not_written"


def test_other_causes() -> None:
    missing = Failure(NoSuchPartition(7, 3), "not_written")
    assert failure_text(missing) == (
        "UNKNOWN_TOPIC_OR_PARTITION (3): partition 7 does not exist: the topic has 3"
    )
    assert failure_text(Failure(Unreadable(10), "not_written")).startswith("MESSAGE_TOO_LARGE (10)")


def test_waits_in_words() -> None:
    assert trouble_text(Reported("no leader", None)) == "no leader"
    assert trouble_text(Silent(1, "b:1", 3.04)) == "node 1 at b:1 has not answered for 3.0 s"
    assert trouble_text(Throttling(1, "b:1", 0.5)) == (
        "node 1 at b:1 throttles this producer for another 0.5 s"
    )
    assert "backoff" in trouble_text("backoff")
    assert trouble_text(Refused(19)) == "the broker's last answer was NOT_ENOUGH_REPLICAS (19)"


def test_holders_in_words() -> None:
    assert cause_text(InFlight(1, "b:1"), callbacks_due=False) == "in flight to node 1 at b:1"
    assert "metadata" in cause_text("metadata", callbacks_due=False)
    assert "not read" in cause_text("outcomes", callbacks_due=False)
    assert "callbacks" in cause_text("outcomes", callbacks_due=True)
    places = [Place("t", 0), Place("t", None), Place(None, None)]
    share = Share(Refused(19), 3 * 1024 * 1024, places, 4)
    names = "t-0, t, outcomes, 4 more"
    cause = "the broker's last answer was NOT_ENOUGH_REPLICAS (19)"
    assert share_text(share, callbacks_due=False) == f"{names} ({cause})"
    budget = Budget(9, 33_554_432, 1, True, False, [], share, share)
    assert full_text(budget) == (
        f"buffer_memory (33554432 bytes) is full; 3.0 MiB queued for {names} ({cause})"
    )
    for size, text in [(100, "100 bytes"), (1536, "1.5 KiB")]:
        smaller = budget._replace(largest=share._replace(size_bytes=size))
        assert f"; {text} queued" in full_text(smaller)
    assert full_text(budget._replace(largest=None)).endswith("is full")


def test_a_send_that_waits_for_its_topic_has_the_reason() -> None:
    error = failures.topic_pending("t", True, Reported("no broker", None))
    assert error.message.endswith("the partitioner chooses among them: no broker")
    assert (error.topic, error.outcome) == ("t", "not_written")
    assert "earlier sends" in failures.topic_pending("t", False, None).message
