"""Log lines about a hold: one for each event, and none about failures, which the flow reports by itself."""

from __future__ import annotations

import logging

import pytest

from ottla.producer.hold_log import HoldLine, lines_of
from ottla.producer.verdict import judge
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.producing import Held
from tests.unit.producer.test_verdict import LOST, batch, held

BROKER = {"node": 1, "address": "broker:9092"}


def lines(story: Held, *, idempotent: bool = True, gapless: bool = False) -> list[HoldLine]:
    verdict = judge(story, idempotent=idempotent, gapless=gapless)
    return list(lines_of(story, verdict, BROKER, idempotent=idempotent))


def test_a_retried_code_has_a_line_with_its_name_and_the_broker() -> None:
    refused = batch(ErrorCode.NOT_ENOUGH_REPLICAS, message="1 of 2")
    behind = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    reason = "NOT_ENOUGH_REPLICAS (19) (1 of 2)"
    assert lines(held(refused, behind, behind)) == [
        (logging.WARNING, "batch.refused", 1, {**BROKER, "reason": reason})
    ]


@pytest.mark.parametrize(
    ("code", "attempts", "level"),
    [
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, 1, logging.INFO),
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, 3, logging.WARNING),
        (ErrorCode.KAFKA_STORAGE_ERROR, 1, logging.WARNING),
        (ErrorCode.NOT_ENOUGH_REPLICAS, 1, logging.WARNING),
    ],
)
def test_a_leader_that_moved_is_no_warning_at_first(
    code: ErrorCode, attempts: int, level: int
) -> None:
    (line,) = lines(held(batch(code, attempts=attempts)))
    assert line.level == level


def test_a_batch_that_fails_has_no_line() -> None:
    assert lines(held(batch(ErrorCode.POLICY_VIOLATION))) == []
    assert lines(held(batch(ErrorCode.MESSAGE_TOO_LARGE, records=1))) == []
    assert lines(held(batch(ErrorCode.NOT_ENOUGH_REPLICAS, expired=True))) == []


def test_with_gapless_no_line_claims_retries_behind_a_failure() -> None:
    story = held(
        batch(ErrorCode.INVALID_RECORD),
        batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        batch(ErrorCode.NOT_ENOUGH_REPLICAS),
    )
    assert lines(story, gapless=True) == []
    (line,) = lines(story)
    assert line.fields["reason"].startswith("NOT_ENOUGH_REPLICAS")


def test_a_lost_identity_of_the_first_batch_is_one_line() -> None:
    story = held(
        batch(ErrorCode.UNKNOWN_PRODUCER_ID), batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    )
    reason = "UNKNOWN_PRODUCER_ID (59)"
    assert lines(story) == [
        (logging.WARNING, "batch.identity_refused", 1, {**BROKER, "reason": reason})
    ]


@pytest.mark.parametrize(
    ("idempotent", "promise"),
    [(True, "nothing is written twice"), (False, "may be written twice")],
)
def test_a_lost_connection_has_a_line_with_the_next_step_of_its_batches(
    idempotent: bool, promise: str
) -> None:
    (line,) = lines(held(batch(None), batch(None), cause=LOST), idempotent=idempotent)
    assert line[:3] == (logging.WARNING, "batch.unanswered", 2)
    assert line.fields.items() >= BROKER.items()
    assert line.fields["reason"] == "closed by the broker, 2 requests unanswered"
    assert promise in line.fields["next_step"]


def test_a_split_is_no_warning() -> None:
    (line,) = lines(held(batch(ErrorCode.MESSAGE_TOO_LARGE)))
    assert line == (logging.INFO, "batch.split", 1, {})
