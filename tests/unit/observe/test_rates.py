"""Rates and latencies of the recent past."""

from __future__ import annotations

import pytest

from ottla.observe.rates import WINDOW_S, Durations, Rates


def test_a_rate_is_that_since_the_oldest_sample() -> None:
    rates = Rates((0, 100), 0.0)
    assert rates.per_second((5, 100), 0.0) == (0.0, 0.0), "no time has passed"
    rates.sample((50, 200), 5.0)
    assert rates.per_second((100, 300), 10.0) == (10.0, 20.0)


def test_old_samples_are_dropped() -> None:
    rates = Rates((0,), 0.0)
    for second in range(5, 100, 5):
        rates.sample((second if second <= 30 else 30,), float(second))
    assert rates.per_second((30,), 100.0) == (0.0,), "nothing in the last minute"


@pytest.mark.parametrize("count", [1, 3, 100])
def test_percentiles(count: int) -> None:
    durations = Durations()
    for number in range(1, count + 1):
        durations.add(number / 1000, 0.0)
    found = durations.percentiles(1.0)
    assert (found.count, found.max_ms) == (count, count)
    for percent, value in ((50, found.p50_ms), (95, found.p95_ms), (99, found.p99_ms)):
        assert value >= count * percent / 100
        assert value < count * percent / 100 + 1


def test_old_durations_are_dropped() -> None:
    durations = Durations()
    assert durations.percentiles(0.0).count == 0
    durations.add(1.0, 0.0)
    assert durations.percentiles(WINDOW_S).count == 1
    assert durations.percentiles(WINDOW_S + 1).count == 0
