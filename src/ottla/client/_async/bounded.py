"""The polls of a bounded read: they end when every assigned partition has reached its end.

Runs in the application's threads or tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ottla.consumer.bound import Bound
from ottla.consumer.list_offsets import LATEST
from ottla.engine.bridge import GRACE_S
from ottla.engine.clock import Deadline
from ottla.engine.twins import wait_async
from ottla.errors import Timeout
from ottla.message import TopicPartition
from ottla.observe.log import named

if TYPE_CHECKING:
    from ottla._native import Records
    from ottla.client._async.polling import AsyncPolling
    from ottla.client.consumer import ConsumerClient

_STEP_S = 0.5
"""Interval between checks of the positions while records are waited for, in seconds."""
_SHORT_STEP_S = 0.05
"""The same while a partition has no position: an empty one is at its end as soon as it has."""
_NEVER_READ = -1
"""End of a partition that the caller gave no end for."""


class AsyncBoundedPolls:
    """The polls of one bounded read.

    Args:
        client: The engine's side.
        polling: The consumer's polls.
        offsets: The ends; None: they are looked up.
        timestamp_ms: The ends are the first records of this time or later; None: the ends of the logs at the look-up.
        timeout: Seconds that one call waits without any progress.
    """

    def __init__(
        self,
        client: ConsumerClient,
        polling: AsyncPolling,
        offsets: Mapping[TopicPartition, int] | None,
        timestamp_ms: int | None,
        timeout: float,
    ) -> None:
        self.is_complete = False
        """Whether every assigned partition has reached its end."""
        self._client = client
        self._polling = polling
        self._offsets = offsets
        self._time_ms = LATEST if timestamp_ms is None else timestamp_ms
        self._timeout = timeout
        self._bound = Bound(client.flow, polling.hand_over)
        self._has_begun = False

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """The ends that are known so far."""
        return {tp: end for tp, end in self._bound.ends.items() if end != _NEVER_READ}

    def begin(self) -> None:
        """A read begins: records that an iteration of the consumer has left are taken again."""
        if not self._has_begun:
            self._has_begun = True
            self._polling.leave_iteration()

    async def next_records(self, limit: int) -> Records[Any, Any] | None:
        """The next records, at most `limit`; None at the end, or where `wakeup` was called or the consumer is closed.

        Raises:
            Timeout: No record and no position has come for the time-out.
        """
        self.begin()
        deadline, before = Deadline(self._timeout), self._client.flow.positions()
        while not self.is_complete:
            await self._find_ends(deadline)
            if self._all_reached():
                self.is_complete = True
                break
            records = await self._poll(limit, deadline)
            if records:
                return records
            if records is None:
                return None
            now = self._client.flow.positions()
            if now != before:
                deadline, before = Deadline(self._timeout), now
            elif deadline.left() == 0:
                raise self._too_late()
        self._polling.finish_all()
        return None

    async def next_chunk(self, limit: int) -> Records[Any, Any] | None:
        """The same for an iteration over single records."""
        records = await self.next_records(limit)
        if records is not None:
            self._polling.begin_chunk(records)
        return records

    async def _poll(self, limit: int, deadline: Deadline) -> Records[Any, Any] | None:
        """One poll; no records where the step ended without any, None where `wakeup` or `close` was called."""
        positions = self._client.flow.positions()
        has_all = all(tp in positions for tp in self._client.cursors.assigned)
        step, left = _STEP_S if has_all else _SHORT_STEP_S, deadline.left()
        with self._in_front():
            return await self._polling.poll_step(limit, step if left is None else min(step, left))

    @contextmanager
    def _in_front(self) -> Iterator[None]:
        """Nothing beyond an end is handed over."""
        hand_over, self._polling.hand_over = self._polling.hand_over, self._bound
        self._bound.pause_reached(self._client.cursors.assigned)
        try:
            yield
        finally:
            self._polling.hand_over = hand_over
            self._bound.resume(self._client.cursors.assigned)

    # ---- ends --------------------------------------------------------------------------------------------------------

    def _all_reached(self) -> bool:
        assigned = self._client.cursors.assigned
        if not assigned:
            return self._polling.has_nothing_assigned()
        return not self._bound.open_partitions(assigned)

    async def _find_ends(self, deadline: Deadline) -> None:
        """Look up the ends of partitions that were assigned since the last time."""
        missing = self._bound.without_end(self._client.cursors.assigned)
        if self._offsets is not None:
            self._bound.ends.update((tp, self._offsets.get(tp, _NEVER_READ)) for tp in missing)
        elif missing:
            found = await self._find(missing, self._time_ms, deadline)
            later = [tp for tp, offset in found.items() if offset < 0]
            if later:
                found |= await self._find(later, LATEST, deadline)
            self._bound.ends.update(found)

    async def _find(
        self, partitions: list[TopicPartition], time_ms: int, deadline: Deadline
    ) -> dict[TopicPartition, int]:
        find: Callable[..., Any] = self._client.finder.find
        left = deadline.left()
        limit = self._timeout if left is None else left
        wanted = dict.fromkeys(partitions, time_ms)
        asked = self._client.query("AsyncConsumer.read_until", find, wanted, limit)
        found = await wait_async(asked, limit + GRACE_S)
        return {tp: answer.offset for tp, answer in found.items()}

    def _too_late(self) -> Timeout:
        positions = self._client.flow.positions()
        left = self._bound.open_partitions(self._client.cursors.assigned)
        places = [self._describe(tp, positions.get(tp, (None, -1))[0]) for tp in left]
        reason = named(places) if left else "the group assigns no partition"
        return Timeout(f"no record and no position came for {self._timeout:g} s: {reason}")

    def _describe(self, tp: TopicPartition, position: int | None) -> str:
        at = "without a position" if position is None else f"at {position}"
        paused = ", paused" if self._client.flow.partition_state(*tp).paused else ""
        return f"{tp} is {at} of {self._bound.ends.get(tp, '?')}{paused}"
