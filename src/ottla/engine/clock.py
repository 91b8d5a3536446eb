"""Clocks: state machines receive `now`, the engine thread sleeps by its clock, tests move a clock of their own.

A clock belongs to one event loop's thread.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Protocol

from ottla.virtual_time import SystemClock, monotonic


class Clock(Protocol):
    """The engine's source of time."""

    def now(self) -> float:
        """Seconds that never decrease, counted from an arbitrary moment."""

    async def sleep(self, seconds: float) -> None:
        """Return once this number of seconds has passed by this clock."""


class LoopClock:
    """The clock of the engine's loop.

    Args:
        system: Source of the loop's time.
    """

    def __init__(self, system: SystemClock) -> None:
        self._system = system

    def now(self) -> float:
        """Seconds that never decrease: `Clock.now`. Threads: any."""
        return self._system.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep: `Clock.sleep`."""
        await asyncio.sleep(max(0.0, seconds))


class Deadline:
    """The moment at which a call of the application has to end, over all its waits.

    Args:
        timeout: Seconds from now; None: no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else monotonic() + timeout

    def left(self) -> float | None:
        """Seconds left, at least 0; None: no limit."""
        return None if self._end is None else max(0.0, self._end - monotonic())


class ManualClock:
    """A clock that stands still until `advance` moves it. For tests."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """The current time: `Clock.now`."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Sleep until `advance` has passed the time: `Clock.sleep`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    def sleeping(self) -> list[float]:
        """Remaining seconds of each sleeper, the shortest first, without cancelled ones."""
        return [due - self._now for due, _, future in sorted(self._sleepers) if not future.done()]

    async def advance(self, seconds: float) -> None:
        """Move the time: wake the sleepers in the order of their times, and run the loop until it is idle after each."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not future.done():
                future.set_result(None)
                await settle()
        self._now = end


async def settle(turns: int = 30) -> None:
    """Run the ready tasks of the running loop for this number of turns."""
    for _ in range(turns):
        await asyncio.sleep(0)
