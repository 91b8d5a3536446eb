"""A buffer that stays full has one warning, and one that merely fills again and again has none."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ottla.observe.log import ClientLog
from ottla.producer.buffer_log import QUIET_S, BufferLog
from ottla.seam.budget import Budget, InFlight, Place, Share
from tests.fixtures.logged import Logged

WARNED = {
    "event": "buffer.full",
    "client": "producer orders",
    "reason": "buffer_memory (1000 bytes) is full; 1000 bytes queued for t-0 (not in flight yet)",
    "max_block_ms": 60_000,
}


class Bench:
    """The flow, the time and the loop of a `BufferLog`."""

    def __init__(self) -> None:
        self.accepted: int | None = None
        self.time = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        log = ClientLog("accumulator", "producer orders")
        self.buffer_log = BufferLog(self, log, 60_000, self._later, lambda: self.time)

    def still_full(self) -> int | None:
        return self.accepted

    def budget(self, holders: int) -> Budget:
        share = Share(InFlight(None, None), 1000, [Place("t", 0)], 0)
        return Budget(1000, 1000, 1, True, False, [], share, share)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append((self.time + seconds, call))

    def fill(self, accepted: int) -> None:
        self.accepted = accepted
        self.buffer_log.begin(accepted)

    def pass_(self, seconds: float) -> None:
        end = self.time + seconds
        while self.later and self.later[0][0] <= end:
            self.time, call = self.later.pop(0)
            call()
        self.time = end


def test_a_standstill_is_one_warning_and_its_end_one_line(logged: Logged) -> None:
    bench = Bench()
    bench.fill(7)
    bench.pass_(0.9)
    assert logged() == []
    bench.pass_(0.2)
    (full,) = logged(level=logging.WARNING)
    assert full.__dict__.items() >= WARNED.items()
    bench.pass_(300)
    assert len(logged()) == 1
    bench.accepted = None
    bench.pass_(1)
    assert logged("buffer.free", elapsed_s=301.5)
    assert len(logged()) == 2
    assert bench.later == [], "no check while there is free space"


def test_senders_that_are_merely_faster_than_the_brokers_are_no_line(logged: Logged) -> None:
    bench = Bench()
    bench.fill(0)
    for accepted in range(1, 100):
        bench.accepted = accepted
        bench.pass_(0.9)
    assert logged() == []
    assert len(bench.later) == 1


def test_one_that_fills_again_has_a_second_warning_only_after_a_minute(logged: Logged) -> None:
    bench = Bench()
    for _ in range(3):
        bench.fill(1)
        bench.pass_(5)
        bench.accepted = None
        bench.pass_(1)
    assert logged.events(logging.INFO) == ["buffer.full", "buffer.free"]
    bench.pass_(QUIET_S)
    bench.fill(2)
    bench.pass_(2)
    assert logged.events(logging.INFO) == ["buffer.full", "buffer.free", "buffer.full"]


def test_no_line_follows_the_end(logged: Logged) -> None:
    bench = Bench()
    bench.fill(1)
    bench.buffer_log.stop()
    bench.pass_(5)
    assert (logged(), bench.later) == ([], [])
