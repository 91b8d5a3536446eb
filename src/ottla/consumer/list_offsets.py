"""Asks the leaders of partitions for offsets: the first, the next, or the first at or after a time.

Engine thread only. References: ListOffsets (key 2), KIP-79, KIP-396, KIP-734; Java: OffsetFetcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.metadata import leads
from ottla.message import TopicPartition
from ottla.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.config.consumer import ConsumerConfig

LATEST = -1
EARLIEST = -2


class FoundOffset(NamedTuple):
    """What a leader answered."""

    offset: int
    """-1: no record at or after the time."""
    timestamp_ms: int
    leader_epoch: int


class OffsetFinder:
    """ListOffsets over any partitions, each at its leader, repeated until every one is answered or time is up."""

    def __init__(self, cluster: Cluster, config: ConsumerConfig, isolation: int) -> None:
        self._cluster = cluster
        self._isolation = isolation
        self._timeout = config.default_api_timeout_ms / 1000
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)

    async def find(
        self, times: Mapping[TopicPartition, int], timeout: float | None = None
    ) -> dict[TopicPartition, FoundOffset]:
        """The offsets for these times (milliseconds, LATEST or EARLIEST).

        Raises:
            KafkaError: A partition was refused for good.
            Timeout: Not every leader answered within `timeout` seconds (None: `default_api_timeout_ms`).
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._timeout if timeout is None else timeout)
        found: dict[TopicPartition, FoundOffset] = {}
        left = dict(times)
        attempts = 0
        problem = "its leader is not known"
        self._cluster.want_topics({topic for topic, _ in left})
        while left:
            by_node: dict[int, dict[TopicPartition, int]] = {}
            for tp, time_ms in left.items():
                known = self._cluster.snapshot.partition(*tp)
                if known is not None and known.leader >= 0:
                    by_node.setdefault(known.leader, {})[tp] = time_ms
            # All at once: a node that is dead or frozen does not keep the others' answers away.
            problems = await asyncio.gather(
                *(self._try(node_id, asked, found) for node_id, asked in by_node.items())
            )
            problem = next(filter(None, problems), problem)
            left = {tp: time_ms for tp, time_ms in left.items() if tp not in found}
            if not left:
                break
            attempts += 1
            delay = self._backoff.delay(attempts)
            if loop.time() + delay > deadline:
                topic, partition = next(iter(left))
                raise errors.Timeout(
                    f"offsets of {topic}-{partition} could not be had in time: {problem}"
                )
            await asyncio.sleep(delay)
            try:
                await self._cluster.refresh("offsets of partitions are asked for")
            except errors.Error as error:
                problem = str(error)
        return found

    async def _try(
        self,
        node_id: int,
        asked: Mapping[TopicPartition, int],
        found: dict[TopicPartition, FoundOffset],
    ) -> str | None:
        try:
            return await self._ask(node_id, asked, found)
        except (errors.ConnectionLost, errors.NoBrokersAvailable) as error:
            return str(error)

    async def _ask(
        self,
        node_id: int,
        asked: Mapping[TopicPartition, int],
        found: dict[TopicPartition, FoundOffset],
    ) -> str | None:
        """Ask one leader; what it answers goes into `found`, what it cannot answer yet is named."""
        still_leads = [leads(*tp, node_id) for tp in asked]
        connection = await self._cluster.connection_while(
            node_id, Role.CONTROL, lambda now: all(check(now) for check in still_leads)
        )
        topics: dict[str, list[ListOffsetsPartition]] = {}
        for (topic, partition), time_ms in asked.items():
            topics.setdefault(topic, []).append(
                ListOffsetsPartition(partition_index=partition, timestamp=time_ms)
            )
        request = ListOffsetsRequest(
            replica_id=-1,
            isolation_level=self._isolation,
            topics=[
                ListOffsetsTopic(name=name, partitions=parts) for name, parts in topics.items()
            ],
        )
        response = await connection.request(request)
        problem = None
        for topic in response.topics:
            for part in topic.partitions:
                tp = TopicPartition(topic.name, part.partition_index)
                if not part.error_code:
                    found[tp] = FoundOffset(part.offset, part.timestamp, part.leader_epoch)
                    continue
                error = errors.for_code(part.error_code, topic=tp.topic, partition=tp.partition)
                if not error.retriable:
                    raise error
                problem = str(error)
        return problem
