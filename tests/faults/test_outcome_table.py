"""The page of outcomes is what the producer does, and the judge of it can say no."""

from __future__ import annotations

import pytest

from tests.faults.outcome_table import PAGE, WrongOutcomeError, judge, page


def test_the_page_says_what_the_producer_does() -> None:
    made = page()
    assert made == PAGE.read_text(), "write it again: python -m tests.faults.outcome_table"


@pytest.mark.parametrize(
    ("told", "copies", "mode"),
    [
        ("not_written", 1, "idempotent"),
        ("written", 0, "idempotent"),
        ("written", 2, "idempotent"),
        ("unknown", 2, "idempotent"),
        ("not_written", 1, "acks=1"),
        ("written", 0, "acks=all"),
    ],
)
def test_the_judge_says_no(told: str, copies: int, mode: str) -> None:
    with pytest.raises(WrongOutcomeError):
        judge(told, copies, mode=mode, what="a lie")
