"""The commit lane: one OffsetCommit of a group on its way at a time. Without I/O.

Commits asked for while one is under way are merged and go together in the next, so thousands of `commit_async` calls
cost a few requests; each caller hears about its own partitions. Order is kept: a later commit of a partition is never
overtaken by an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ottla.message import OffsetAndMetadata, TopicPartition

Offsets = Mapping[TopicPartition, OffsetAndMetadata]
Failures = dict[TopicPartition, BaseException]


class Asked(NamedTuple):
    """One caller's commit."""

    partitions: frozenset[TopicPartition]
    done: Callable[[Failures], None]
    """Called once, with the failures among its partitions (empty: all committed)."""


class CommitLane:
    """What is asked for, and what is on its way. Engine thread only."""

    def __init__(self) -> None:
        self._waiting: dict[TopicPartition, OffsetAndMetadata] = {}
        self._asked: list[Asked] = []
        self._on_way: list[Asked] | None = None

    def __repr__(self) -> str:
        return f"<CommitLane waiting={len(self._waiting)} on_way={self._on_way is not None}>"

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is on its way."""
        return self._on_way is None and not self._asked

    def ask(self, offsets: Offsets, done: Callable[[Failures], None]) -> None:
        """Want these offsets committed: merged into the next request, the latest call winning per partition."""
        self._waiting.update(offsets)
        self._asked.append(Asked(frozenset(offsets), done))

    def take(self) -> dict[TopicPartition, OffsetAndMetadata] | None:
        """The offsets of the next request, or None while one is on its way or nothing is asked for."""
        if self._on_way is not None or not self._asked:
            return None
        offsets, self._waiting = self._waiting, {}
        self._on_way, self._asked = self._asked, []
        return offsets

    def answered(self, failures: Failures) -> None:
        """The request that `take` gave has been answered, or has failed for good."""
        told, self._on_way = self._on_way or [], None
        for asked in told:
            asked.done({tp: error for tp, error in failures.items() if tp in asked.partitions})
