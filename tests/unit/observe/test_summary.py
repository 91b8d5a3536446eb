"""Many equal log lines become one, and none of them is left out of its count."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from ottla.observe.summary import EVERY_S, GATHER_S, Summary

FAILED = "{count} messages to {places} failed"


class Hands:
    """The clock, moved by hand."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        self.due.append((seconds, function))

    def move(self) -> float:
        seconds, function = self.due.pop()
        function()
        return seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def summary(hands: Hands, caplog: pytest.LogCaptureFixture) -> Summary:
    caplog.set_level(logging.INFO)
    return Summary(logging.getLogger("ottla.outbox"), hands.later)


def test_a_hundred_lines_of_a_moment_are_one(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(100):
        summary.add(logging.ERROR, FAILED, f"t-{number % 5}", 2)
    assert caplog.messages == []
    assert hands.move() == GATHER_S
    assert caplog.messages == ["200 messages to t-0, t-1, t-2 and 2 more failed"]
    assert caplog.records[0].levelno == logging.ERROR


def test_what_follows_is_told_once_a_second_until_it_is_quiet(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    summary.add(logging.ERROR, FAILED, "t-0")
    hands.move()
    summary.add(logging.ERROR, FAILED, "t-1", 3)
    summary.add(logging.ERROR, FAILED, "t-1", 4)
    assert len(caplog.messages) == 1
    assert hands.move() == EVERY_S
    assert caplog.messages[1:] == ["7 messages to t-1 failed"]
    assert hands.move() == EVERY_S
    assert hands.due == []
    summary.add(logging.ERROR, FAILED, "t-0")
    assert hands.move() == GATHER_S


def test_different_reasons_are_different_lines(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    summary.add(logging.ERROR, FAILED, "t-0")
    summary.add(logging.WARNING, "{places}: {held}", "t-0")
    hands.move()
    assert caplog.messages == ["1 messages to t-0 failed", "t-0: {held}"]


def test_the_end_leaves_nothing_untold(summary: Summary, caplog: pytest.LogCaptureFixture) -> None:
    summary.add(logging.ERROR, FAILED, "t-0")
    summary.stop()
    summary.add(logging.ERROR, FAILED, "t-1")
    assert caplog.messages == ["1 messages to t-0 failed", "1 messages to t-1 failed"]
