"""Offset queries to the leaders of partitions: the first, the next, or the first at or after a time.

Engine thread only. References: ListOffsets (key 2), KIP-79, KIP-396, KIP-734; Java: OffsetFetcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.metadata import leads
from ottla.cluster.retry import Attempts
from ottla.message import TopicPartition
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.config.consumer import ConsumerConfig
    from ottla.engine.clock import Clock
    from ottla.protocol.messages.list_offsets import ListOffsetsPartitionResponse

LATEST = -1
EARLIEST = -2


class FoundOffset(NamedTuple):
    """The answer of a leader."""

    offset: int
    """-1: no record at or after the time."""
    timestamp_ms: int
    leader_epoch: int


class OffsetFinder:
    """ListOffsets over any partitions, each at its leader, retried until every one has an answer or time is up.

    Args:
        cluster: Metadata and connections. No topic is created for a query.
        clock: The engine's.
        config: Time-outs and backoff.
        isolation: As in the request.
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, config: ConsumerConfig, isolation: int
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._isolation = isolation
        self._timeout = config.default_api_timeout_ms / 1000
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)

    async def find(
        self, times: Mapping[TopicPartition, int], timeout: float | None = None
    ) -> dict[TopicPartition, FoundOffset]:
        """The offsets for these times (milliseconds, LATEST or EARLIEST).

        Raises:
            KafkaError: A partition was refused, or does not exist by an answer younger than the call.
            Timeout: Not every leader answered within `timeout` seconds (None: `default_api_timeout_ms`).
        """
        timeout = self._timeout if timeout is None else timeout
        query = _Query(self._cluster, self._isolation, times)
        attempts = Attempts(self._backoff, self._clock, timeout)
        with self._cluster.topics_for_query({topic for topic, _ in times}):
            async for number in attempts:
                try:
                    async with attempts.until_deadline():
                        await query.attempt(attempts, refresh=number > 0)
                except TimeoutError:
                    break
                if not query.left:
                    return query.found
        place = next(iter(query.left))
        raise errors.Timeout(f"no offset of {place} within {timeout:g} s: {query.problem()}")


class _Query:
    """One call of `find`: the answers so far, and the problems of the other partitions."""

    def __init__(
        self, cluster: Cluster, isolation: int, times: Mapping[TopicPartition, int]
    ) -> None:
        self._cluster = cluster
        self._isolation = isolation
        self.left = dict(times)
        """Partitions without an answer, and their times."""
        self.found: dict[TopicPartition, FoundOffset] = {}
        self.problems: dict[int, str] = {}
        """node id (-1: none) -> problem of its partitions, in one line; empty: they wait for metadata."""

    def problem(self) -> str:
        """Problem of the partitions without an answer, in one line."""
        return next(iter(self.problems.values()), None) or self._cluster.describe_wait()

    async def attempt(self, attempts: Attempts, *, refresh: bool) -> None:
        """Query each leader once.

        refresh: Whether the metadata may be stale.

        Raises:
            Error: Another attempt cannot succeed.
        """
        if refresh or any(self._cluster.snapshot.partition(*tp) is None for tp in self.left):
            try:
                await self._cluster.refresh("offsets are asked for", urgent=not refresh)
            except errors.Error as error:
                attempts.record_failure(error)
                return
            self._refuse_unknown()
        self.problems = {}
        by_leader: dict[int, list[TopicPartition]] = {}
        for tp in self.left:
            known = self._cluster.snapshot.partition(*tp)
            if known is not None and known.leader >= 0:
                by_leader.setdefault(known.leader, []).append(tp)
            else:
                self.problems[-1] = f"{tp} has no leader"
        # All at once: a leader that does not answer delays no other one.
        await asyncio.gather(*(self._try(node_id, tps) for node_id, tps in by_leader.items()))
        self.left = {tp: time_ms for tp, time_ms in self.left.items() if tp not in self.found}

    def _refuse_unknown(self) -> None:
        """Raise for a partition that is not in metadata which was requested after the call."""
        snapshot = self._cluster.snapshot
        for topic, partition in self.left:
            if snapshot.partition(topic, partition) is None:
                code = snapshot.topic_error(topic) or ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                error = errors.for_code(code, topic=topic, partition=partition)
                if error.permanent or code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                    raise error

    async def _try(self, node_id: int, asked: list[TopicPartition]) -> None:
        self.problems[node_id] = f"no connection to node {node_id} yet"
        try:
            await self._ask(node_id, asked)
        except (errors.ConnectionLost, errors.NoBrokersAvailable, errors.Timeout) as error:
            self.problems[node_id] = errors.line_of(error)

    async def _ask(self, node_id: int, asked: list[TopicPartition]) -> None:
        """Query one leader for its partitions; those that it cannot answer yet stay in `left`."""
        still_leads = [leads(*tp, node_id) for tp in asked]
        connection = await self._cluster.connection_while(
            node_id, Role.CONTROL, lambda now: all(check(now) for check in still_leads)
        )
        self.problems[node_id] = f"node {node_id} at {connection.address} has not answered"
        topics: dict[str, list[ListOffsetsPartition]] = {}
        for tp in asked:
            topics.setdefault(tp.topic, []).append(
                ListOffsetsPartition(partition_index=tp.partition, timestamp=self.left[tp])
            )
        request = ListOffsetsRequest(
            replica_id=-1,
            isolation_level=self._isolation,
            topics=[
                ListOffsetsTopic(name=name, partitions=parts) for name, parts in topics.items()
            ],
        )
        response = await connection.request(request)
        del self.problems[node_id]
        for topic in response.topics:
            for part in topic.partitions:
                self._take(node_id, TopicPartition(topic.name, part.partition_index), part)

    def _take(self, node_id: int, tp: TopicPartition, part: ListOffsetsPartitionResponse) -> None:
        if not part.error_code:
            self.found[tp] = FoundOffset(part.offset, part.timestamp, part.leader_epoch)
            return
        error = errors.for_code(part.error_code, topic=tp.topic, partition=tp.partition)
        if error.permanent:
            raise error
        self.problems[node_id] = f"{tp}: {errors.line_of(error)}"
