"""Health: what currently keeps the client from doing all of its work, in one look.

Each part of a client says what troubles it and takes that back when it is over. Leaf; any thread: a report is one
assignment, a look copies.
"""

from __future__ import annotations

from typing import NamedTuple


class Trouble(NamedTuple):
    """Why a part of the client cannot do its work."""

    reason: str
    since: float
    """By the clock of the part that reported it, seconds."""


class Health:
    """The health of one client."""

    def __init__(self) -> None:
        self._troubles: dict[str, Trouble] = {}

    def trouble(self, part: str, reason: str, now: float) -> None:
        """The part cannot do its work; a later reason replaces the text and keeps the time."""
        known = self._troubles.get(part)
        self._troubles[part] = Trouble(reason, now if known is None else known.since)

    def recovered(self, part: str) -> None:
        """The part works again."""
        self._troubles.pop(part, None)

    @property
    def degraded(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._troubles)

    def report(self) -> dict[str, Trouble]:
        """What is wrong, by part; empty: all is well."""
        return dict(self._troubles)
