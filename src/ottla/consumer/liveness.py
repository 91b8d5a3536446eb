"""Tells an application that works slowly from one that is stuck. Pure: time is passed in.

Each place where the application takes records (a poll loop, every claim of a handler) shows a token that changes with
every record it asks for, or None while it waits for records. A token that stays the same for `limit_s` is a stuck
application. Java watches only the polls, so a slow loop over one poll's records looks stuck there and not here.
"""

from __future__ import annotations

from collections.abc import Mapping

Tokens = Mapping[object, object]
"""place -> token, None while that place waits."""


class Liveness:
    """Remembers since when each place has shown the same token."""

    def __init__(self, limit_s: float) -> None:
        self._limit = limit_s
        self._seen: dict[object, tuple[object, float]] = {}

    def stuck(self, tokens: Tokens, now: float) -> bool:
        """Whether any place has not moved for the limit; now is in seconds of any monotonic clock."""
        seen: dict[object, tuple[object, float]] = {}
        for place, token in tokens.items():
            if token is None:
                continue
            before = self._seen.get(place)
            seen[place] = before if before is not None and before[0] == token else (token, now)
        self._seen = seen
        return any(now - since >= self._limit for _, since in seen.values())
