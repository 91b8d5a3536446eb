"""A function of the application's that raises for every message is one traceback and a count."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import pytest

from ottla.observe.log import ClientLog
from ottla.observe.raised import EVERY_S, FORGOTTEN_S, Raised, name_of

LOG = ClientLog("dispatcher", "producer orders")
OTHER = ClientLog("dispatcher", "producer bills")


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.raised = Raised(lambda: self.now)

    def fail(
        self, function: object, error: Exception, log: ClientLog = LOG, more: str = " of 7"
    ) -> None:
        try:
            raise error
        except Exception:
            self.raised.tell(log, "a callback raised: {}", function, more)


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.DEBUG, "ottla")
    return World()


def callback(_: object) -> None:
    """What is told of."""


def make() -> Callable[[], None]:
    return lambda: None


NAME = f"{__name__}.callback"


def test_the_first_has_its_traceback_and_the_others_are_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        world.fail(callback, KeyError(number))
    (first,) = caplog.records
    assert first.exc_info is not None
    assert first.exc_info[0] is KeyError
    assert first.getMessage() == f"[producer orders] a callback raised: {callback!r} of 7"
    assert world.raised.tell_due(), "some are left"
    world.now = EVERY_S
    assert not world.raised.tell_due()
    second = caplog.records[1]
    assert second.exc_info is None
    assert second.getMessage() == (
        f"[producer orders] a callback raised: {NAME}: 999 more times, the last with KeyError(999)"
    )
    assert second.levelno == logging.ERROR


def test_what_is_due_is_told_by_the_next_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        world.fail(callback, KeyError("x"))
        world.now += 0.6
    assert [record.getMessage()[-44:] for record in caplog.records[1:]] == [
        "callback: 2 more times, the last with KeyError('x')"[-44:]
    ]


def test_other_functions_other_errors_and_other_clients_are_other_lines(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fail(callback, KeyError("x"))
    world.fail(callback, ValueError("x"))
    world.fail(print, KeyError("x"))
    world.fail(callback, KeyError("x"), OTHER)
    assert len(caplog.records) == 4
    world.fail(callback, KeyError("x"), OTHER)
    world.fail(callback, KeyError("x"))
    world.raised.end("producer bills")
    assert len(caplog.records) == 5
    world.raised.end()
    assert len(caplog.records) == 6
    world.fail(callback, KeyError("x"), OTHER)
    assert caplog.records[6].exc_info is not None, "another client, maybe of the same name"


def test_after_a_quiet_while_the_traceback_is_told_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fail(callback, KeyError("x"))
    world.now = FORGOTTEN_S
    world.fail(callback, KeyError("x"))
    world.now = FORGOTTEN_S * 2 + 1
    world.raised.tell_due()
    world.fail(callback, KeyError("x"))
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True]


def test_closures_of_one_place_have_one_name(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        world.fail(make(), KeyError("x"))
        world.fail(functools.partial(callback, 1), KeyError("x"))
    assert len(caplog.records) == 2
    assert name_of(World().fail).endswith("World.fail")
    assert name_of(World()).endswith("test_raised.World")


def test_an_error_that_cannot_say_what_it_is_is_told_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Mute(Exception):
        def __repr__(self) -> str:
            raise LookupError

    for _ in range(2):
        world.fail(callback, Mute())
    world.raised.end()
    assert (
        caplog.records[1].getMessage().endswith("1 more time, the last with " + Mute.__qualname__)
    )
