"""Look-ups of the committed offsets of one group. Engine thread only.

References: OffsetFetch (key 9), KIP-447 (RequireStable), KIP-709; Java: ConsumerCoordinator, CommitRequestManager.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.retry import Attempts
from ottla.consumer.commits.sender import COORDINATOR_MOVED
from ottla.consumer.group.link import UNREACHABLE
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from ottla.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.book import CommittedBook
    from ottla.consumer.group.link import GroupLink
    from ottla.engine.reactor import Reactor
    from ottla.wire.connection import Connection

_RETRIED = frozenset(
    {
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
        ErrorCode.UNKNOWN_TOPIC_ID,
    }
)
_IDS_FROM = 10
"""From this version on a request names topics by id only."""

Committed = dict[TopicPartition, OffsetAndMetadata | None]


class Refusal(NamedTuple):
    """The error code of an OffsetFetch response."""

    code: int
    tp: TopicPartition | None
    """The refused partition; None: the whole group."""


class OffsetLookup:
    """Reads committed offsets from the coordinator.

    Args:
        link: The way to the coordinator.
        config: Backoff and `default_api_timeout_ms`.
        reactor: The engine.
        book: Receives each answer.
    """

    def __init__(
        self, link: GroupLink, config: ConsumerConfig, reactor: Reactor, book: CommittedBook
    ) -> None:
        self._link = link
        self._limit = config.default_api_timeout_ms / 1000
        self._reactor = reactor
        self._book = book
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)

    async def committed(
        self, partitions: Iterable[TopicPartition], timeout: float | None = None
    ) -> Committed:
        """The committed offsets of the group; None where there is none.

        Raises:
            Error: The coordinator refused, or could not be reached within `timeout` seconds (None: and at most
                `default_api_timeout_ms`).
        """
        wanted = list(partitions)
        if not wanted:
            return {}
        limit = self._limit if timeout is None else min(timeout, self._limit)
        attempts = Attempts(self._backoff, self._reactor.clock, limit)
        async for _ in attempts:
            try:
                async with attempts.until_deadline():
                    answer = await self._fetch(wanted)
                self._book.read(answer)
                return answer
            except UNREACHABLE as error:
                self._link.forget_coordinator()
                attempts.record_failure(error)
            except errors.KafkaError as error:
                if error.code in COORDINATOR_MOVED:
                    self._link.forget_coordinator()
                elif error.code not in _RETRIED:
                    raise
                if error.code == ErrorCode.UNKNOWN_TOPIC_ID:
                    self._link.refresh_metadata("the coordinator does not know a topic id")
                attempts.record_failure(error)
            except TimeoutError:
                self._link.forget_coordinator()
                raise self._too_late(attempts.last_failure, timeout) from None
        assert attempts.last_failure is not None
        raise attempts.last_failure

    def _too_late(self, problem: errors.Error | None, timeout: float | None) -> errors.Timeout:
        within = f"{self._limit:g} s (default_api_timeout_ms)"
        if timeout is not None and timeout < self._limit:
            within = f"{timeout:g} s"
        why = "" if problem is None else f": {errors.line_of(problem)}"
        return errors.Timeout(
            f"the coordinator of group {self._link.group_id!r} did not answer within {within}{why}"
        )

    async def _fetch(self, wanted: list[TopicPartition]) -> Committed:
        connection = await self._link.connection()
        answer, refusal = await self._fetch_once(connection, wanted)
        if refusal is None:
            return answer
        topic, partition = (None, None) if refusal.tp is None else refusal.tp
        raise errors.for_code(
            refusal.code, f"group {self._link.group_id!r}", topic=topic, partition=partition
        )

    async def _fetch_once(
        self, connection: Connection, wanted: list[TopicPartition]
    ) -> tuple[Committed, Refusal | None]:
        topics: dict[str, list[int]] = {}
        for topic, partition in wanted:
            topics.setdefault(topic, []).append(partition)
        version = connection.version_for(OffsetFetchRequest)
        ids = {topic: self._link.topic_id(topic) for topic in topics}
        if ZERO_UUID in ids.values():
            version = min(version, _IDS_FROM - 1)
        request = self._request(topics, ids, version)
        response = await connection.request(request, version=version)
        names = {topic_id: name for name, topic_id in ids.items()} if version >= _IDS_FROM else {}
        return _read_offsets(response, version, wanted, names)

    def _request(
        self, topics: dict[str, list[int]], ids: dict[str, bytes], version: int
    ) -> OffsetFetchRequest:
        group = self._link.group_id
        if version < 8:
            return OffsetFetchRequest(
                group_id=group,
                topics=[
                    OffsetFetchRequestTopic(name=name, partition_indexes=parts)
                    for name, parts in topics.items()
                ],
                require_stable=version >= 7,
            )
        by_id = version >= _IDS_FROM
        asked = [
            OffsetFetchRequestTopics(
                name="" if by_id else name,
                topic_id=ids[name] if by_id else ZERO_UUID,
                partition_indexes=parts,
            )
            for name, parts in topics.items()
        ]
        return OffsetFetchRequest(
            groups=[OffsetFetchRequestGroup(group_id=group, topics=asked)], require_stable=True
        )


def _read_offsets(
    response: OffsetFetchResponse,
    version: int,
    wanted: list[TopicPartition],
    names: dict[bytes, str],
) -> tuple[Committed, Refusal | None]:
    """The offsets of one answer, and the first refusal in it. names: By topic id; empty: the answer has names."""
    answer: Committed = dict.fromkeys(wanted)
    topics: Iterable[OffsetFetchResponseTopics | OffsetFetchResponseTopic]
    if version < 8:
        code, topics = response.error_code, response.topics
    elif response.groups:
        code, topics = response.groups[0].error_code, response.groups[0].topics
    else:
        return answer, Refusal(int(ErrorCode.COORDINATOR_NOT_AVAILABLE), None)
    refusal = Refusal(code, None) if code else None
    for topic in topics:
        name = names.get(getattr(topic, "topic_id", ZERO_UUID), topic.name)
        for part in topic.partitions:
            tp = TopicPartition(name, part.partition_index)
            if part.error_code and part.error_code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                refusal = refusal or Refusal(part.error_code, tp)
            elif part.committed_offset >= 0:
                answer[tp] = OffsetAndMetadata(
                    part.committed_offset, part.committed_leader_epoch, part.metadata or ""
                )
    return answer, refusal
