"""A function of the application's that raises for every message is one traceback and a count."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import pytest

from ottla.observe.log import ClientLog
from ottla.observe.raised import EVERY_S, FORGOTTEN_S, Raised, name_of
from tests.fixtures.logged import Logged

LOG = ClientLog("dispatcher", "producer orders")
OTHER = ClientLog("dispatcher", "producer bills")


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.raised = Raised(lambda: self.now)

    def fail(
        self, function: object, error: Exception, log: ClientLog = LOG, argument: str = "7"
    ) -> None:
        try:
            raise error
        except Exception as caught:
            self.raised.report(log, "callback", function, caught, argument=argument)


@pytest.fixture
def world() -> World:
    return World()


def callback(_: object) -> None:
    """A function that raises."""


def make() -> Callable[[], None]:
    return lambda: None


NAME = f"{__name__}.callback"


def test_the_first_has_its_traceback_and_the_others_are_counted(
    world: World, logged: Logged
) -> None:
    for number in range(1000):
        world.fail(callback, KeyError(number))
    (first,) = logged("callback.raised", client="producer orders", error="KeyError", argument="7")
    assert first.exc_info is not None
    assert first.exc_info[0] is KeyError
    assert first.__dict__["function"] == repr(callback)
    assert world.raised.write_due(), "some are left"
    world.now = EVERY_S
    assert not world.raised.write_due()
    (second,) = logged("callback.raised_again", level=logging.ERROR, function=NAME, count=999)
    assert second.exc_info is None
    assert second.__dict__["reason"] == "KeyError: 999"


def test_a_count_that_is_due_is_written_at_the_next_exception(world: World, logged: Logged) -> None:
    for _ in range(3):
        world.fail(callback, KeyError("x"))
        world.now += 0.6
    assert len(logged("callback.raised_again", count=2)) == len(logged()[1:]) == 1


def test_other_functions_other_errors_and_other_clients_are_other_lines(
    world: World, logged: Logged
) -> None:
    world.fail(callback, KeyError("x"))
    world.fail(callback, ValueError("x"))
    world.fail(print, KeyError("x"))
    world.fail(callback, KeyError("x"), OTHER)
    assert len(logged()) == 4
    world.fail(callback, KeyError("x"), OTHER)
    world.fail(callback, KeyError("x"))
    world.raised.end("producer bills")
    assert len(logged()) == 5
    world.raised.end()
    assert len(logged()) == 6
    world.fail(callback, KeyError("x"), OTHER)
    assert logged()[6].exc_info is not None, "another client, maybe of the same name"


def test_after_a_minute_without_exceptions_the_traceback_is_logged_again(
    world: World, logged: Logged
) -> None:
    world.fail(callback, KeyError("x"))
    world.now = FORGOTTEN_S
    world.fail(callback, KeyError("x"))
    world.now = FORGOTTEN_S * 2 + 1
    world.raised.write_due()
    world.fail(callback, KeyError("x"))
    assert [record.exc_info is not None for record in logged()] == [True, False, True]


def test_closures_of_one_place_have_one_name(world: World, logged: Logged) -> None:
    for _ in range(10):
        world.fail(make(), KeyError("x"))
        world.fail(functools.partial(callback, 1), KeyError("x"))
    assert len(logged()) == 2
    assert name_of(World().fail).endswith("World.fail")
    assert name_of(World()).endswith("test_raised.World")


def test_an_error_without_a_text_is_logged_by_its_type(world: World, logged: Logged) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise LookupError

    for _ in range(2):
        world.fail(callback, Mute())
    world.raised.end()
    assert logged("callback.raised_again", count=1, reason=Mute.__qualname__)
