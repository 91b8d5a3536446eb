"""Sums of log lines that would repeat: many equal lines become one with a count. Leaf; one thread (the engine's).

A lost connection or an outage concerns every partition of a node, batch after batch, and lasts. Equal lines are gathered for
`GATHER_S` and written as one. Later ones are summed and written together: errors once per `EVERY_S`, others after `AGAIN_S`
and then after twice as long each time, up to `LONGEST_S`. No occurrence is left out of a count.

A condition (`LogEvent.lasting`) is repeated only while it recurs: after the pause, the next occurrence writes the line. A
condition that has ended is therefore never reported again, and `ended` makes its next occurrence a new beginning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ottla.observe.log import ProcessLog, broker_name, place_name
from ottla.observe.log_table import LOG_EVENTS

if TYPE_CHECKING:
    from ottla.observe.log_names import LogName

GATHER_S = 0.02
EVERY_S = 1.0
AGAIN_S = 5.0
LONGEST_S = 60.0

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function after a number of seconds, on the same thread."""

Place = Mapping[str, Any] | tuple[str, int]
"""Object of a line: fields such as node and address, topic, or role; or a pair of topic and partition."""

_NO_PLACE: Final[Place] = {}
_Key = tuple[object, ...]


def _fields(place: Place) -> Mapping[str, Any]:
    return {"topic": place[0], "partition": place[1]} if isinstance(place, tuple) else place


def _name(place: Mapping[str, Any]) -> str:
    """A place for people: `orders-3`, `orders`, `node 1 at host:9092`, or its one value."""
    if "topic" in place:
        return place_name(place)
    if "node" in place:
        return broker_name(place)
    return str(next(iter(place.values()), ""))


class _Line:
    """Occurrences of one line: same event, level and fields, in different places."""

    def __init__(self, level: int, event: LogName, fields: Mapping[str, Any]) -> None:
        self.level = level
        self.event = event
        self.fields = fields
        self.lasting = LOG_EVENTS[event].lasting
        self.places: dict[str, Mapping[str, Any]] = {}
        """Places of the occurrences since the last write."""
        self.count = 0
        """Number of occurrences since the last write."""
        self.active: set[str] = set()
        """Places of all occurrences that have not ended."""
        self.pause = EVERY_S if level >= logging.ERROR else AGAIN_S
        """Seconds until the next write after one."""
        self.written = False
        self.ready = False
        """A condition's pause has passed: its next occurrence is written."""

    def add(self, place: Mapping[str, Any], count: int) -> None:
        name = _name(place)
        self.places[name] = place
        self.active.add(name)
        self.count += count

    def remove(self, name: str) -> None:
        self.places.pop(name, None)
        self.active.discard(name)

    def write(self, log: ProcessLog) -> None:
        common = dict(set.intersection(*(set(place.items()) for place in self.places.values())))
        names = list(self.places)
        log.log(self.level, self.event, **self.fields, **common, places=names, count=self.count)
        self.places, self.count, self.written = {}, 0, True


class Summary:
    """The sums of one station's log.

    Args:
        log: Where lines are written.
        later: Runs a function after a number of seconds.
    """

    def __init__(self, log: ProcessLog, later: Later) -> None:
        self._log = log
        self._later = later
        self._lines: dict[_Key, _Line] = {}
        self._stopped = False

    def add(
        self,
        level: int,
        event: LogName,
        place: Place = _NO_PLACE,
        *,
        count: int = 1,
        **fields: Any,
    ) -> None:
        """Count an occurrence; those with the same level, event and fields become one line.

        Args:
            level: As for `logging`.
            event: Name of the event in `log_table`.
            place: Its object. The line names the places; the record has the fields that all of them have in common.
            count: Number of messages, batches or the like.
            fields: Fields of the event, the same for every place.
        """
        key = (level, event, *fields.items())
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(level, event, fields)
            self._soon(GATHER_S, key, self._gathered)
        elif line.ready:
            line.ready = False
            self._soon(GATHER_S, key, self._gathered)
        line.add(_fields(place), count)
        if self._stopped:
            line.write(self._log)

    def ended(self, event: LogName, place: Place = _NO_PLACE) -> None:
        """The condition has ended in this place, and is not reported again until it recurs.

        A line about it that is still being gathered is written now, so that a line about the recovery follows it.
        """
        name = _name(_fields(place))
        for key, line in list(self._lines.items()):
            if line.event != event or name not in line.active:
                continue
            if not line.written:
                line.write(self._log)
            line.remove(name)
            if not line.active:
                del self._lines[key]

    def stop(self) -> None:
        """Write the sums since the last write, without conditions that were reported; write later occurrences at once."""
        self._stopped = True
        for line in self._lines.values():
            if line.places and not (line.lasting and line.written):
                line.write(self._log)
        self._lines.clear()

    def _soon(self, seconds: float, key: _Key, step: Callable[[_Key, _Line], None]) -> None:
        """Take the next step of a line after this time, unless the line was forgotten meanwhile."""
        line = self._lines[key]
        if not self._stopped:
            self._later(seconds, lambda: step(key, line) if self._lines.get(key) is line else None)

    def _gathered(self, key: _Key, line: _Line) -> None:
        if line.places:
            line.write(self._log)
        self._soon(line.pause, key, self._rested)
        if line.level < logging.ERROR:
            line.pause = min(line.pause * 2, LONGEST_S)

    def _rested(self, key: _Key, line: _Line) -> None:
        if not line.places:
            del self._lines[key]
        elif line.lasting:
            line.ready = True
            # Without another occurrence in the same time it has ended. The next rest is longer, so this ends no later one.
            self._soon(line.pause, key, self._forget_if_ready)
        else:
            self._gathered(key, line)

    def _forget_if_ready(self, key: _Key, line: _Line) -> None:
        if line.ready:
            del self._lines[key]
