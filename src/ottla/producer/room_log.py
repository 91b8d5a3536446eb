"""What the log says of a buffer that stays full: one warning that names who holds it, and one line when there is room again.

Rust tells of the first message that has no room (`lacking`), and nothing more until the look here finds some: while senders are
merely faster than the brokers that is a look each half second, and no line. Engine thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ottla.observe.log import ClientLog

LOOK_S = 0.5
FULL_S = 1.0
"""So long nothing is accepted before it is told."""
QUIET_S = 60.0
"""So long after a line none follows, however often it fills."""

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function in so many seconds, on the same thread."""


class Flow(Protocol):
    """What it looks at, of `ProduceFlow`."""

    def still_full(self) -> int | None:
        """Messages accepted so far; None: there is room."""

    def budget(self, most: int) -> dict[str, Any]:
        """Who holds it."""


class RoomLog:
    """One producer's.

    Args:
        flow: Where the room is.
        log: Where the lines go.
        max_block_ms: What a sender waits at most.
        later: Runs a function in so many seconds.
        now: The time, seconds.
    """

    def __init__(
        self,
        flow: Flow,
        log: ClientLog,
        max_block_ms: float,
        later: Later,
        now: Callable[[], float],
    ) -> None:
        self._flow = flow
        self._log = log
        self._max_block_ms = max_block_ms
        self._later = later
        self._now = now
        self._accepted: int | None = None
        self._since = 0.0
        """Since then none was accepted but these."""
        self._told: float | None = None
        """Since when it had been full, where the log has a line about it."""
        self._quiet_until = 0.0
        self._stopped = False

    def lacking(self, accepted: int) -> None:
        """A message had no room, and so many were accepted before."""
        self._accepted, self._since = accepted, self._now()
        self._later(LOOK_S, self._look)

    def stop(self) -> None:
        """The producer is closed: nothing is told any more."""
        self._stopped = True

    def _look(self) -> None:
        if self._stopped:
            return
        accepted, now = self._flow.still_full(), self._now()
        if accepted != self._accepted:
            self._moves(now)
            self._accepted, self._since = accepted, now
        elif now - self._since >= FULL_S and self._told is None and now >= self._quiet_until:
            self._told, self._quiet_until = self._since, now + QUIET_S
            self._log.warning(
                "buffer.full",
                reason=self._flow.budget(1)["told"],
                max_block_ms=self._max_block_ms,
            )
        if accepted is not None:
            self._later(LOOK_S, self._look)

    def _moves(self, now: float) -> None:
        if self._told is not None:
            self._log.info("buffer.free", elapsed_s=now - self._told)
            self._told = None
