"""One test for a table of many cases: each case is checked, and all that fail are reported together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from reprlib import Repr
from typing import Any

import pytest


class _Short(Repr):
    """Shows a case in about a line."""

    def repr_int(self, x: int, level: int) -> str:
        return (
            super().repr_int(x, level)
            if x.bit_length() < 200
            else f"<int of {x.bit_length()} bits>"
        )


SHORT = _Short()
SHORT.maxstring = SHORT.maxother = 120


def check_each(check: Callable[..., None], cases: Iterable[Any]) -> None:
    """Call `check(case)` for every case, with several arguments where a case is a tuple.

    Raises:
        BaseExceptionGroup: The failures, each with a note that shows its case.
    """
    failures: list[BaseException] = []
    count = 0
    for count, case in enumerate(cases, 1):
        try:
            check(*case) if isinstance(case, tuple) else check(case)
        except (Exception, pytest.fail.Exception) as failure:
            failure.add_note(f"case {count}: {SHORT.repr(case)}")
            failures.append(failure)
    assert count, "there are no cases"
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {count} cases", failures)


def for_each(cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Decorator: one test that calls the function for every case.

    It is for tables of more than about fifty cases. `pytest.mark.parametrize` makes each case a test, with fixtures,
    a report and a place in the collection: several times the work of the check itself.
    """

    several = tuple(cases)

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        def test() -> None:
            check_each(check, several)

        # Not functools.wraps: pytest follows __wrapped__ and would take the arguments of the check for fixtures.
        test.__name__, test.__qualname__ = check.__name__, check.__qualname__
        test.__module__, test.__doc__ = check.__module__, check.__doc__
        return test

    return decorate
