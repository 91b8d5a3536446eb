"""Equal log lines become one, no occurrence is left out of its count, and a condition that has ended is not repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ottla.observe.log import ProcessLog
from ottla.observe.summary import AGAIN_S, EVERY_S, GATHER_S, LONGEST_S, Place, Summary
from tests.fixtures.logged import Logged

if TYPE_CHECKING:
    from ottla.observe.log_names import LogName


class Bench:
    """A summary, its log and its clock, which the test moves."""

    def __init__(self, logged: Logged) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.logged = logged
        self.summary = Summary(
            ProcessLog("outbox"), lambda seconds, step: self.due.append((seconds, step))
        )

    def move(self) -> float:
        """Take the next step that is due. Returns the seconds that it waited for."""
        seconds, step = self.due.pop(0)
        step()
        return seconds

    def failed(self, place: Place = ("t", 0), count: int = 1) -> None:
        self.summary.add(
            logging.ERROR,
            "batch.failed",
            place,
            count=count,
            outcome="unknown",
            reason="r",
            next_step="n",
        )

    def refused(self, place: Place = ("t", 0), reason: str = "r") -> None:
        """A condition."""
        self.summary.add(
            logging.WARNING, "batch.refused", place, node=1, address="a:1", reason=reason
        )

    def split(self, place: Place = ("t", 0)) -> None:
        """An occurrence below ERROR."""
        self.summary.add(logging.INFO, "batch.split", place)

    def lines(self, *events: LogName) -> list[tuple[Any, ...]]:
        """Event, places and count of each line."""
        records = [record.__dict__ for record in self.logged(*events)]
        return [(record["event"], record["places"], record["count"]) for record in records]


@pytest.fixture
def bench(logged: Logged) -> Bench:
    return Bench(logged)


def test_a_hundred_lines_of_a_moment_are_one(bench: Bench) -> None:
    for number in range(100):
        bench.failed(("t", number % 5), 2)
    assert bench.logged() == []
    assert bench.move() == GATHER_S
    (record,) = bench.logged("batch.failed", level=logging.ERROR, count=200, topic="t")
    assert record.__dict__["places"] == ["t-0", "t-1", "t-2", "t-3", "t-4"]
    assert "partition" not in record.__dict__, "they have only the topic in common"
    assert "t-0, t-1, t-2 and 2 more" in record.getMessage()


def test_a_line_about_one_place_has_its_fields(bench: Bench) -> None:
    bench.failed(("t", 3))
    bench.summary.add(logging.INFO, "connection.throttled", {"node": 2, "address": "a:1"}, count=40)
    bench.move()
    bench.move()
    assert bench.logged("batch.failed", topic="t", partition=3)
    assert bench.logged("connection.throttled", node=2, address="a:1", count=40)


def test_later_errors_are_one_line_a_second_until_there_are_none(bench: Bench) -> None:
    bench.failed()
    bench.move()
    bench.failed(("t", 1), 3)
    bench.failed(("t", 1), 4)
    assert len(bench.lines()) == 1
    assert bench.move() == EVERY_S
    assert bench.lines()[1:] == [("batch.failed", ["t-1"], 7)]
    assert bench.move() == EVERY_S
    assert bench.due == []
    bench.failed()
    assert bench.move() == GATHER_S


def test_another_reason_is_another_line(bench: Bench) -> None:
    bench.refused()
    bench.refused(reason="another")
    assert (bench.move(), bench.move()) == (GATHER_S, GATHER_S)
    assert len(bench.lines("batch.refused")) == 2


def test_occurrences_below_error_are_summed_up_over_longer_and_longer_pauses(bench: Bench) -> None:
    pauses = []
    for _ in range(6):
        bench.split()
        bench.split()
        pauses.append(bench.move())
    assert pauses == [GATHER_S, AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S, 8 * AGAIN_S, LONGEST_S]
    assert bench.lines() == [("batch.split", ["t-0"], 2)] * 6
    bench.move()
    assert bench.due == []
    bench.split()
    assert bench.move() == GATHER_S


def test_a_condition_is_repeated_by_its_next_occurrence_after_the_pause(bench: Bench) -> None:
    bench.refused()
    bench.move()
    bench.refused(("t", 1))
    assert bench.move() == AGAIN_S
    assert len(bench.lines()) == 1, "it may have ended"
    bench.refused()
    assert [bench.move(), bench.move()] == [2 * AGAIN_S, GATHER_S]
    assert bench.lines()[1:] == [("batch.refused", ["t-1", "t-0"], 2)]
    bench.refused()
    assert bench.move() == 2 * AGAIN_S
    assert len(bench.lines()) == 2


def test_a_condition_that_does_not_recur_is_not_repeated(bench: Bench) -> None:
    for times in (1, 2):
        bench.refused()
        assert bench.move() == GATHER_S
        bench.refused()
        assert [bench.move(), bench.move()] == [AGAIN_S, 2 * AGAIN_S]
        assert bench.due == []
        assert len(bench.lines()) == times, "the next occurrence is a new beginning"


def test_a_condition_that_has_ended_in_a_place_is_not_repeated_there(bench: Bench) -> None:
    bench.refused()
    bench.refused(("t", 1))
    bench.move()
    bench.refused()
    bench.refused(("t", 1))
    bench.summary.ended("batch.refused", ("t", 0))
    bench.move()
    bench.refused(("t", 1))
    bench.due.pop(0)
    bench.move()
    assert bench.lines()[1] == ("batch.refused", ["t-1"], 3)


def test_a_condition_that_begins_again_after_its_end_is_a_new_beginning(bench: Bench) -> None:
    for times in (1, 2):
        bench.refused()
        assert len(bench.lines()) == times - 1
        bench.summary.ended("batch.refused", ("t", 0))
        assert len(bench.lines()) == times, "written before the line about the recovery"
    while bench.due:
        bench.move()
    assert len(bench.lines()) == 2


def test_the_end_of_another_condition_changes_nothing(bench: Bench) -> None:
    bench.refused()
    bench.split()
    bench.summary.ended("batch.refused", ("t", 1))
    bench.summary.ended("partition.unroutable", ("t", 0))
    assert bench.lines() == []
    bench.move()
    bench.move()
    assert len(bench.lines()) == 2


def test_the_end_of_the_summary_writes_the_rest(bench: Bench) -> None:
    bench.failed()
    bench.summary.stop()
    bench.failed(("t", 1))
    assert bench.lines() == [("batch.failed", ["t-0"], 1), ("batch.failed", ["t-1"], 1)]


def test_the_end_of_the_summary_repeats_no_condition(bench: Bench) -> None:
    bench.refused()
    bench.failed()
    bench.move()
    bench.move()
    bench.refused()
    bench.failed()
    bench.refused(reason="another")
    bench.logged.clear()
    bench.summary.stop()
    assert bench.logged.events() == ["batch.failed", "batch.refused"]
    assert bench.logged("batch.refused", reason="another")
