"""Automatic commits: every `auto_commit_interval_ms`, and before partitions are given back. Engine thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from ottla import errors
from ottla.consumer.commits.fence import ends_membership
from ottla.message import OffsetAndMetadata, TopicPartition

if TYPE_CHECKING:
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.offsets import GroupOffsets
    from ottla.engine.thread import Engine
    from ottla.observe.log import ClientLog

_NEXT_COMMIT = "the next auto-commit includes these offsets"
_NEXT_START = (
    "until an offset is committed, the next owner of these partitions starts at auto_offset_reset"
)
_NEXT_OWNER = "the next owner of these partitions reads from the last committed offset"


class AutoCommit:
    """Commits the offsets that the application has finished with, where `enable_auto_commit` is set.

    Args:
        offsets: The committed offsets of the group; None: there is no group.
        config: The interval, and whether to commit at all.
        assigned: The partitions that are assigned now.
        log: For failures.
    """

    def __init__(
        self,
        offsets: GroupOffsets | None,
        config: ConsumerConfig,
        assigned: Callable[[], Collection[TopicPartition]],
        log: ClientLog,
    ) -> None:
        self.finished_offsets: Callable[[], dict[TopicPartition, OffsetAndMetadata]] = dict
        """The offsets that the application has finished with. Set by the application's side; called on the engine thread."""
        self._offsets = offsets
        self._config = config
        self._assigned = assigned
        self._log = log
        self._task: asyncio.Task[None] | None = None

    def start(self, engine: Engine) -> None:
        """Commit at each interval from now on."""
        if self._task is None and self._offsets is not None and self._config.enable_auto_commit:
            self._task = engine.spawn(self._commit_at_intervals(), "auto-commit")

    def stop(self) -> None:
        """Commit at no interval any more."""
        if self._task is not None:
            self._task.cancel()

    async def _commit_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(self._config.auto_commit_interval_ms / 1000)
            await self._commit(self._assigned(), is_last=False)

    async def commit(self, partitions: Collection[TopicPartition]) -> None:
        """The last commit of these partitions before they are given up. Then wait for every commit that the application asked for:
        without a membership the coordinator would refuse it.
        """
        await self._commit(partitions, is_last=True)
        if self._offsets is not None:
            await self._offsets.drain()

    async def _commit(self, partitions: Collection[TopicPartition], *, is_last: bool) -> None:
        """Commit the offsets that differ from the committed ones. A failure is logged: the next commit includes the same offsets."""
        if self._offsets is None or not self._config.enable_auto_commit:
            return
        book = self._offsets.book
        offsets = {
            tp: offset
            for tp, offset in self.finished_offsets().items()
            if tp in partitions and book.differs(tp, offset, is_last=is_last)
        }
        if not offsets:
            return
        try:
            await self._offsets.commit(offsets, is_explicit=False)
        except errors.CommitFailed as error:
            _log_failure(self._log, self._offsets, error, _NEXT_OWNER if is_last else _NEXT_COMMIT)


async def commit_starts(
    offsets: GroupOffsets, starts: Mapping[TopicPartition, OffsetAndMetadata], log: ClientLog
) -> None:
    """Commit positions at which partitions without a committed offset begin. A failure is logged."""
    try:
        await offsets.commit(starts, is_explicit=False)
    except errors.CommitFailed as error:
        _log_failure(log, offsets, error, _NEXT_START)


def _log_failure(
    log: ClientLog, offsets: GroupOffsets, error: errors.CommitFailed, next_step: str
) -> None:
    """Log a failed commit; not one that was answered by the end of the membership, which is reported as the loss."""
    reasons = error.partitions.values()
    if not reasons or not all(ends_membership(reason) for reason in reasons):
        log.warning("commit.failed", group=offsets.group_id, reason=error, next_step=next_step)
