"""The clock of the groups: one timer, set for the earliest deadline of any group."""

from __future__ import annotations

import asyncio
import math

from ottla.testing.broker.cluster import Cluster


class GroupWatch:
    """Removes overdue members of groups; belongs to the broker's loop."""

    def __init__(self, cluster: Cluster, loop: asyncio.AbstractEventLoop) -> None:
        self._cluster = cluster
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Set the timer again, after any change."""
        self.cancel()
        deadline = self._cluster.groups.next_deadline()
        if deadline != math.inf:
            self._timer = self._loop.call_at(deadline, self._fire)

    def cancel(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        # The loop may fire a little early, by its clock's resolution; then nothing is due and the timer is set again.
        self._cluster.groups.expire(self._loop.time())
        self.set()
