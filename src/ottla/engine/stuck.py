"""Says that a callback does not return: until it does, no callback of any client in the process is called.

Engine thread. It looks only while the dispatcher thread lives, and knows a call that goes on by its number.
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.observe.log import ClientLog
from ottla.observe.running import running

LOOK_S = 3.0
"""A call that is seen by two looks in a row is told."""

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function in so many seconds, on the same thread."""


class StuckCallbacks:
    """One engine's watch over the dispatcher thread.

    Args:
        later: Runs a function in so many seconds.
        busy: Whether the dispatcher thread lives.
    """

    def __init__(self, later: Later, busy: Callable[[], bool]) -> None:
        self._later = later
        self._busy = busy
        self._watching = False
        self._seen = 0

    def begin(self) -> None:
        """The dispatcher thread has begun to live."""
        if not self._watching:
            self._watching = True
            self._later(LOOK_S, self._look)

    def _look(self) -> None:
        number, function = running.number, running.function
        if function is not None and number == self._seen != running.reported:
            running.reported = number
            ClientLog("dispatcher", running.client).warning(
                "callback.stuck", function=repr(function), elapsed_s=LOOK_S
            )
        self._seen = number
        self._watching = self._busy()
        if self._watching:
            self._later(LOOK_S, self._look)
