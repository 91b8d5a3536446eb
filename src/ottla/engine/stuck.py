"""Warns about a callback that does not return: until it does, no other callback in the process is called.

Engine thread. It checks only while the dispatcher thread runs, and recognizes a running call by its number.
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.observe.log import ClientLog
from ottla.observe.running import running

CHECK_S = 3.0
"""Interval between checks, in seconds; a call that two checks in a row see is logged."""

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function after a number of seconds, on the same thread."""


class StuckCallbacks:
    """One engine's watch over the dispatcher thread.

    Args:
        later: Runs a function after a number of seconds.
        busy: Whether the dispatcher thread runs.
    """

    def __init__(self, later: Later, busy: Callable[[], bool]) -> None:
        self._later = later
        self._busy = busy
        self._watching = False
        self._seen = 0

    def begin(self) -> None:
        """The dispatcher thread has started."""
        if not self._watching:
            self._watching = True
            self._later(CHECK_S, self._check)

    def _check(self) -> None:
        number, function = running.number, running.function
        if function is not None and number == self._seen != running.reported:
            running.reported = number
            ClientLog("dispatcher", running.client).warning(
                "callback.stuck", function=repr(function), elapsed_s=CHECK_S
            )
        self._seen = number
        self._watching = self._busy()
        if self._watching:
            self._later(CHECK_S, self._check)
