"""Many equal log lines become one, and none of them is left out of its count."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from ottla.observe.summary import AGAIN_S, EVERY_S, GATHER_S, LONGEST_S, Summary

FAILED = "{count:message} to {places} failed"
AGAIN = "{count:batch} of {places} again"


class Hands:
    """The clock, moved by hand."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        self.due.append((seconds, function))

    def move(self) -> float:
        seconds, function = self.due.pop(0)
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
    assert (hands.move(), hands.move()) == (GATHER_S, GATHER_S)
    assert caplog.messages == ["1 message to t-0 failed", "t-0: {held}"]


def test_what_goes_on_being_tried_is_told_less_and_less(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = []
    for _ in range(6):
        summary.add(logging.WARNING, AGAIN, "t-0")
        pauses.append(hands.move())
    assert pauses == [GATHER_S, AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S, 8 * AGAIN_S, LONGEST_S]
    assert caplog.messages == ["1 batch of t-0 again"] * 6
    hands.move()
    assert hands.due == [], "it is over"
    summary.add(logging.WARNING, AGAIN, "t-0", 2)
    assert hands.move() == GATHER_S
    assert caplog.messages[-1] == "2 batches of t-0 again"


def test_the_end_leaves_nothing_untold(summary: Summary, caplog: pytest.LogCaptureFixture) -> None:
    summary.add(logging.ERROR, FAILED, "t-0")
    summary.stop()
    summary.add(logging.ERROR, FAILED, "t-1")
    assert caplog.messages == ["1 message to t-0 failed", "1 message to t-1 failed"]


def test_the_end_repeats_nothing_that_was_only_being_tried(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    summary.add(logging.WARNING, AGAIN, "t-0")
    summary.add(logging.ERROR, FAILED, "t-0")
    hands.move()
    hands.move()
    summary.add(logging.WARNING, AGAIN, "t-0")
    summary.add(logging.ERROR, FAILED, "t-0")
    summary.add(logging.WARNING, "new: {places}", "t-0")
    caplog.clear()
    summary.stop()
    assert caplog.messages == ["1 message to t-0 failed", "new: t-0"]


def test_what_is_over_is_not_told_again(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = {"t-0", "t-1"}

    def still() -> set[str]:
        return waiting

    for _ in range(2):
        summary.add(logging.WARNING, AGAIN, "t-0", 2, still)
        summary.add(logging.WARNING, AGAIN, "t-1", 3, still)
        if not caplog.messages:
            hands.move()
    waiting.remove("t-0")
    assert hands.move() == AGAIN_S
    assert caplog.messages == ["5 batches of t-0, t-1 again", "3 batches of t-1 again"]
    summary.add(logging.WARNING, AGAIN, "t-1", 1, still)
    waiting.clear()
    hands.move()
    assert len(caplog.messages) == 2
    assert hands.due == []


def test_what_begins_anew_after_its_end_is_told_soon(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    waiting: set[str] = set()

    def still() -> set[str]:
        return waiting

    for times in (1, 2):
        waiting.add("t-0")
        summary.add(logging.WARNING, AGAIN, "t-0", 1, still)
        assert caplog.messages == ["1 batch of t-0 again"] * (times - 1)
        waiting.clear()
        # Before its time: the line that it is over is not to be the first.
        summary.over(still)
        assert caplog.messages == ["1 batch of t-0 again"] * times
    while hands.due:
        hands.move()
    assert len(caplog.messages) == 2


def test_the_end_of_something_else_changes_nothing(
    summary: Summary, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    summary.add(logging.WARNING, AGAIN, "t-0", 1, lambda: ["t-0"])
    summary.add(logging.WARNING, "{places} passed", "t-0")
    summary.over(list)
    assert caplog.messages == []
    hands.move()
    hands.move()
    assert caplog.messages == ["1 batch of t-0 again", "t-0 passed"]
