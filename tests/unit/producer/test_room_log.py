"""What the log says of a buffer that stays full: once, and not of one that merely fills again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from ottla.observe.log import ClientLog
from ottla.producer.room_log import QUIET_S, RoomLog


class Bench:
    """The flow, the time and the loop of a `RoomLog`."""

    def __init__(self) -> None:
        self.accepted: int | None = None
        self.time = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        log = ClientLog("accumulator", "producer orders")
        self.room = RoomLog(self, log, 60_000, self._later, lambda: self.time)

    def still_full(self) -> int | None:
        return self.accepted

    def budget(self, most: int) -> dict[str, Any]:
        return {"told": "buffer_memory is full: all of it wait for t-0"}

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append((self.time + seconds, call))

    def lacking(self, accepted: int) -> None:
        self.accepted = accepted
        self.room.lacking(accepted)

    def pass_(self, seconds: float) -> None:
        end = self.time + seconds
        while self.later and self.later[0][0] <= end:
            self.time, call = self.later.pop(0)
            call()
        self.time = end


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    caplog.set_level(logging.INFO, "ottla")

    def take() -> list[tuple[str, str]]:
        told = [(record.levelname, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return told

    return take


WARNED = (
    "WARNING",
    "[producer orders] buffer_memory is full: all of it wait for t-0. send() waits in line at most max_block_ms (60000), "
    "and raises BufferFull then",
)

Lines = Callable[[], list[tuple[str, str]]]


def test_a_standstill_is_one_warning_and_its_end_one_line(lines: Lines) -> None:
    bench = Bench()
    bench.lacking(7)
    bench.pass_(0.9)
    assert lines() == []
    bench.pass_(0.2)
    assert lines() == [WARNED]
    bench.pass_(300)
    assert lines() == []
    bench.accepted = None
    bench.pass_(1)
    assert lines() == [("INFO", "[producer orders] messages are accepted again, after 301.5 s")]
    assert bench.later == [], "nothing is looked at while there is room"


def test_senders_that_are_merely_faster_than_the_brokers_are_no_line(lines: Lines) -> None:
    bench = Bench()
    bench.lacking(0)
    for accepted in range(1, 100):
        bench.accepted = accepted
        bench.pass_(0.9)
    assert lines() == []
    assert len(bench.later) == 1


def test_one_that_fills_again_is_told_again_only_after_a_while(lines: Lines) -> None:
    bench = Bench()
    for _ in range(3):
        bench.lacking(1)
        bench.pass_(5)
        bench.accepted = None
        bench.pass_(1)
    assert [level for level, _ in lines()] == ["WARNING", "INFO"]
    bench.pass_(QUIET_S)
    bench.lacking(2)
    bench.pass_(2)
    assert lines() == [WARNED]


def test_nothing_is_told_after_the_end(lines: Lines) -> None:
    bench = Bench()
    bench.lacking(1)
    bench.room.stop()
    bench.pass_(5)
    assert (lines(), bench.later) == ([], [])
