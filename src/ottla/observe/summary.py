"""Log lines that would be written again and again, summed up. Leaf; one thread (the engine's).

A lost connection or an outage concerns every partition of a node, batch after batch, and lasts. The first of equal lines is told
after `GATHER_S`, with all that came meanwhile. Those that follow are told together: errors once per `EVERY_S`, and nothing is
left out of their counts; what goes on being tried after `AGAIN_S`, and each time after twice as long, up to `LONGEST_S`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Protocol

from ottla.observe.log import counted

GATHER_S = 0.02
EVERY_S = 1.0
AGAIN_S = 5.0
LONGEST_S = 60.0
NAMED = 3
"""So many places are named in a line; of the others it says how many they are."""

_COUNT = re.compile(r"\{count:([a-z]+)\}")

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function in so many seconds, on the same thread."""


class Log(Protocol):
    """A logger, or what speaks through one."""

    def log(self, level: int, msg: object, *args: object) -> None:
        """Write a line."""


class _Line:
    """A line that was told not long ago, or is to be told soon."""

    __slots__ = ("count", "lasts", "pause", "places", "told")

    def __init__(self, level: int) -> None:
        self.count = 0
        self.places: dict[str, None] = {}
        self.lasts = level < logging.ERROR
        self.pause = AGAIN_S if self.lasts else EVERY_S
        """How long to gather after it was told."""
        self.told = False

    def named(self) -> str:
        names = list(self.places)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + more


class Summary:
    """The sums of one station's log."""

    def __init__(self, log: Log, later: Later) -> None:
        self._log = log
        self._later = later
        self._lines: dict[tuple[int, str], _Line] = {}
        self._stopped = False

    def add(self, level: int, line: str, place: str, count: int = 1) -> None:
        """Count something; what has the same level and line becomes one line.

        Args:
            level: As for `logging`.
            line: With {places}, and {count:message} for how many there were, in the singular.
            place: What it is about.
            count: How many.
        """
        key = (level, line)
        found = self._lines.get(key)
        if found is None:
            found = self._lines[key] = _Line(level)
            if not self._stopped:
                self._later(GATHER_S, lambda: self._due(key))
        found.count += count
        found.places[place] = None
        if self._stopped:
            self._tell(key)

    def stop(self) -> None:
        """Tell what is left now; what still comes is told at once. What was being tried, and is told of, is over."""
        self._stopped = True
        for key, found in list(self._lines.items()):
            if not (found.lasts and found.told):
                self._tell(key)
        self._lines.clear()

    def _due(self, key: tuple[int, str]) -> None:
        found = self._lines.get(key)
        if found is None or not self._tell(key):
            self._lines.pop(key, None)
            return
        self._later(found.pause, lambda: self._due(key))
        if found.lasts:
            found.pause = min(found.pause * 2, LONGEST_S)

    def _tell(self, key: tuple[int, str]) -> bool:
        """Write the line; False where nothing came since the last time."""
        found = self._lines[key]
        if not found.count:
            return False
        level, line = key
        count, places = found.count, found.named()
        found.count, found.places, found.told = 0, {}, True
        text = _COUNT.sub(lambda match: counted(count, match[1]), line, count=1)
        self._log.log(level, "%s", text.replace("{places}", places, 1))
        return True
