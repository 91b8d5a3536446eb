"""Checks of arguments: seconds, numbers, names of topics, functions; and the texts about wrong values."""

from __future__ import annotations

import asyncio
import copy
import decimal
import fractions
import math
import pickle
from typing import Any

import pytest

from ottla import arguments
from ottla.engine.bridge import Ticket

YEAR_S = 365 * 24 * 3600.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (0, 0.0),
        (True - 1, 0.0),
        (2, 2.0),
        (0.25, 0.25),
        (-1e-9, 0.0),
        (-math.inf, 0.0),
        (-(10**400), 0.0),
        (math.inf, YEAR_S),
        (10**400, YEAR_S),
        (decimal.Decimal("1.5"), 1.5),
        (fractions.Fraction(1, 2), 0.5),
    ],
)
def test_seconds(given: Any, expected: float | None) -> None:
    assert arguments.seconds(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(arguments.DEFAULT_TIMEOUT, 60.0), (None, YEAR_S), (0, 0.0), (2.5, 2.5), (-1, 0.0)],
)
def test_the_limit_of_a_wait(given: Any, expected: float) -> None:
    assert arguments.wait_limit(given, 60.0) == expected


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_the_default_timeout_is_one_object(copied: Any) -> None:
    assert copied(arguments.DEFAULT_TIMEOUT) is arguments.DEFAULT_TIMEOUT
    assert repr(arguments.DEFAULT_TIMEOUT) == "DEFAULT_TIMEOUT"


class Index:
    def __index__(self) -> int:
        return 7


def test_whole_numbers_of_any_type() -> None:
    assert arguments.number("n", Index()) == 7
    assert arguments.seconds(Index()) == 7.0
    with pytest.raises(ValueError, match=r"^n must be 1 to 9, not 0$"):
        arguments.number("n", 0, 1, 9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "None"),
        (5, "int 5"),
        (2**200, "an int of 201 bits"),
        (True, "bool True"),
        ("abc", "str 'abc'"),
        (b"abc", "bytes b'abc'"),
        ("a" * 100, "str 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"),
        ({"password": "hunter2"}, "dict"),
        (dict, "the class dict"),
        (object(), "object"),
    ],
)
def test_a_shown_value_is_short_and_reveals_nothing(given: Any, expected: str) -> None:
    assert arguments.shown(given) == expected


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "...", "a" * 249, "__consumer_offsets"])
def test_names_that_topics_can_have(name: str) -> None:
    assert arguments.topic_error(name) is None
    assert arguments.topic(name) is name


def test_a_wait_for_a_ticket_takes_seconds() -> None:
    ticket: Ticket[int] = Ticket("work")

    async def wait_for(timeout: Any) -> None:
        await ticket.wait_async(timeout)

    wrongs: list[Any] = ["5", math.nan, True, []]
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError), match="timeout must be seconds"):
            ticket.wait(wrong)
        with pytest.raises((TypeError, ValueError), match="timeout must be seconds"):
            asyncio.run(wait_for(wrong))
    ticket.settle(7)
    assert ticket.wait(10**400) == 7


def test_a_function_of_c_may_have_no_signature() -> None:
    assert arguments.function_problem(max, "(delivery)") is None
    assert arguments.function_problem(dict.fromkeys, "(delivery)") is None
