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

_IDS_FROM = 10
"""From this version on a request names topics by id only."""

Committed = dict[TopicPartition, OffsetAndMetadata | None]
_AnsweredTopic = OffsetFetchResponseTopics | OffsetFetchResponseTopic


class LookedUp(NamedTuple):
    """One answer of the coordinator."""

    found: Committed
    """The committed offsets; None where there is none."""
    refused: dict[TopicPartition, errors.Error]
    """The other partitions, and why they have no answer; another attempt may succeed unless the error is permanent."""


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
        left = list(partitions)
        found: Committed = {}
        if not left:
            return found
        limit = self._limit if timeout is None else min(timeout, self._limit)
        attempts = Attempts(self._backoff, self._reactor.clock, limit)
        async for _ in attempts:
            try:
                async with attempts.until_deadline():
                    answer = await self.look_up(left)
            except TimeoutError:
                self._link.forget_coordinator()
                raise self._too_late(attempts.last_failure, timeout) from None
            except errors.Error as error:
                attempts.record_failure(error)
                continue
            found |= answer.found
            left = list(answer.refused)
            if not left:
                return found
            for refusal in answer.refused.values():
                attempts.record_failure(refusal)
        assert attempts.last_failure is not None
        raise attempts.last_failure

    async def look_up(self, wanted: list[TopicPartition]) -> LookedUp:
        """Ask the coordinator once.

        Raises:
            Error: It has no answer for the whole group; another attempt may succeed unless the error is permanent.
        """
        try:
            connection = await self._link.connection()
            answer = await self._fetch_once(connection, wanted)
        except UNREACHABLE:
            self._link.forget_coordinator()
            raise
        except errors.KafkaError as error:
            if error.code in COORDINATOR_MOVED:
                self._link.forget_coordinator()
            raise
        self._book.read(answer.found)
        codes = {
            error.code for error in answer.refused.values() if isinstance(error, errors.KafkaError)
        }
        if ErrorCode.UNKNOWN_TOPIC_ID in codes:
            self._link.refresh_metadata("the coordinator does not know a topic id")
        return answer

    def _too_late(self, problem: errors.Error | None, timeout: float | None) -> errors.Timeout:
        within = f"{self._limit:g} s (default_api_timeout_ms)"
        if timeout is not None and timeout < self._limit:
            within = f"{timeout:g} s"
        why = "" if problem is None else f": {errors.line_of(problem)}"
        return errors.Timeout(
            f"the coordinator of group {self._link.group_id!r} did not answer within {within}{why}"
        )

    async def _fetch_once(self, connection: Connection, wanted: list[TopicPartition]) -> LookedUp:
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
        code, answered = _of_group(response, version)
        if code:
            raise errors.for_code(code, self._who)
        return self._read(answered, wanted, names)

    @property
    def _who(self) -> str:
        return f"group {self._link.group_id!r}"

    def _read(
        self,
        topics: Iterable[_AnsweredTopic],
        wanted: list[TopicPartition],
        names: dict[bytes, str],
    ) -> LookedUp:
        """The answer about each wanted partition; one that is left out has none. names: By topic id; empty: the answer has names."""
        found: Committed = {}
        refused: dict[TopicPartition, errors.Error] = {}
        for topic in topics:
            name = names.get(getattr(topic, "topic_id", ZERO_UUID), topic.name)
            for part in topic.partitions:
                tp = TopicPartition(name, part.partition_index)
                if part.error_code and part.error_code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                    refused[tp] = self._refusal(part.error_code, tp)
                elif part.committed_offset >= 0:
                    found[tp] = OffsetAndMetadata(
                        part.committed_offset, part.committed_leader_epoch, part.metadata or ""
                    )
                else:
                    found[tp] = None
        left_out = f"the coordinator of {self._who} left it out of its answer"
        for tp in wanted:
            if tp not in found and tp not in refused:
                refused[tp] = errors.Error(left_out, topic=tp.topic, partition=tp.partition)
        return LookedUp(
            {tp: found[tp] for tp in wanted if tp in found},
            {tp: refused[tp] for tp in wanted if tp in refused},
        )

    def _refusal(self, code: int, tp: TopicPartition) -> errors.Error:
        return errors.for_code(code, self._who, topic=tp.topic, partition=tp.partition)

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


def _of_group(response: OffsetFetchResponse, version: int) -> tuple[int, Iterable[_AnsweredTopic]]:
    """The error code of the whole group, and the topics of the answer."""
    if version < 8:
        return response.error_code, response.topics
    if response.groups:
        return response.groups[0].error_code, response.groups[0].topics
    return int(ErrorCode.COORDINATOR_NOT_AVAILABLE), []
