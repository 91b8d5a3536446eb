"""The page of outcomes agrees with the producer, and the judge of it can refuse."""

from __future__ import annotations

import pytest

from ottla.protocol.error_codes import ErrorCode
from tests.faults.outcome_table import (
    PAGE,
    UNKNOWN_CODE,
    WAYS,
    WrongOutcomeError,
    code_lines,
    judge,
    page,
    way_lines,
)

CODES = (
    ErrorCode.CORRUPT_MESSAGE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.DUPLICATE_SEQUENCE_NUMBER,
    ErrorCode.INVALID_PRODUCER_EPOCH,
    UNKNOWN_CODE,
)
"""One for each kind of answer: resent, split, failed at once, recovered under a new epoch, written, unknown."""


def test_some_lines_of_the_page_agree_with_the_producer() -> None:
    lines = set(PAGE.read_text().splitlines())
    assert set(code_lines(CODES)) <= lines
    assert set(way_lines(WAYS[2:3])) <= lines


@pytest.mark.thorough
def test_the_page_agrees_with_the_producer() -> None:
    made = page()
    assert made == PAGE.read_text(), "write it again: python -m tests.faults.outcome_table"


@pytest.mark.parametrize(
    ("reported", "copies", "mode"),
    [
        ("not_written", 1, "idempotent"),
        ("written", 0, "idempotent"),
        ("written", 2, "idempotent"),
        ("unknown", 2, "idempotent"),
        ("not_written", 1, "acks=1"),
        ("written", 0, "acks=all"),
    ],
)
def test_the_judge_refuses(reported: str, copies: int, mode: str) -> None:
    with pytest.raises(WrongOutcomeError):
        judge(reported, copies, mode=mode, what="a lie")
