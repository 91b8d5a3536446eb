"""Explains a long rebalance in the log: whom the member waits for, after 3 s and each time the wait has doubled. Engine thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.engine.thread import Engine
    from ottla.observe.log import ClientLog

_FIRST_S = 3.0
"""Seconds of a rebalance before the first line."""


class RebalanceWait:
    """The lines about one member's rebalances.

    Args:
        engine: Its loop and clock.
        log: Of the membership.
        group_id: Name of the group.
        describe: Returns whom the member waits for, and why.
    """

    def __init__(
        self,
        engine: Engine,
        log: ClientLog,
        group_id: str,
        describe: Callable[[], tuple[str, str]],
    ) -> None:
        self._engine = engine
        self._log = log
        self._group_id = group_id
        self._describe = describe
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A rebalance has begun, or continues."""
        if self._timer is None:
            self._since = self._engine.clock.now()
            self._timer = self._engine.loop.call_later(_FIRST_S, self._report, _FIRST_S)

    def end(self) -> None:
        """The rebalance has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report(self, pause: float) -> None:
        waits_for, reason = self._describe()
        self._log.info(
            "group.waiting",
            group=self._group_id,
            elapsed_s=self._engine.clock.now() - self._since,
            waits_for=waits_for,
            reason=reason,
        )
        self._timer = self._engine.loop.call_later(pause, self._report, 2 * pause)
