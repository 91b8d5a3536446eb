"""Time, passed in: machines get `now`, the engine thread sleeps by its clock, tests turn the hands.

A clock belongs to one event loop's thread.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Protocol

from ottla.virtual_time import SystemClock, monotonic


class Clock(Protocol):
    """What the engine needs of time."""

    def now(self) -> float:
        """Seconds that only go forward; their zero means nothing."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""


class LoopClock:
    """The time that the engine's loop goes by.

    Args:
        system: What the loop takes its time from.
    """

    def __init__(self, system: SystemClock) -> None:
        self._system = system

    def now(self) -> float:
        """As `Clock.now`. Threads: any."""
        return self._system.time()

    async def sleep(self, seconds: float) -> None:
        """As `Clock.sleep`."""
        await asyncio.sleep(max(0.0, seconds))


class Deadline:
    """When a call of the user's has to be over, whatever it waits for one after the other.

    Args:
        timeout: Seconds from now; None: there is no end.
    """

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else monotonic() + timeout

    def left(self) -> float | None:
        """Seconds left, 0 where it is over; None: there is no end."""
        return None if self._end is None else max(0.0, self._end - monotonic())


class ManualClock:
    """Time that stands still until `advance` moves it. For tests."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """As `Clock.now`."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """As `Clock.sleep`: returns once `advance` has gone past the time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    def sleeping(self) -> list[float]:
        """Seconds that each sleeper still waits, the shortest first; those cancelled are left out."""
        return [due - self._now for due, _, future in sorted(self._sleepers) if not future.done()]

    async def advance(self, seconds: float) -> None:
        """Move time, waking sleepers in the order of their times, and let what they do settle after each."""
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
    """Let the running loop's ready tasks go on until nothing new happens."""
    for _ in range(turns):
        await asyncio.sleep(0)
