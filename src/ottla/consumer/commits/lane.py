"""The commit lane: one OffsetCommit of a group in flight at a time. Without I/O; time is passed in.

Offsets that are requested while a request is in flight are merged and sent together in the next one, so thousands of `commit_async`
calls cost a few requests. Each partition has one entry with its latest offset and the callers that wait for it, so a later commit of
a partition is never overtaken by an earlier one. A partition that is retried for a trouble of its own waits alone: the next request
carries the others. Each caller gets its result when all of its partitions have one, or at its own deadline.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from ottla.errors import Error
from ottla.message import OffsetAndMetadata, TopicPartition

Offsets = Mapping[TopicPartition, OffsetAndMetadata]
Failures = dict[TopicPartition, BaseException]


class Caller:
    """One commit call: the partitions without a result, and the failures so far."""

    __slots__ = ("_done", "_failures", "deadline", "is_explicit", "waits_for")

    def __init__(
        self,
        partitions: Iterable[TopicPartition],
        deadline: float,
        is_explicit: bool,
        done: Callable[[Failures], None],
    ) -> None:
        self.waits_for = set(partitions)
        self.deadline = deadline
        self.is_explicit = is_explicit
        """Whether the application asked for it; automatic commits are not retried for a trouble of one partition."""
        self._failures: Failures = {}
        self._done = done

    def settle(self, tp: TopicPartition, error: BaseException | None) -> None:
        """One partition has its result; the last one ends the call."""
        if tp not in self.waits_for:
            return
        self.waits_for.discard(tp)
        if error is not None:
            self._failures[tp] = error
        if not self.waits_for:
            self._done(self._failures)


class Entry:
    """The latest offset of one partition that waits or is in flight."""

    __slots__ = (
        "attempts",
        "callers",
        "due",
        "fence",
        "is_sent",
        "may_be_committed",
        "offset",
        "problem",
        "tp",
    )

    def __init__(self, tp: TopicPartition, offset: OffsetAndMetadata, fence: object) -> None:
        self.tp = tp
        self.offset = offset
        self.fence = fence
        """The ownership of the partition under which the offset was requested."""
        self.callers: dict[Caller, None] = {}
        self.problem: Error | None = None
        """Why the latest attempt failed."""
        self.may_be_committed = False
        """Whether an attempt was sent and ended without an answer."""
        self.is_sent = False
        """Whether the current attempt was sent."""
        self.attempts = 0
        """Number of attempts that failed by a trouble of this partition alone."""
        self.due = -math.inf
        """Earliest time of the next attempt."""

    def settle(self, error: BaseException | None) -> None:
        """Every caller gets this result for the partition."""
        for caller in self.callers:
            caller.settle(self.tp, error)


class CommitLane:
    """The requested offsets, and those in flight. Engine thread only.

    Args:
        superseded: The error of an offset whose partition was assigned again before the offset was sent.
    """

    def __init__(self, superseded: Callable[[TopicPartition], Error]) -> None:
        self._waiting: dict[TopicPartition, Entry] = {}
        self._in_flight: dict[TopicPartition, Entry] | None = None
        self._callers: deque[Caller] = deque()
        """In the order of their calls, and therefore of their deadlines."""
        self._paused_until = -math.inf
        self._superseded = superseded

    def __repr__(self) -> str:
        return f"<CommitLane waiting={len(self._waiting)} in_flight={self._in_flight is not None}>"

    @property
    def is_idle(self) -> bool:
        """Whether no offset waits or is in flight."""
        return self._in_flight is None and not self._waiting

    # ---- requests ------------------------------------------------------------------------------------------------------

    def request(
        self,
        offsets: Offsets,
        fence: Callable[[TopicPartition], object],
        done: Callable[[Failures], None],
        *,
        deadline: float,
        is_explicit: bool,
    ) -> None:
        """Add these offsets to the next request; of several offsets of a partition the latest is sent."""
        caller = Caller(offsets, deadline, is_explicit, done)
        for tp, offset in offsets.items():
            self._entry(tp, offset, fence(tp)).callers[caller] = None
        self._callers.append(caller)

    def _entry(self, tp: TopicPartition, offset: OffsetAndMetadata, fence: object) -> Entry:
        entry = self._waiting.get(tp)
        if entry is not None and entry.fence == fence:
            entry.offset = offset
            return entry
        if entry is not None:
            entry.settle(self._superseded(tp))
        entry = self._waiting[tp] = Entry(tp, offset, fence)
        return entry

    def take(self, now: float) -> list[Entry] | None:
        """The entries of the next request; None while one is in flight or none is due."""
        if self._in_flight is not None or now < self._paused_until:
            return None
        due = {tp: entry for tp, entry in self._waiting.items() if entry.due <= now}
        if not due:
            return None
        for tp in due:
            del self._waiting[tp]
        self._in_flight = due
        return list(due.values())

    # ---- answers -------------------------------------------------------------------------------------------------------

    def settle(self, entry: Entry, error: BaseException | None = None) -> None:
        """The entry in flight has its final result."""
        self._landed(entry)
        entry.settle(error)

    def retry_alone(self, entry: Entry, error: Error, due: float) -> None:
        """Send the entry again at `due`, for a trouble of this partition; only explicit callers wait for that."""
        for caller in [one for one in entry.callers if not one.is_explicit]:
            del entry.callers[caller]
            caller.settle(entry.tp, error)
        entry.attempts += 1
        self._requeue(entry, error, due)

    def retry_all(self, entries: Iterable[Entry], error: Error, due: float) -> None:
        """Send the entries again at `due`, and nothing before: the coordinator has a trouble."""
        self._paused_until = max(self._paused_until, due)
        for entry in list(entries):
            entry.may_be_committed |= error.outcome == "unknown"
            self._requeue(entry, error, due)

    def _requeue(self, entry: Entry, error: Error, due: float) -> None:
        self._landed(entry)
        entry.is_sent = False
        newer = self._waiting.get(entry.tp)
        if newer is not None and newer.fence != entry.fence:
            entry.settle(self._superseded(entry.tp))
            return
        if newer is not None:
            newer.callers = entry.callers | newer.callers
            newer.attempts, newer.may_be_committed = entry.attempts, entry.may_be_committed
            entry = newer
        entry.problem, entry.due = error, due
        if any(caller.waits_for for caller in entry.callers):
            self._waiting[entry.tp] = entry

    def _landed(self, entry: Entry) -> None:
        if self._in_flight is not None:
            self._in_flight.pop(entry.tp, None)

    def end_request(self, error: BaseException | None = None) -> None:
        """The request has ended; entries that are neither settled nor retried fail with this error."""
        left, self._in_flight = self._in_flight or {}, None
        for entry in left.values():
            entry.settle(error)

    # ---- time ----------------------------------------------------------------------------------------------------------

    def next_time(self) -> float:
        """When `take` or `expire` has something to do; infinity if nothing waits."""
        while self._callers and not self._callers[0].waits_for:
            self._callers.popleft()
        times = [self._callers[0].deadline] if self._callers else []
        if self._in_flight is None and self._waiting:
            due = min(entry.due for entry in self._waiting.values())
            times.append(max(due, self._paused_until))
        return min(times, default=math.inf)

    def expire(self, now: float, error: Callable[[Entry], Error]) -> None:
        """End the calls whose deadline has passed, with this error for each of their partitions."""
        while self._callers and (
            not self._callers[0].waits_for or self._callers[0].deadline <= now
        ):
            caller = self._callers.popleft()
            for tp in list(caller.waits_for):
                entry = self._entry_of(tp, caller)
                del entry.callers[caller]
                caller.settle(tp, error(entry))
                if not entry.callers and self._waiting.get(tp) is entry:
                    del self._waiting[tp]

    def _entry_of(self, tp: TopicPartition, caller: Caller) -> Entry:
        """The entry in which the caller waits for this partition: in flight, or for the next request."""
        entry = None if self._in_flight is None else self._in_flight.get(tp)
        return self._waiting[tp] if entry is None or caller not in entry.callers else entry

    def give_up_retries(self, partitions: Iterable[TopicPartition] | None = None) -> None:
        """End the retries of partitions with a trouble of their own, each with its error. None: of all partitions."""
        for tp in list(self._waiting if partitions is None else partitions):
            entry = self._waiting.get(tp)
            if entry is not None and entry.attempts:
                del self._waiting[tp]
                entry.settle(entry.problem)
