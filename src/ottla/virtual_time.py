"""Virtual time for tests: the clocks of the engine, of the I/O thread and of embedded brokers can jump ahead together.

Leaf. The event loops of the engine thread and of a broker's thread take their time from a `SystemClock`, and so do all their
timers: backoffs, deadlines, session timeouts, long polls. The I/O thread has its own clock (`crates/io/src/clock.rs`), which the
engine moves together with its own. The limits of calls (`timeout=`, `max_block_ms`) are real time: they bound the wait of a thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol


def monotonic() -> float:
    """Seconds of the system's own monotonic clock.

    Not `time.monotonic`: test libraries such as freezegun replace and stop it, and a wait for a client would never end.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC)


STEP_S = 0.25
"""Maximum time of one step, after which all due timers fire: below the longest backoff, and far below every time-out."""
_MOST_TURNS = 20
"""Maximum number of turns in one step: a thread of the test may send without a pause."""
_ROUNDS_AFTER_A_JUMP = 4
"""Rounds of an event loop in which overdue timers fire and the woken tasks run."""


class SystemClock:
    """Seconds for timers, and milliseconds since 1970 for records; both jump together.

    Args:
        stands_still: Whether time passes only by jumps.
    """

    def __init__(self, *, stands_still: bool = False) -> None:
        self._stands_still = stands_still
        self._started = monotonic()
        self._started_wall = time.time()
        self._skipped = 0.0

    def time(self) -> float:
        """Seconds since an arbitrary start. Threads: any."""
        return self._started + self._elapsed()

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return int((self._started_wall + self._elapsed()) * 1000)

    def skip(self, seconds: float) -> None:
        """Jump ahead. Threads: that of the event loop that uses the clock."""
        self._skipped += seconds

    def _elapsed(self) -> float:
        passed = 0.0 if self._stands_still else monotonic() - self._started
        return passed + self._skipped


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a `SystemClock`."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock
        super().__init__()

    def time(self) -> float:
        return self.clock.time()


async def jump(clock: SystemClock, seconds: float) -> None:
    """Jump ahead and let due timers fire, on the thread of the event loop that uses this clock."""
    clock.skip(seconds)
    for _ in range(_ROUNDS_AFTER_A_JUMP):
        await asyncio.sleep(0)


class Follower(Protocol):
    """The owner of a clock that jumps together with the clocks of all others."""

    def jump(self, seconds: float) -> int:
        """Jump ahead, and return when every due timer has fired; an owner that has ended does nothing. Threads: any.

        Returns:
            int: A different number than before if anything was sent or received in between.
        """


_followers: list[Follower] = []
_one_step = threading.Lock()
"""Held during a step: no follower ends within it, and two callers of `advance_time` take turns."""


def _forget_the_parent() -> None:
    """Drop the followers and the lock: their threads are those of the parent process."""
    global _one_step
    _followers.clear()
    _one_step = threading.Lock()


os.register_at_fork(after_in_child=_forget_the_parent)


def follow(follower: Follower) -> None:
    """Move the clock of the follower with the others, until `unfollow`. Threads: any."""
    _followers.append(follower)


def unfollow(follower: Follower) -> None:
    """No longer move its clock; waits for the end of the current step. Threads: any."""
    with _one_step:
        if follower in _followers:
            _followers.remove(follower)


def advance_time(seconds: float, until: Callable[[], object] | None = None) -> float:
    """Let time pass for every client and every embedded broker of this process, without waiting for it.

    Time passes in steps of a quarter of a second. A step begins when every thread of Ottla has fired the timers of the step
    before, and nothing is in flight between clients and brokers any more. So a slow machine makes a test slower and does not change
    its outcome, and two minutes of an outage take half a second:

        with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
            broker.kill(1)
            delivery = producer.send("orders", "one")
            advance_time(121, until=delivery.done)  # delivery_timeout_ms is two minutes
            assert isinstance(delivery.exception(), ottla.DeliveryTimeout)

    In addition time passes by itself, except for a broker with `virtual_time`. The limits of calls, `timeout` and `max_block_ms`,
    are always real time. The clocks of clients in other processes do not move.

    Args:
        seconds: Maximum time that passes, 0 or more.
        until: Called before each step, in the caller's thread; time stops when it returns a true value.

    Returns:
        float: The seconds that passed: `seconds`, or fewer if `until` became true.

    Raises:
        ValueError: `seconds` is negative.

    Threads:
        Any except those of Ottla; in a task use `await asyncio.to_thread(advance_time, 121)`, since it blocks the thread.
    """
    if not seconds >= 0:
        raise ValueError(f"time does not go back: {seconds!r} seconds")
    passed = 0.0
    while passed < seconds and not (until is not None and until()):
        step = min(STEP_S, seconds - passed)
        with _one_step:
            _take_step(step)
        passed += step
    return passed


def _take_step(seconds: float) -> None:
    followers = tuple(_followers)
    done = [follower.jump(seconds) for follower in followers]
    for _ in range(_MOST_TURNS):
        before, done = done, [follower.jump(0) for follower in followers]
        if done == before:
            return
