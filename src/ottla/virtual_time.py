"""Time that tests let jump ahead: of the engine, the I/O thread and the embedded broker, alone or all at once.

Leaf. The loops of the engine's and of a broker's thread take their time from a `SystemClock`, so that every timer does: backoffs,
deadlines, session timeouts, long polls. The I/O thread has its own clock (`crates/io/src/clock.rs`), which the engine moves with its.
What a call waits at most (`timeout=`, `max_block_ms`) stays real time: it bounds the wait of a thread.
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

    Not `time.monotonic`, which test libraries such as freezegun replace and stop: a wait for a client would never end.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC)


STEP_S = 0.25
"""No more passes between two moments in which everybody does what is due: below a backoff's largest pause, and far below a time-out."""
_MOST_TURNS = 20
"""How often all have a turn in one step at most: a thread of the test's may send without a pause."""
_ROUNDS_AFTER_A_JUMP = 4
"""Rounds of a loop in which overdue timers fire and those whom they wake go on."""


class SystemClock:
    """Seconds for timers, and milliseconds since 1970 for records; both jump together.

    Args:
        stands_still: Whether time passes by jumps alone.
    """

    def __init__(self, *, stands_still: bool = False) -> None:
        self._stands_still = stands_still
        self._started = monotonic()
        self._started_wall = time.time()
        self._skipped = 0.0

    def time(self) -> float:
        """Seconds, from an arbitrary start on. Threads: any."""
        return self._started + self._elapsed()

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return int((self._started_wall + self._elapsed()) * 1000)

    def skip(self, seconds: float) -> None:
        """Jump ahead. Threads: the one of the loop that goes by it."""
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
    """Jump ahead and let what is due happen, on the thread of the loop that goes by this clock."""
    clock.skip(seconds)
    for _ in range(_ROUNDS_AFTER_A_JUMP):
        await asyncio.sleep(0)


class Follower(Protocol):
    """Who has a time of its own that goes with everybody's."""

    def jump(self, seconds: float) -> int:
        """Jump ahead, and return when what was due has been begun; one that has ended does nothing. Threads: any.

        Returns:
            int: Another one than before if anything was sent or received meanwhile.
        """


_followers: list[Follower] = []
_one_step = threading.Lock()
"""Held while all make one step, so that nobody ends in the midst of it, and two who let time pass do so in turn."""


def _forget_the_parent() -> None:
    """The threads of who followed, and who holds the lock, are the parent's."""
    global _one_step
    _followers.clear()
    _one_step = threading.Lock()


os.register_at_fork(after_in_child=_forget_the_parent)


def follow(follower: Follower) -> None:
    """Let its time go with everybody's, until `unfollow`. Threads: any."""
    _followers.append(follower)


def unfollow(follower: Follower) -> None:
    """Leave it alone from now on: waits for a jump that goes on. Threads: any."""
    with _one_step:
        if follower in _followers:
            _followers.remove(follower)


def advance_time(seconds: float, until: Callable[[], object] | None = None) -> float:
    """Let time pass for every client and every embedded broker of this process, without waiting for it.

    Time passes in steps of a quarter of a second, and each begins when every thread of Ottla's has done what was due in the
    one before, and nothing is on its way between clients and brokers any more. So a slow machine makes the test slower and its outcome no other, and what happens in two minutes of an outage
    takes the test half a second:

        with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
            broker.kill(1)
            delivery = producer.send("orders", "one")
            advance_time(121, until=delivery.done)  # delivery_timeout_ms is two minutes
            assert isinstance(delivery.exception(), ottla.DeliveryTimeout)

    Time goes on by itself beside that (a broker with `virtual_time` has no other), and what calls wait at most, `timeout` and
    `max_block_ms`, is real time always. Clients in other processes are not moved.

    Args:
        seconds: How much time passes at most, 0 or more.
        until: Asked before each step, in the caller's thread; once it is true no more time passes.

    Returns:
        float: The seconds that passed: `seconds`, or fewer where `until` became true.

    Raises:
        ValueError: `seconds` is negative.

    Threads:
        any but Ottla's own; not in an event loop's, which would stand still: `await asyncio.to_thread(advance_time, 121)`.
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
