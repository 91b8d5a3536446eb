"""What the log says of a hold: once for each thing that happened, and nothing of what the flow tells by itself."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ottla.producer.hold_log import lines_of
from ottla.producer.verdict import Held, judge
from ottla.protocol.error_codes import ErrorCode
from tests.unit.producer.test_verdict import batch, held

NODE = "node 1 at broker:9092"
LOST = "lost:eof:closed by the broker, 2 requests unanswered"


def told(story: Held, *, idempotent: bool = True, gapless: bool = False) -> list[tuple[Any, ...]]:
    verdict = judge(story, idempotent=idempotent)
    return [
        tuple(line)[:3]
        for line in lines_of(story, verdict, NODE, idempotent=idempotent, gapless=gapless)
    ]


def test_a_retried_code_is_told_by_name_with_the_node_and_how_long_it_is_tried() -> None:
    refused = batch(ErrorCode.NOT_ENOUGH_REPLICAS, error_message="1 of 2")
    behind = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    assert told(held(refused, behind, behind)) == [
        (
            logging.WARNING,
            "node 1 at broker:9092 answered NOT_ENOUGH_REPLICAS (19) (1 of 2) to {count:batch} of {places}: sent again until "
            "delivery_timeout_ms have passed",
            1,
        )
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
    ((told_level, _, _),) = told(held(batch(code, attempts=attempts)))
    assert told_level == level


def test_what_fails_is_left_to_the_line_about_the_failure() -> None:
    assert told(held(batch(ErrorCode.POLICY_VIOLATION))) == []
    assert told(held(batch(ErrorCode.MESSAGE_TOO_LARGE, records=1))) == []
    assert told(held(batch(ErrorCode.NOT_ENOUGH_REPLICAS, expired=True))) == []


def test_with_gapless_nothing_is_said_to_go_again_behind_a_failure() -> None:
    story = held(
        batch(ErrorCode.INVALID_RECORD),
        batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        batch(ErrorCode.NOT_ENOUGH_REPLICAS),
    )
    assert told(story, gapless=True) == []
    lines = [line for _, line, _ in told(story)]
    assert "OUT_OF_ORDER_SEQUENCE_NUMBER" not in " ".join(lines)
    assert len(lines) == 1


def test_a_lost_identity_at_the_head_is_told_once() -> None:
    ((level, line, count),) = told(
        held(
            batch(ErrorCode.UNKNOWN_PRODUCER_ID),
            batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        )
    )
    assert (level, count) == (logging.WARNING, 1)
    assert "UNKNOWN_PRODUCER_ID (59) to {count:batch} of {places}: sent again under a new" in line


@pytest.mark.parametrize(
    ("idempotent", "promise"),
    [(True, "nothing is there twice"), (False, "may be there twice")],
)
def test_a_lost_connection_is_told_in_words_with_what_becomes_of_its_batches(
    idempotent: bool, promise: str
) -> None:
    ((level, line, count),) = told(
        held(batch(None), batch(None), cause=LOST), idempotent=idempotent
    )
    assert (level, count) == (logging.WARNING, 2)
    assert "connection to node 1 at broker:9092 was lost (closed by the broker, 2 req" in line
    assert promise in line


def test_a_split_is_no_warning() -> None:
    ((level, line, count),) = told(held(batch(ErrorCode.MESSAGE_TOO_LARGE)))
    assert (level, count) == (logging.INFO, 1)
    assert line.startswith("{count:batch} of {places} over max.message.bytes of the topic")


@pytest.mark.parametrize(
    ("code", "lasts"),
    [
        (ErrorCode.NOT_ENOUGH_REPLICAS, True),
        (ErrorCode.UNKNOWN_PRODUCER_ID, False),
        (None, False),
    ],
)
def test_a_refusal_is_no_longer_true_once_the_partition_flows(
    code: ErrorCode | None, lasts: bool
) -> None:
    story = held(batch(code), cause="answer" if code else LOST)
    verdict = judge(story, idempotent=True)
    (line,) = lines_of(story, verdict, NODE, idempotent=True, gapless=False)
    assert line.lasts is lasts
