"""The commit lane: one OffsetCommit of a group in flight at a time. Without I/O.

Commits that are requested while one is in flight are merged and sent together in the next one, so thousands of
`commit_async` calls cost a few requests; each caller receives the failures of its own partitions. A later commit of a
partition is never overtaken by an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ottla.message import OffsetAndMetadata, TopicPartition

Offsets = Mapping[TopicPartition, OffsetAndMetadata]
Failures = dict[TopicPartition, BaseException]


class PendingCommit(NamedTuple):
    """The commit of one caller."""

    partitions: frozenset[TopicPartition]
    done: Callable[[Failures], None]
    """Called once, with the failures among its partitions (empty: all committed)."""


class CommitLane:
    """The requested commits, and the one in flight. Engine thread only."""

    def __init__(self) -> None:
        self._waiting: dict[TopicPartition, OffsetAndMetadata] = {}
        self._requested: list[PendingCommit] = []
        self._in_flight: list[PendingCommit] | None = None

    def __repr__(self) -> str:
        return f"<CommitLane waiting={len(self._waiting)} in_flight={self._in_flight is not None}>"

    @property
    def idle(self) -> bool:
        """Whether no commit is requested or in flight."""
        return self._in_flight is None and not self._requested

    def request(self, offsets: Offsets, done: Callable[[Failures], None]) -> None:
        """Add these offsets to the next request; of several offsets of a partition the latest is sent."""
        self._waiting.update(offsets)
        self._requested.append(PendingCommit(frozenset(offsets), done))

    def take(self) -> dict[TopicPartition, OffsetAndMetadata] | None:
        """The offsets of the next request; None while one is in flight or none is requested."""
        if self._in_flight is not None or not self._requested:
            return None
        offsets, self._waiting = self._waiting, {}
        self._in_flight, self._requested = self._requested, []
        return offsets

    def complete(self, failures: Failures) -> None:
        """End the request in flight, which was answered or has failed for good."""
        commits, self._in_flight = self._in_flight or [], None
        for commit in commits:
            commit.done({tp: error for tp, error in failures.items() if tp in commit.partitions})
