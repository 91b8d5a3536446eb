"""Callers that wait for the positions of partitions, such as `position` and `lag` directly after an assignment. Engine thread only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ottla import errors
from ottla.consumer.routes import why_no_leader
from ottla.protocol.error_codes import ErrorCode

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.consumer.cursor import Cursor
    from ottla.engine.clock import Clock
    from ottla.message import TopicPartition

_CREATION_S = 3.0
"""Seconds after its assignment in which the topic of a partition may still be created."""
_RECHECK_S = 0.5
"""Seconds between two requests for the metadata of a partition that does not exist."""


class PositionWaiters:
    """The waiting callers of one consumer.

    Args:
        cluster: Metadata.
        clock: The engine's.
        cursors: The assigned partitions.
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, cursors: Mapping[TopicPartition, Cursor]
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._cursors = cursors
        self._waiting: list[tuple[TopicPartition, asyncio.Future[None]]] = []

    async def wait(self, partitions: Iterable[TopicPartition], timeout: float) -> None:
        """Return once each of the partitions has a position or is no longer assigned.

        Raises:
            Error: Why one of them cannot get a position; that it does not exist is known after a metadata request, or once its topic
                has not been created within `_CREATION_S`.
            Timeout: One has none within `timeout` seconds.
        """
        tps = list(partitions)
        waiting = [self._future(tp) for tp in tps if not self._is_positioned(tp)]
        check = asyncio.get_running_loop().create_task(self._refuse_missing(tps))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*waiting, check)
        except TimeoutError:
            tp = next((tp for tp in tps if not self._is_positioned(tp)), tps[0])
            why = self._why_without_position(tp)
            raise errors.Timeout(f"{tp} has no position within {timeout:g} s: {why}") from None
        finally:
            check.cancel()
            for future in waiting:
                future.cancel()

    def wake(self) -> None:
        """Positions or refusals have changed."""
        waiting, self._waiting = self._waiting, []
        for tp, future in waiting:
            if future.done():
                continue
            try:
                if self._is_positioned(tp):
                    future.set_result(None)
                else:
                    self._waiting.append((tp, future))
            except errors.Error as error:
                future.set_exception(error)

    def _future(self, tp: TopicPartition) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tp, future))
        return future

    def _is_positioned(self, tp: TopicPartition) -> bool:
        cursor = self._cursors.get(tp)
        if cursor is None or cursor.positioned:
            return True
        if cursor.refusal is not None:
            raise cursor.refusal
        return False

    async def _refuse_missing(self, tps: list[TopicPartition]) -> None:
        """Raise for the first partition that does not exist."""
        asked_at = self._clock.now()
        while missing := [tp for tp in tps if self._is_missing(tp)]:
            try:
                await self._cluster.refresh(f"the position of {missing[0]} is requested")
            except errors.Error:
                pass  # the cluster logs it; the caller's time limits the wait
            else:
                self._raise_missing([tp for tp in missing if self._is_missing(tp)], asked_at)
            await self._clock.sleep(_RECHECK_S)

    def _is_missing(self, tp: TopicPartition) -> bool:
        return not self._is_positioned(tp) and self._cluster.snapshot.partition(*tp) is None

    def _raise_missing(self, tps: list[TopicPartition], asked_at: float) -> None:
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        for topic, partition in tps:
            topic_is_known = self._cluster.snapshot.topic(topic) is not None
            is_unknown = self._cluster.snapshot.topic_error(topic) == code
            waited = self._clock.now() - asked_at
            if topic_is_known or (is_unknown and waited >= _CREATION_S):
                raise errors.for_code(code, "it does not exist", topic=topic, partition=partition)

    def _why_without_position(self, tp: TopicPartition) -> str:
        known = self._cluster.snapshot.partition(*tp)
        if known is not None and known.leader >= 0:
            return "its start offset is not known yet"
        why = why_no_leader(self._cluster.snapshot, tp)
        return self._cluster.describe_wait() if why is None else why
