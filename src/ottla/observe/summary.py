"""Log lines that would be written again and again, summed up. Leaf; one thread (the engine's).

A lost connection or an outage concerns every partition of a node, batch after batch, and lasts. The first of equal lines is told
after `GATHER_S`, with all that came meanwhile. Those that follow are told together: errors once per `EVERY_S`, and nothing is
left out of their counts; what goes on being tried after `AGAIN_S`, and each time after twice as long, up to `LONGEST_S`.

What lasts may be over by the time at which it would be told again. Whoever can tell gives `still`, and places of which the line is
no longer true are left out of what is told again; whoever writes that it is over calls `over` before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from typing import Protocol

from ottla.observe.log import counted

GATHER_S = 0.02
EVERY_S = 1.0
AGAIN_S = 5.0
LONGEST_S = 60.0
NAMED = 3
"""So many places are named in a line; of the others it says how many they are."""

_COUNT = re.compile(r"\{count:([a-z]+)\}")

Still = Callable[[], Collection[str]]
"""The places of which a line is true now."""

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function in so many seconds, on the same thread."""


class Log(Protocol):
    """A logger, or what speaks through one."""

    def log(self, level: int, msg: object, *args: object) -> None:
        """Write a line."""


class _Line:
    """A line that was told not long ago, or is to be told soon."""

    __slots__ = ("lasts", "pause", "places", "still", "told")

    def __init__(self, level: int, still: Still | None) -> None:
        self.places: dict[str, int] = {}
        """How many there were, by what they were about."""
        self.still = still
        self.lasts = level < logging.ERROR
        self.pause = AGAIN_S if self.lasts else EVERY_S
        """How long to gather after it was told."""
        self.told = False

    def forget_what_is_over(self) -> None:
        if self.still is None or not self.told:
            return
        still = self.still()
        self.places = {place: count for place, count in self.places.items() if place in still}

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

    def add(
        self, level: int, line: str, place: str, count: int = 1, still: Still | None = None
    ) -> None:
        """Count something; what has the same level and line becomes one line.

        Args:
            level: As for `logging`.
            line: With {places}, and {count:message} for how many there were, in the singular.
            place: What it is about.
            count: How many.
            still: Asked before it is told again; None: it is something that happened, and stays true.
        """
        key = (level, line)
        found = self._lines.get(key)
        if found is None:
            found = self._lines[key] = _Line(level, still)
            if not self._stopped:
                self._later(GATHER_S, lambda: self._due(key, found))
        found.places[place] = found.places.get(place, 0) + count
        if self._stopped:
            self._tell(key)

    def over(self, still: Still) -> None:
        """Something ended of which lines with this `still` spoke. What was never told of it is told now, so that the line that says
        so can come behind it; where nothing of it is left, the next time is a new beginning.
        """
        for key, found in list(self._lines.items()):
            if found.still == still:
                if not found.told:
                    self._tell(key)
                if not still():
                    del self._lines[key]

    def stop(self) -> None:
        """Tell what is left now; what still comes is told at once. What was being tried, and is told of, is over."""
        self._stopped = True
        for key, found in list(self._lines.items()):
            if not (found.lasts and found.told):
                self._tell(key)
        self._lines.clear()

    def _due(self, key: tuple[int, str], found: _Line) -> None:
        if self._lines.get(key) is not found:
            return
        if not self._tell(key):
            del self._lines[key]
            return
        self._later(found.pause, lambda: self._due(key, found))
        if found.lasts:
            found.pause = min(found.pause * 2, LONGEST_S)

    def _tell(self, key: tuple[int, str]) -> bool:
        """Write the line; False where nothing came since the last time."""
        found = self._lines[key]
        found.forget_what_is_over()
        if not found.places:
            return False
        level, line = key
        count, places = sum(found.places.values()), found.named()
        found.places, found.told = {}, True
        text = _COUNT.sub(lambda match: counted(count, match[1]), line, count=1)
        self._log.log(level, "%s", text.replace("{places}", places, 1))
        return True
