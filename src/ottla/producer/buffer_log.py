"""Log lines about a buffer that stays full: one warning with the largest part of it, and one line when there is space again.

Rust reports the first message without free buffer space (event `lacking`), and no other until a check here finds space. Senders
that are merely faster than the brokers cost a check each half second, and no line. Engine thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ottla.observe.budget import full_text
from ottla.observe.log import ClientLog

if TYPE_CHECKING:
    from ottla.seam.budget import Budget

CHECK_S = 0.5
FULL_S = 1.0
"""Seconds without an accepted message before the warning."""
QUIET_S = 60.0
"""Minimum seconds between two warnings."""

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function after a number of seconds, on the same thread."""


class Flow(Protocol):
    """The part of `ProduceFlow` that is checked."""

    def still_full(self) -> int | None:
        """Number of messages accepted so far; None: there is free buffer space."""

    def budget(self, holders: int) -> Budget:
        """Its parts, and this number of the largest."""


class BufferLog:
    """The log lines about one producer's buffer.

    Args:
        flow: Owner of the buffer.
        log: Where lines are written.
        max_block_ms: Maximum wait of a sender.
        later: Runs a function after a number of seconds.
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
        """Time since which no other message was accepted."""
        self._warned_since: float | None = None
        """Begin of the standstill that the log has a warning about."""
        self._quiet_until = 0.0
        self._stopped = False

    def begin(self, accepted: int) -> None:
        """A message found no free buffer space after this number of accepted ones: check from here on."""
        self._accepted, self._since = accepted, self._now()
        self._later(CHECK_S, self._check)

    def stop(self) -> None:
        """The producer is closed: no line follows."""
        self._stopped = True

    def _check(self) -> None:
        if self._stopped:
            return
        accepted, now = self._flow.still_full(), self._now()
        if accepted != self._accepted:
            self._report_free(now)
            self._accepted, self._since = accepted, now
        elif self._is_due(now):
            self._warned_since, self._quiet_until = self._since, now + QUIET_S
            reason = full_text(self._flow.budget(0))
            self._log.warning("buffer.full", reason=reason, max_block_ms=self._max_block_ms)
        if accepted is not None:
            self._later(CHECK_S, self._check)

    def _is_due(self, now: float) -> bool:
        standing = now - self._since >= FULL_S
        return standing and self._warned_since is None and now >= self._quiet_until

    def _report_free(self, now: float) -> None:
        if self._warned_since is not None:
            self._log.info("buffer.free", elapsed_s=now - self._warned_since)
            self._warned_since = None
