"""Pauses: of retries, of refreshes, of dials."""

from __future__ import annotations

import pytest

from ottla.cluster.backoff import Backoff
from ottla.cluster.schedule import DialState, RefreshSchedule
from ottla.config.producer import producer_config

CONFIG = producer_config("h:1", {"metadata_recovery_rebootstrap_trigger_ms": 10_000})


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.4), (5, 1.0), (10_000, 1.0)]
)
def test_backoff_doubles_up_to_its_maximum(attempts: int, seconds: float) -> None:
    assert Backoff(100, 1_000, lambda: 0.5).delay(attempts) == pytest.approx(seconds)


def test_backoff_is_spread_by_a_fifth_either_way() -> None:
    assert Backoff(100, 1_000, lambda: 0.0).delay(4) == pytest.approx(0.64)
    assert Backoff(100, 1_000, lambda: 1.0).delay(4) == pytest.approx(0.96)


def test_backoff_of_nothing_is_nothing() -> None:
    assert Backoff(0, 0).delay(5) == 0


def schedule() -> RefreshSchedule:
    return RefreshSchedule(CONFIG, Backoff(100, 1_000, lambda: 0.5))


def test_the_first_refresh_is_at_once_and_the_next_waits_a_little() -> None:
    made = schedule()
    assert made.pause(0, False) == 0
    made.succeeded(10)
    assert made.pause(10, False) == pytest.approx(0.1)
    assert made.pause(10, True) == 0
    assert made.pause(11, False) == 0


def test_failures_grow_the_pause_even_of_urgent_requests_and_a_success_ends_them() -> None:
    made = schedule()
    made.failed(10)
    made.failed(11)
    assert made.pause(11, True) == pytest.approx(0.2)
    made.succeeded(12)
    assert made.failures == 0
    assert made.pause(12, True) == 0


def test_starting_over_is_due_after_failing_for_so_long_and_not_again_at_once() -> None:
    made = schedule()
    assert not made.too_long_without(100)
    made.failed(100)
    assert not made.too_long_without(109)
    assert made.too_long_without(110)
    assert not made.too_long_without(111)
    made.succeeded(112)
    assert not made.too_long_without(1_000)


def test_age() -> None:
    made = schedule()
    assert made.age_left(50, None) == 0
    assert made.age_left(50, 40) == pytest.approx(290)
    assert made.age_left(500, 40) == 0


def test_a_node_is_dialled_later_and_waited_for_longer_after_each_failure() -> None:
    state = DialState(CONFIG)
    assert state.wait(0) == 0
    first = state.setup_timeout()
    state.failed(10)
    assert 0.04 <= state.wait(10) <= 0.06
    assert state.wait(11) == 0
    assert state.setup_timeout() > first
    state.succeeded()
    assert (state.failures, state.wait(10)) == (0, 0)


def test_a_node_that_accepts_and_closes_is_not_dialled_in_a_circle() -> None:
    state = DialState(CONFIG)
    state.connection_lost(10)
    assert state.wait(10) >= 0.04
