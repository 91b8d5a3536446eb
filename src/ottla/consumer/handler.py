"""The state of a handler's session: its claims, its marks and their commits.

A session is one generation of the group: the claims of this member, from setup to cleanup.
References: sarama's ConsumerGroupSession; the guarantees are the same.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ottla import errors
from ottla.consumer.marks import Marks
from ottla.message import TopicPartition
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from ottla._native import Record, Records
    from ottla.consumer.commits.fence import Owned
    from ottla.consumer.commits.lane import Offsets
    from ottla.engine.bridge import Ticket


class Committer(Protocol):
    """The engine side of the client whose session it is."""

    def call(self, name: str, function: Callable[[], Coroutine[Any, Any, None]]) -> Ticket[None]:
        """Run a coroutine function on the engine thread, for the public call of this name."""

    async def commit(
        self, offsets: Offsets, owned: Owned, lost: Mapping[TopicPartition, str]
    ) -> None:
        """Commit these offsets, see `ConsumerClient.commit`. Engine thread."""


class ClaimState:
    """One claim's progress through its partition. Written by the claim, read by the group."""

    __slots__ = (
        "_last",
        "_marks",
        "ended",
        "handed",
        "is_over",
        "left",
        "returned",
        "tp",
        "waiting",
        "waiting_since",
    )

    def __init__(self, tp: TopicPartition, marks: Marks) -> None:
        self.tp = tp
        self._marks = marks
        self._last = -1
        """Offset of the last record that was taken."""
        self.handed = 0
        """Records handed over so far."""
        self.waiting = True
        """Whether the claim waits for records, or has not asked for any yet."""
        self.waiting_since = monotonic()
        self.returned = False
        """Whether its handler has returned."""
        self.ended = False
        """Whether the claim has handed over its last record."""
        self.is_over = False
        """Whether its session is ending: another session may own the partition, so the claim takes nothing more."""
        self.left: Iterator[Record[Any, Any]] = iter(())
        """Records that were taken and not handed over yet."""

    def end(self) -> None:
        """The session is ending: hand over and take nothing more."""
        self.is_over = True
        self.drop()

    def receive(self, records: Records) -> None:
        """Records were taken: hand them over next. They begin before earlier ones if the log was truncated or recreated."""
        if len(records):
            first = records[0].offset
            if first <= self._last:
                self._marks.restart(self.tp, first)
            self._last = records[-1].offset
        self.left = iter(records)

    def drop(self) -> None:
        """Hand over nothing more of the records that were taken."""
        self.left = iter(())


class SessionState:
    """One session."""

    def __init__(self, client: Committer, owned: Owned, generation: int) -> None:
        self.generation = generation
        self.stopping = False
        """Whether the session is ending."""
        self.commits = SessionCommits(client, owned)
        self.claims = {tp: ClaimState(tp, self.commits.marks) for tp in owned}


class SessionCommits:
    """Commits the marks of one session, under its ownership. Calls made while a commit is in flight share the next one."""

    def __init__(self, client: Committer, owned: Owned) -> None:
        self.marks = Marks(owned)
        self._client = client
        self._owned = owned
        self._turn = asyncio.Lock()
        self._ended = False
        self._lock = threading.Lock()
        self._queued: Ticket[None] | None = None  # guarded by _lock

    def commit_soon(self) -> Ticket[None]:
        """Commit the marks that exist when the commit begins. Threads: any.

        Raises:
            StateError: The session has ended; its partitions may belong to another member.
        """
        if self._ended:
            raise errors.StateError("the session has ended: its marks cannot be committed any more")
        with self._lock:
            if self._queued is None:
                self._queued = self._client.call("GroupSession.commit", self._commit)
            return self._queued

    async def _commit(self) -> None:
        """Engine thread. The marks are read after the previous commit has ended, so no earlier mark is left out."""
        async with self._turn:
            with self._lock:
                self._queued = None
            offsets = self.marks.uncommitted()
            if offsets:
                await self._client.commit(offsets, self._owned, {})
                self.marks.set_committed(offsets)

    def end(self) -> None:
        """Refuse marks and commits from now on. Threads: any."""
        self._ended = True
        self.marks.end()

    async def commit_last(self) -> errors.Error | None:
        """The final commit of the session; returns its error instead of raising it. Engine thread."""
        self.end()
        try:
            await self._commit()
        except errors.Error as error:
            return error
        return None
