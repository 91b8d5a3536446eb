"""Log lines that many partitions would write at the same moment, summed up into one. Leaf; one thread (the engine's).

A lost connection or an outage concerns every partition of a node, batch after batch. The first lines of a quiet time are
told after `GATHER_S`, what follows once per `EVERY_S`; nothing is left out of the counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

GATHER_S = 0.02
EVERY_S = 1.0
NAMED = 3
"""So many places are named in a line; of the others it says how many they are."""

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function in so many seconds, on the same thread."""


class _Sum:
    __slots__ = ("count", "places")

    def __init__(self) -> None:
        self.count = 0
        self.places: dict[str, None] = {}

    def named(self) -> str:
        names = list(self.places)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + more


class Summary:
    """The sums of one station's log."""

    def __init__(self, log: logging.Logger, later: Later) -> None:
        self._log = log
        self._later = later
        self._sums: dict[tuple[int, str], _Sum] = {}
        self._waiting = False
        self._stopped = False

    def add(self, level: int, line: str, place: str, count: int = 1) -> None:
        """Count something. `line` has {count} and {places}; what has the same level and line becomes one line."""
        found = self._sums.setdefault((level, line), _Sum())
        found.count += count
        found.places[place] = None
        if self._stopped:
            self._tell()
        elif not self._waiting:
            self._wait(GATHER_S)

    def stop(self) -> None:
        """Tell what is left now; what still comes is told at once."""
        self._stopped = True
        self._tell()

    def _wait(self, seconds: float) -> None:
        self._waiting = True
        self._later(seconds, self._waited)

    def _waited(self) -> None:
        self._waiting = False
        if self._sums:
            self._tell()
            self._wait(EVERY_S)

    def _tell(self) -> None:
        sums, self._sums = self._sums, {}
        for (level, line), found in sums.items():
            text = line.replace("{count}", str(found.count)).replace("{places}", found.named())
            self._log.log(level, "%s", text)
