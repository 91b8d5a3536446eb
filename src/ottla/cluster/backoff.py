"""Exponential backoff with jitter, pure: attempt number in, seconds out. References: KIP-580; Java ExponentialBackoff."""

from __future__ import annotations

import random
from collections.abc import Callable

JITTER = 0.2
"""Each pause is up to a fifth longer or shorter, so that clients that failed together do not come back together."""


class Backoff:
    """Doubles from `initial_ms` to `max_ms`, give or take the jitter.

    Args:
        initial_ms: Pause after the first failure, milliseconds.
        max_ms: Longest pause before jitter, milliseconds.
        rng: Gives numbers from 0 to 1; tests pass their own.
    """

    __slots__ = ("_initial_ms", "_max_ms", "_rng")

    def __init__(
        self, initial_ms: float, max_ms: float, rng: Callable[[], float] = random.random
    ) -> None:
        self._initial_ms = initial_ms
        self._max_ms = max_ms
        self._rng = rng

    def delay(self, attempts: int) -> float:
        """Seconds to wait after this number of failures in a row; 0 after none."""
        if attempts <= 0:
            return 0.0
        # Doubling 60 times is beyond every maximum; more would overflow.
        exact: float = min(self._initial_ms * 2.0 ** min(attempts - 1, 60), self._max_ms)
        return exact * (1 + JITTER * (2 * self._rng() - 1)) / 1000
