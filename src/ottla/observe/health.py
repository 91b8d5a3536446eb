"""Health: the current troubles of a client.

Each part of a client reports its trouble and withdraws it when the trouble has ended. Leaf; any thread: a report is one
assignment, a reader gets a copy.
"""

from __future__ import annotations

from typing import NamedTuple


class Trouble(NamedTuple):
    """A part of the client cannot do its work."""

    reason: str
    since: float
    """By the clock of the part that reported it, seconds."""
    next_step: str = ""
    """Next step of the client, or a remedy for you; empty: the usual one of the part."""


class Health:
    """The health of one client."""

    def __init__(self) -> None:
        self._troubles: dict[str, Trouble] = {}

    def trouble(self, part: str, reason: str, now: float, next_step: str = "") -> None:
        """The part cannot do its work; a later reason replaces the text and keeps the time."""
        known = self._troubles.get(part)
        since = now if known is None else known.since
        self._troubles[part] = Trouble(reason, since, next_step)

    def recovered(self, part: str) -> None:
        """The part works again."""
        self._troubles.pop(part, None)

    @property
    def degraded(self) -> bool:
        """Whether any part has a trouble."""
        return bool(self._troubles)

    def report(self) -> dict[str, Trouble]:
        """Current troubles by part; empty: there are none."""
        return dict(self._troubles)
