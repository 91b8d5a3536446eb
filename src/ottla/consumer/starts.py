"""Start positions and resets: the committed offset of a partition, else the offset of the reset policy.

Station: cursor. Each partition starts on its own: it gets its position as soon as its own answers have come, and a partition that is
offline, refused, or led by a silent broker delays no other one. A reset follows only on a definite answer of the partition's leader.
Engine thread only. References: `auto.offset.reset`, KIP-1106; Java: SubscriptionState, OffsetsRequestManager.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from ottla import errors
from ottla.cluster.retry import Attempts
from ottla.consumer.commits.automatic import commit_starts
from ottla.consumer.list_offsets import EARLIEST, FoundOffset, OffsetReceiver
from ottla.message import OffsetAndMetadata, TopicPartition

if TYPE_CHECKING:
    from ottla.cluster.backoff import Backoff
    from ottla.consumer.commits.offsets import GroupOffsets
    from ottla.consumer.cursor import Cursor
    from ottla.consumer.list_offsets import OffsetFinder
    from ottla.consumer.reset import ResetPolicy
    from ottla.engine.thread import Engine
    from ottla.observe.log import ClientLog


Times = dict[TopicPartition, int]
"""The time that is searched in each partition."""
CommitStart = Callable[["Cursor", OffsetAndMetadata], None]
"""Commits a start position, so that the next owner begins there too."""


class Positions(Protocol):
    """The owner of the cursors."""

    def is_current(self, cursor: Cursor) -> bool:
        """Whether the cursor is still assigned."""

    def set_position(self, cursor: Cursor, start: OffsetAndMetadata) -> None:
        """Continue at this offset."""

    def refuse(self, cursors: Sequence[Cursor], error: errors.Error) -> None:
        """Fetch nothing more of these partitions; one error for all of them is raised once."""

    def report_no_position(self, cursor: Cursor, reason: str, failures: int) -> None:
        """An attempt to find the position failed; another one follows."""

    def report_reset(self, cursor: Cursor, reason: str, offset: int) -> None:
        """The position was reset."""

    def report_internal(self, partitions: Iterable[TopicPartition], error: Exception) -> None:
        """An attempt failed by a fault of this client; another one follows."""


class Starts:
    """Finds the positions of one consumer's partitions.

    Args:
        engine: Runs the searches.
        offsets: Committed offsets; None: the consumer has no group.
        finder: Queries the leaders.
        policy: The reset policy.
        backoff: Pauses between look-ups of committed offsets.
        positions: Receives the results.
        log: Logger of the cursors.
    """

    def __init__(
        self,
        engine: Engine,
        offsets: GroupOffsets | None,
        finder: OffsetFinder,
        policy: ResetPolicy,
        backoff: Backoff,
        positions: Positions,
        log: ClientLog,
    ) -> None:
        self._engine = engine
        self._offsets = offsets
        self._finder = finder
        self._policy = policy
        self._backoff = backoff
        self._positions = positions
        self._log = log
        self.is_added: Callable[[TopicPartition], bool] = lambda _: False
        """Whether a partition starts at its first record under any policy but none."""
        self._begun: dict[TopicPartition, OffsetAndMetadata] = {}
        """Positions of the reset policy that are committed in the next turn."""

    def begin(self, cursors: Sequence[Cursor]) -> None:
        """Find a start position for each of these partitions, in the background."""
        if self._offsets is None:
            self._start_by_policy(cursors)
        elif cursors:
            self._engine.spawn(
                self._start_at_committed(cursors, self._offsets), "start of assigned partitions"
            )

    def reset(self, cursor: Cursor, reason: str) -> None:
        """The position is not in the log: set that of the reset policy and report it, or raise."""
        if self._policy.raises:
            self._refuse_reset([cursor], reason)
        else:
            time_ms = self._policy.time_ms(time.time())
            self._search([cursor], _Reset(self._positions, [cursor], self._commit, reason), time_ms)

    def _search(self, cursors: Sequence[Cursor], receiver: OffsetReceiver, time_ms: int) -> None:
        times = dict.fromkeys([cursor.tp for cursor in cursors], time_ms)
        self._engine.spawn(self._search_on(times, receiver), "search of positions")

    async def _search_on(self, times: Times, receiver: OffsetReceiver) -> None:
        """Search until no partition is left. An internal error ends no search."""
        async for _ in Attempts(self._backoff, self._engine.clock):
            times = {tp: time_ms for tp, time_ms in times.items() if receiver.wants(tp)}
            try:
                await self._finder.search(times, receiver)
            except Exception as error:
                self._positions.report_internal(times, error)
            else:
                return

    def _start_by_policy(self, cursors: Sequence[Cursor]) -> None:
        if not cursors:
            return
        if self._policy.raises:
            # An error about a partition follows an answer about it; meanwhile the application may seek.
            no_start = _NoStart(self._positions, cursors, self._commit, self._refuse_reset)
            self._search(cursors, no_start, EARLIEST)
        else:
            added = [cursor for cursor in cursors if self.is_added(cursor.tp)]
            self._search_start(added, EARLIEST)
            others = [cursor for cursor in cursors if not self.is_added(cursor.tp)]
            self._search_start(others, self._policy.time_ms(time.time()))

    def _search_start(self, cursors: Sequence[Cursor], time_ms: int) -> None:
        if cursors:
            self._search(cursors, _Start(self._positions, cursors, self._commit), time_ms)

    def _refuse_reset(self, cursors: Sequence[Cursor], reason: str) -> None:
        """The policy forbids a reset: raise an error instead."""
        for cursor in cursors:
            topic, partition = cursor.tp
            error = errors.OffsetOutOfRange(
                f"{reason} and auto_offset_reset is none", topic=topic, partition=partition
            )
            self._positions.refuse([cursor], error)

    def _commit(self, cursor: Cursor, start: OffsetAndMetadata) -> None:
        """Commit a position that the reset policy gave to a partition of a group, unless it skips nothing when it is applied later.

        Otherwise the next owner would skip the records that were written in between, if this one commits nothing before.
        """
        if self._offsets is None or self._policy.is_stable or cursor.ownership.epoch < 0:
            return
        if not self._begun:
            self._engine.loop.call_soon(self._commit_begun, self._offsets)
        self._begun[cursor.tp] = start

    def _commit_begun(self, offsets: GroupOffsets) -> None:
        begun, self._begun = self._begun, {}
        commit = commit_starts(offsets, begun, self._log)
        self._engine.spawn(commit, "commit of start positions")

    def _waiting(self, cursors: Iterable[Cursor]) -> list[Cursor]:
        return [cursor for cursor in cursors if _waits(self._positions, cursor)]

    # ---- committed offsets -------------------------------------------------------------------------------------------

    async def _start_at_committed(self, cursors: Sequence[Cursor], offsets: GroupOffsets) -> None:
        """Look committed offsets up until each partition has an answer. Each one starts with its own."""
        waiting = self._waiting(cursors)
        async for failures in Attempts(self._backoff, self._engine.clock):
            waiting = self._waiting(waiting)
            if not waiting:
                return
            try:
                answer = await offsets.look_up([cursor.tp for cursor in waiting])
            except errors.Error as error:
                self._not_looked_up(waiting, error, failures + 1)
                continue
            except Exception as error:
                self._positions.report_internal([cursor.tp for cursor in waiting], error)
                continue
            waiting = self._waiting(waiting)
            self._start(waiting, answer.found)
            waiting = [cursor for cursor in waiting if cursor.tp in answer.refused]
            for cursor in waiting:
                self._not_looked_up([cursor], answer.refused[cursor.tp], failures + 1)

    def _start(
        self, cursors: Sequence[Cursor], found: dict[TopicPartition, OffsetAndMetadata | None]
    ) -> None:
        without: list[Cursor] = []
        for cursor in cursors:
            if cursor.tp not in found:
                continue
            start = found[cursor.tp]
            if start is None:
                without.append(cursor)
            else:
                self._positions.set_position(cursor, start)
        self._start_by_policy(without)

    def _not_looked_up(self, cursors: Sequence[Cursor], error: errors.Error, failures: int) -> None:
        if error.permanent:
            self._positions.refuse(cursors, error)
            return
        reason = errors.line_of(error)
        for cursor in cursors:
            self._positions.report_no_position(cursor, reason, failures)


def _waits(positions: Positions, cursor: Cursor) -> bool:
    return positions.is_current(cursor) and not cursor.positioned and cursor.refusal is None


class _Start(OffsetReceiver):
    """Sets the start position of each partition that still has none."""

    waits_for_topics = True
    takes_end = True

    def __init__(
        self, positions: Positions, cursors: Iterable[Cursor], commit: CommitStart
    ) -> None:
        self._positions = positions
        self._commit = commit
        self._cursors = {cursor.tp: cursor for cursor in cursors}

    def wants(self, tp: TopicPartition) -> bool:
        return _waits(self._positions, self._cursors[tp])

    def found(self, tp: TopicPartition, answer: FoundOffset) -> None:
        start = OffsetAndMetadata(answer.offset, answer.leader_epoch)
        self._positions.set_position(self._cursors[tp], start)
        self._commit(self._cursors[tp], start)

    def refused(self, tps: Sequence[TopicPartition], error: errors.Error) -> None:
        self._positions.refuse([self._cursors[tp] for tp in tps], error)

    def failed(self, tp: TopicPartition, reason: str, failures: int) -> None:
        self._positions.report_no_position(self._cursors[tp], reason, failures)


class _NoStart(_Start):
    """Refuses each partition that exists and still has no position: the policy allows no other start."""

    def __init__(
        self,
        positions: Positions,
        cursors: Iterable[Cursor],
        commit: CommitStart,
        refuse: Callable[[Sequence[Cursor], str], None],
    ) -> None:
        super().__init__(positions, cursors, commit)
        self._refuse = refuse

    def found(self, tp: TopicPartition, answer: FoundOffset) -> None:
        self._refuse([self._cursors[tp]], "no committed offset")


class _Reset(_Start):
    """Sets the position of a partition unless another one was set meanwhile, and reports the reset."""

    def __init__(
        self, positions: Positions, cursors: Iterable[Cursor], commit: CommitStart, reason: str
    ) -> None:
        super().__init__(positions, cursors, commit)
        self._reason = reason
        self._seeks = {cursor.tp: cursor.seeks for cursor in self._cursors.values()}

    def wants(self, tp: TopicPartition) -> bool:
        cursor = self._cursors[tp]
        is_waiting = self._positions.is_current(cursor) and cursor.refusal is None
        return is_waiting and cursor.seeks == self._seeks[tp]

    def found(self, tp: TopicPartition, answer: FoundOffset) -> None:
        self._positions.report_reset(self._cursors[tp], self._reason, answer.offset)
        super().found(tp, answer)
