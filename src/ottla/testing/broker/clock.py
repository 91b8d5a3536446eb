"""The broker's time: real, real and jumping ahead, or standing still until a test moves it.

The loop of the broker's thread takes its time from here, so that every timer does: session timeouts, rebalance
timeouts, long polls, delays. Owned by the broker's thread.
"""

from __future__ import annotations

import asyncio
import time

_ROUNDS_AFTER_A_JUMP = 4
"""Rounds of the loop in which overdue timers fire and those whom they wake go on."""


class Clock:
    """Seconds for timers, and milliseconds since 1970 for records; both jump together."""

    def __init__(self, *, stands_still: bool = False) -> None:
        self._stands_still = stands_still
        self._started = time.monotonic()
        self._started_wall = time.time()
        self._skipped = 0.0

    def time(self) -> float:
        """Return seconds, from an arbitrary start on."""
        return self._started + self._elapsed()

    def wall_ms(self) -> int:
        """Return milliseconds since 1970."""
        return int((self._started_wall + self._elapsed()) * 1000)

    def skip(self, seconds: float) -> None:
        """Jump ahead."""
        self._skipped += seconds

    def _elapsed(self) -> float:
        passed = 0.0 if self._stands_still else time.monotonic() - self._started
        return passed + self._skipped


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a `Clock`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        super().__init__()

    def time(self) -> float:
        return self.clock.time()


async def advance(clock: Clock, seconds: float) -> None:
    """Jump ahead and let what is due happen."""
    clock.skip(seconds)
    for _ in range(_ROUNDS_AFTER_A_JUMP):
        await asyncio.sleep(0)
