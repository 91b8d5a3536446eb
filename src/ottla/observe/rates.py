"""Rates and latencies of the recent past, from counters and durations. Pure: time is passed in. Leaf; any thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ottla.observe.statistics import LatencyStatistics

WINDOW_S = 60.0
"""Age at which samples and durations are dropped."""
SAMPLE_S = 5.0
"""Interval between samples of a counter."""
_MOST_DURATIONS = 1_000
"""Maximum number of durations; older ones are dropped."""


class Rates:
    """Rates per second of several counters over the last minute.

    Args:
        counters: The counters now.
        now: Seconds.
    """

    def __init__(self, counters: Sequence[int], now: float) -> None:
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque([(now, tuple(counters))])

    def sample(self, counters: Sequence[int], now: float) -> None:
        """Remember the counters; to be called every `SAMPLE_S`."""
        self._samples.append((now, tuple(counters)))
        while now - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    def per_second(self, counters: Sequence[int], now: float) -> tuple[float, ...]:
        """The rate of each counter since the oldest sample; 0 where no time has passed."""
        since, before = self._samples[0]
        passed = now - since
        if passed <= 0:
            return tuple(0.0 for _ in counters)
        return tuple(
            (counter - earlier) / passed for counter, earlier in zip(counters, before, strict=True)
        )


class Durations:
    """Durations of the last minute."""

    def __init__(self) -> None:
        self._durations: deque[tuple[float, float]] = deque(maxlen=_MOST_DURATIONS)

    def add(self, seconds: float, now: float) -> None:
        """Remember a duration that ended now."""
        self._durations.append((now, seconds))

    def percentiles(self, now: float) -> LatencyStatistics:
        """Percentiles in milliseconds."""
        recent = sorted(
            seconds * 1000 for ended, seconds in list(self._durations) if now - ended <= WINDOW_S
        )
        if not recent:
            return LatencyStatistics(0, 0.0, 0.0, 0.0, 0.0)
        return LatencyStatistics(
            count=len(recent),
            p50_ms=_percentile(recent, 50),
            p95_ms=_percentile(recent, 95),
            p99_ms=_percentile(recent, 99),
            max_ms=recent[-1],
        )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that is at least as large as this part of all."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
