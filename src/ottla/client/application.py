"""The application as the membership sees it: calls that the application serves where it polls. Engine thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ottla import errors
from ottla.consumer.calls import ASSIGNED, LOST, REVOKED, Call, Calls
from ottla.consumer.liveness import Tokens
from ottla.message import TopicPartition
from ottla.observe.consumer_health import HealthWait

if TYPE_CHECKING:
    from ottla.consumer.commits.automatic import AutoCommit
    from ottla.consumer.cursor import Cursors


_LOSS_WAITS = (
    "new partitions are assigned once it polls and `on_lost` has returned, or its claims end"
)


class GroupApplication:
    """The `Application` of a membership: starts and stops cursors, and passes each change on as a call.

    Args:
        cursors: The positions and routes of the assigned partitions.
        autocommit: Commits before partitions are given back.
        wake: Ends a wait of the application for records.
    """

    def __init__(self, cursors: Cursors, autocommit: AutoCommit, wake: Callable[[], None]) -> None:
        self.calls = Calls()
        """Calls that the application has not served yet."""
        self.error: errors.Error | None = None
        """Why the group refused this consumer for good: every later poll raises it."""
        self._raised: errors.Error | None = None
        """The last error of a partition that a poll raised."""
        self.attention: Callable[[], Tokens] = dict
        """Shows whether the application makes progress, see `Liveness`. Set by the application's side."""
        self._cursors = cursors
        self._autocommit = autocommit
        self._wake = wake
        self._assignments: list[Call] = []
        """Assignments that the application has not served yet."""
        self._revocations: list[Call] = []
        """Revocations that the application has not served yet."""
        self._losses: list[Call] = []
        """Losses that the application has not served yet."""

    async def wait_for_losses(self) -> None:
        """Wait until the application has served every loss.

        Before that its current records may be of an earlier ownership than a new assignment of the same partition, and
        committing them would put back what another member has committed meanwhile.
        """
        while self._losses:
            await self._losses[0].wait()
            self._losses.pop(0)

    async def assign(self, partitions: Sequence[TopicPartition], generation: int) -> None:
        """Let the partitions flow, and post the call."""
        await self._cursors.assign(partitions, epoch=generation)
        call = Call(ASSIGNED, partitions, generation)
        self._assignments = [one for one in self._assignments if not one.is_served]
        self._assignments.append(call)
        self.calls.post(call)

    async def revoke(self, partitions: Sequence[TopicPartition]) -> None:
        """End the hand-over, wait until the application has served the call, commit its progress, and unassign."""
        self._cursors.withhold(partitions)
        call = Call(REVOKED, partitions)
        self._revocations.append(call)
        self.calls.post(call)
        try:
            await call.wait()
        finally:
            self._revocations.remove(call)
        if not call.withdrawn:
            await self._autocommit.commit(frozenset(partitions))
            self._cursors.unassign(partitions)

    def is_first(self, error: errors.Error) -> bool:
        """Whether a poll has to raise the error: partitions of a topic that is refused as a whole share one. Threads: the poll's."""
        before, self._raised = self._raised, error
        return error is not before

    def lose(self, partitions: Sequence[TopicPartition], reason: str) -> None:
        """Unassign the partitions at once, commit nothing of them, and post the call.

        An assignment that the application has not begun to serve is withdrawn in its place: it never got these partitions.
        """
        self._cursors.unassign(partitions)
        for call in self._revocations:
            call.withdraw()
        unknown = [call for call in self._assignments if call.withdraw()]
        self._assignments = []
        never_given = {tp for call in unknown for tp in call.partitions}
        lost = [tp for tp in partitions if tp not in never_given]
        call = Call(LOST, lost, reason=reason)
        self._losses.append(call)
        self.calls.post(call)

    def unserved_losses(self) -> dict[TopicPartition, str]:
        """Why partitions were lost, of losses that the application has not served. Threads: any."""
        losses = [call for call in list(self._losses) if not (call.is_served or call.withdrawn)]
        return {tp: call.reason for call in losses for tp in call.partitions}

    def fail(self, error: errors.Error) -> None:
        """The group refused this consumer for good: wake the application, whose next poll raises the error."""
        self.error = error
        self._wake()
        self.calls.ring()

    def tokens(self) -> Tokens:
        """Shows whether the application makes progress, see `Liveness`."""
        return self.attention()

    def waits(self, now: float) -> list[HealthWait]:
        """Losses that the application has not served. Threads: any. now: By the engine's clock, seconds."""
        return [
            HealthWait("group", "the application", _LOSS_WAITS, max(0.0, now - call.since))
            for call in list(self._losses)
            if not call.withdrawn and call.partitions
        ]

    def withdraw_calls(self) -> None:
        """Withdraw every call that was not served: the membership that posted it has ended."""
        while (call := self.calls.take()) is not None:
            call.withdraw()
        for call in [*self._assignments, *self._revocations, *self._losses]:
            call.withdraw()
        self._assignments = []
