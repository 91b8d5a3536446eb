"""Distinguishes a slow application from a stuck one. Pure: time is passed in.

Each reader of records (a poll loop, every claim of a handler) has a token that changes with every record it requests, or
None while it waits for records. A token that stays the same for `limit_s` means a stuck application. Java watches only the
polls, so a slow loop over the records of one poll counts as stuck there and not here.
"""

from __future__ import annotations

from collections.abc import Mapping

Tokens = Mapping[object, object]
"""reader -> token; None while the reader waits."""


class Liveness:
    """Remembers how long each reader has had the same token."""

    def __init__(self, limit_s: float) -> None:
        self._limit = limit_s
        self._seen: dict[object, tuple[object, float]] = {}

    def stuck(self, tokens: Tokens, now: float) -> bool:
        """Whether any reader has had the same token for the limit. now: Seconds of any monotonic clock."""
        seen: dict[object, tuple[object, float]] = {}
        for place, token in tokens.items():
            if token is None:
                continue
            before = self._seen.get(place)
            seen[place] = before if before is not None and before[0] == token else (token, now)
        self._seen = seen
        return any(now - since >= self._limit for _, since in seen.values())
