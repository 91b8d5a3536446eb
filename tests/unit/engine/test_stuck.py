"""A callback that does not return is named once; those that merely follow each other are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ottla.engine.stuck import StuckCallbacks
from ottla.observe.running import running
from tests.fixtures.logged import Logged


class Bench:
    def __init__(self) -> None:
        self.busy = True
        self.later: list[Callable[[], None]] = []
        self.stuck = StuckCallbacks(lambda _, call: self.later.append(call), lambda: self.busy)
        self.stuck.begin()

    def check(self) -> None:
        (call,) = self.later
        self.later.clear()
        call()


def hangs() -> None:
    """A callback of the application."""


@pytest.fixture(autouse=True)
def _nothing_runs() -> Iterator[None]:
    yield
    running.end()


def begin(who: str = "producer orders") -> None:
    running.begin(hangs, who)


def test_a_call_that_does_not_return_is_named_once(logged: Logged) -> None:
    bench = Bench()
    begin()
    bench.check()
    assert logged() == []
    for _ in range(3):
        bench.check()
    (stuck,) = logged("callback.stuck", client="producer orders", elapsed_s=3.0)
    assert stuck.__dict__["function"] == repr(hangs)
    bench.stuck.begin()
    assert len(bench.later) == 1, "one watch"
    begin()
    bench.check()
    bench.check()
    assert len(logged("callback.stuck")) == 2, "another call, another line"


def test_calls_that_follow_each_other_are_no_line(logged: Logged) -> None:
    bench = Bench()
    for _ in range(5):
        begin()
        bench.check()
    running.end()
    bench.check()
    bench.check()
    assert logged() == []


def test_the_watch_ends_with_the_thread_and_begins_again() -> None:
    bench = Bench()
    bench.busy = False
    bench.check()
    assert bench.later == []
    bench.stuck.begin()
    assert len(bench.later) == 1
