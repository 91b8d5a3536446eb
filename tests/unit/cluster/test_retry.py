"""Attempts: their pauses, their deadline, and failures that end them at once."""

from __future__ import annotations

import asyncio

import pytest

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.retry import Attempts
from ottla.engine.clock import ManualClock

BACKOFF = Backoff(100, 1_000, rng=lambda: 0.5)


async def test_each_pause_is_longer_than_the_one_before() -> None:
    clock, begun = ManualClock(), list[float]()

    async def work() -> None:
        async for number in Attempts(BACKOFF, clock):
            assert number == len(begun)
            begun.append(clock.now() - 1_000)
            if number == 3:
                return

    task = asyncio.ensure_future(work())
    await clock.advance(10)
    await task
    assert begun == pytest.approx([0, 0.1, 0.3, 0.7])


async def test_no_attempt_begins_behind_the_deadline() -> None:
    clock, begun = ManualClock(), list[float]()
    attempts = Attempts(BACKOFF, clock, timeout=0.5)

    async def work() -> None:
        async for _ in attempts:
            begun.append(clock.now() - 1_000)
            attempts.record_failure(errors.ConnectionLost("gone"))

    task = asyncio.ensure_future(work())
    await clock.advance(10)
    await task
    assert begun == pytest.approx([0, 0.1, 0.3])
    assert str(attempts.last_failure) == "gone"
    assert attempts.left() == 0.0


async def test_the_first_attempt_takes_place_without_any_time() -> None:
    attempts = Attempts(BACKOFF, ManualClock(), timeout=0)
    assert [number async for number in attempts] == [0]


async def test_an_attempt_ends_at_the_deadline() -> None:
    attempts = Attempts(BACKOFF, ManualClock(), timeout=0.01)
    async for _ in attempts:
        with pytest.raises(TimeoutError):
            async with attempts.until_deadline():
                await asyncio.Event().wait()
        break


@pytest.mark.parametrize(
    "error",
    [
        errors.AuthenticationFailed("wrong password"),
        errors.TlsError("another host name"),
        errors.ConfigError("no such option"),
        errors.EncodeError("a null"),
        errors.Closed("closed"),
        errors.for_code(29),
        errors.for_code(35),
        errors.for_code(58),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_permanent_error_ends_the_attempts(error: errors.Error) -> None:
    assert error.permanent
    with pytest.raises(type(error)):
        Attempts(BACKOFF, ManualClock()).record_failure(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.ConnectionLost("gone"),
        errors.NoBrokersAvailable("none"),
        errors.Timeout("late"),
        errors.DecodeError("garbled"),
        errors.for_code(3),
        errors.for_code(-1),
        errors.for_code(9999),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_retried(error: errors.Error) -> None:
    Attempts(BACKOFF, ManualClock()).record_failure(error)
    assert not error.permanent
