"""Committed offsets of one group: read from the coordinator, and written through the commit lane.

Engine thread only. References: KIP-211, KIP-320, KIP-447 (RequireStable), KIP-709; Java: ConsumerCoordinator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.retry import Attempts
from ottla.consumer.commits.lane import CommitLane, Failures, Offsets
from ottla.consumer.group.link import UNREACHABLE
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.consumer_health import HealthWait
from ottla.observe.log import ClientLog
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

if TYPE_CHECKING:
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.fence import CommitIdentity
    from ottla.consumer.group.link import GroupLink
    from ottla.engine.reactor import Reactor
    from ottla.wire.connection import Connection


_COORDINATOR_MOVED = frozenset({ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR})
_RETRIED = frozenset(
    {
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
)
_IN_WORDS: dict[int, str] = {
    ErrorCode.OFFSET_METADATA_TOO_LARGE: "the metadata of the offset is longer than the broker allows (offset.metadata.max.bytes)",
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: "the coordinator is still loading the offsets of the group",
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "the coordinator could not be reached",
    ErrorCode.NOT_COORDINATOR: "the coordinator has moved to another broker",
    ErrorCode.ILLEGAL_GENERATION: "the group has rebalanced since, so the partition may belong to another member",
    ErrorCode.UNKNOWN_MEMBER_ID: "this consumer is not a member of the group any more: its session expired, or it left",
    ErrorCode.REBALANCE_IN_PROGRESS: "the group is rebalancing",
    ErrorCode.FENCED_INSTANCE_ID: "another member joined with the same group_instance_id",
    ErrorCode.GROUP_AUTHORIZATION_FAILED: "this client may not use the group",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "this client may not read the topic",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "the partition does not exist, or this client may not describe it",
    ErrorCode.REQUEST_TIMED_OUT: "the coordinator did not replicate the commit in time",
}
"""Meaning of the error codes of a commit."""
_NAMED = 10
"""Maximum number of partitions named per reason of a failed commit; the rest are counted."""
_NAMES_UNTIL_COMMIT = 9
_NAMES_UNTIL_FETCH = 9
"""Versions above these name topics by id only."""


class Refusal(NamedTuple):
    """The error code of an OffsetFetch response."""

    code: int
    tp: TopicPartition | None
    """The refused partition; None: the whole group."""


class GroupOffsets:
    """Committed offsets of one group."""

    def __init__(
        self,
        link: GroupLink,
        config: ConsumerConfig,
        identity: Callable[[], CommitIdentity],
        reactor: Reactor,
    ) -> None:
        self._link = link
        self._config = config
        self._log = ClientLog("offsets", config.who)
        self._group_id = link.group_id
        self._identity = identity
        self._reactor = reactor
        self._lane = CommitLane()
        self._requested_under: dict[TopicPartition, CommitIdentity] = {}
        """The identity at the call of each offset that is not sent yet."""
        self._idle: list[asyncio.Future[None]] = []
        self._in_flight_since: float | None = None
        """Start of the commit in flight, by the engine's clock."""
        self._problem = ""
        """Why the commit in flight is retried."""
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def commit(self, offsets: Offsets) -> asyncio.Future[None]:
        """Commit in the next request of the lane; the future raises CommitFailed with the partitions that failed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not offsets:
            future.set_result(None)
            return future

        def done(failures: Failures) -> None:
            if future.done():
                return
            if failures:
                future.set_exception(commit_failed(failures))
            else:
                future.set_result(None)

        self._requested_under.update(dict.fromkeys(offsets, self._identity()))
        self._lane.request(offsets, done)
        self._send_next()
        return future

    async def drain(self) -> None:
        """Wait until every commit that was requested has been answered or has failed."""
        if not self._lane.idle:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def _send_next(self) -> None:
        offsets = self._lane.take()
        if offsets is not None:
            fences, self._requested_under = self._requested_under, {}
            self._reactor.spawn(self._send(offsets, fences), f"commit of group {self._group_id}")
        elif self._lane.idle:
            idle, self._idle = self._idle, []
            for future in idle:
                if not future.done():
                    future.set_result(None)

    async def _send(
        self, offsets: Offsets, fences: Mapping[TopicPartition, CommitIdentity]
    ) -> None:
        failures: Failures
        since = self._reactor.clock.now()
        self._in_flight_since, self._problem = since, ""
        try:
            failures = await self._commit_until_answered(offsets, fences)
        except errors.Error as error:
            failures = dict.fromkeys(offsets, error)
        except asyncio.CancelledError:
            self._lane.complete(dict.fromkeys(offsets, errors.Closed("the consumer was closed")))
            raise
        self._in_flight_since = None
        seconds = self._reactor.clock.now() - since
        if failures:
            self._link.report.count_failed_commit(seconds, commit_failed(failures))
        else:
            self._link.report.count_commit(seconds)
        self._lane.complete(failures)
        self._send_next()

    def _attempts(self, timeout: float | None = None) -> Attempts:
        limit = self._config.default_api_timeout_ms / 1000
        limit = limit if timeout is None else min(timeout, limit)
        return Attempts(self._backoff, self._reactor.clock, limit)

    def waits(self, now: float) -> list[HealthWait]:
        """The commit in flight. Threads: any. now: By the engine's clock, seconds."""
        since = self._in_flight_since
        if since is None:
            return []
        reason = self._problem or "it has not answered yet"
        return [HealthWait("commit", "the coordinator", reason, max(0.0, now - since))]

    async def _commit_until_answered(
        self, offsets: Offsets, fences: Mapping[TopicPartition, CommitIdentity]
    ) -> Failures:
        """Send the commit, and retry partitions with a retriable error, until each has an answer or the time is up.

        An offset of an older generation is refused here, as the coordinator would refuse it: under the new generation it
        could reset an offset that another member has committed in the meantime.
        """
        left = dict(offsets)
        failures: Failures = {}
        attempts = self._attempts()
        async for _ in attempts:
            try:
                async with attempts.until_deadline():
                    codes = await self._commit_current(left, fences)
            except UNREACHABLE as error:
                self._link.forget_coordinator()
                codes = dict.fromkeys(left, ErrorCode.COORDINATOR_NOT_AVAILABLE)
                self._problem = errors.line_of(error)
                self._log.info("commit.retried", group=self._group_id, reason=error)
            except TimeoutError:
                self._link.forget_coordinator()
                return failures | dict.fromkeys(left, self._too_late(failures.values()))
            again: dict[TopicPartition, OffsetAndMetadata] = {}
            for tp, code in codes.items():
                if code in _COORDINATOR_MOVED:
                    self._link.forget_coordinator()
                if code in _COORDINATOR_MOVED or code in _RETRIED:
                    again[tp] = left[tp]
                    failures[tp] = refusal = _refused(tp, code)
                    self._problem = errors.line_of(refusal)
                else:
                    failures.pop(tp, None)
                    if code:
                        failures[tp] = _refused(tp, code)
            left = again
            if not left:
                break
        return failures

    async def _commit_current(
        self, offsets: Offsets, fences: Mapping[TopicPartition, CommitIdentity]
    ) -> dict[TopicPartition, int]:
        """Commit the offsets of the current generation; returns the code of every partition."""
        connection = await self._link.connection()
        identity = self._identity()
        current = {tp: at for tp, at in offsets.items() if fences[tp] == identity}
        codes: dict[TopicPartition, int] = dict.fromkeys(
            offsets.keys() - current.keys(), ErrorCode.ILLEGAL_GENERATION
        )
        if current:
            codes |= await self._commit_once(connection, current, identity)
        return codes

    def _too_late(
        self,
        problems: Iterable[BaseException],
        outcome: errors.Outcome | None = "unknown",
        timeout: float | None = None,
    ) -> errors.Timeout:
        limit = self._config.default_api_timeout_ms / 1000
        within = f"{limit:g} s (default_api_timeout_ms)"
        if timeout is not None and timeout < limit:
            within = f"{timeout:g} s"
        why = next((f": {errors.line_of(problem)}" for problem in problems), "")
        return errors.Timeout(
            f"the coordinator of group {self._group_id!r} did not answer within {within}{why}",
            outcome=outcome,
        )

    async def _commit_once(
        self, connection: Connection, offsets: Offsets, identity: CommitIdentity
    ) -> dict[TopicPartition, int]:
        topics: dict[str, list[OffsetCommitRequestPartition]] = {}
        for (topic, partition), (offset, leader_epoch, metadata) in offsets.items():
            topics.setdefault(topic, []).append(
                OffsetCommitRequestPartition(
                    partition_index=partition,
                    committed_offset=offset,
                    committed_leader_epoch=leader_epoch,
                    committed_metadata=metadata,
                )
            )
        version = min(connection.version_for(OffsetCommitRequest), _NAMES_UNTIL_COMMIT)
        request = OffsetCommitRequest(
            group_id=self._group_id,
            generation_id_or_member_epoch=identity.generation,
            member_id=identity.member_id,
            group_instance_id=identity.instance_id if version >= 7 else None,
            topics=[
                OffsetCommitRequestTopic(name=name, partitions=parts)
                for name, parts in topics.items()
            ],
        )
        response = await connection.request(request, version=version)
        return {
            TopicPartition(topic.name, part.partition_index): part.error_code
            for topic in response.topics
            for part in topic.partitions
        }

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def committed(
        self, partitions: Iterable[TopicPartition], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """The committed offsets of the group; None where there is none.

        Raises:
            Error: The coordinator refused, or could not be reached within `timeout` seconds (None: and at most
                `default_api_timeout_ms`).
        """
        wanted = list(partitions)
        if not wanted:
            return {}
        attempts = self._attempts(timeout)
        async for _ in attempts:
            try:
                async with attempts.until_deadline():
                    return await self._fetch(wanted)
            except UNREACHABLE as error:
                self._link.forget_coordinator()
                attempts.record_failure(error)
            except errors.KafkaError as error:
                if error.code in _COORDINATOR_MOVED:
                    self._link.forget_coordinator()
                elif error.code not in _RETRIED:
                    raise
                attempts.record_failure(error)
            except TimeoutError:
                self._link.forget_coordinator()
                problems = [attempts.last_failure] if attempts.last_failure else []
                raise self._too_late(problems, None, timeout) from None
        assert attempts.last_failure is not None
        raise attempts.last_failure

    async def _fetch(
        self, wanted: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        connection = await self._link.connection()
        answer, refusal = await self._fetch_once(connection, wanted)
        if refusal is None:
            return answer
        topic, partition = (None, None) if refusal.tp is None else refusal.tp
        raise errors.for_code(
            refusal.code, f"group {self._group_id!r}", topic=topic, partition=partition
        )

    async def _fetch_once(
        self, connection: Connection, wanted: list[TopicPartition]
    ) -> tuple[dict[TopicPartition, OffsetAndMetadata | None], Refusal | None]:
        topics: dict[str, list[int]] = {}
        for topic, partition in wanted:
            topics.setdefault(topic, []).append(partition)
        version = min(connection.version_for(OffsetFetchRequest), _NAMES_UNTIL_FETCH)
        if version >= 8:
            request = OffsetFetchRequest(
                groups=[
                    OffsetFetchRequestGroup(
                        group_id=self._group_id,
                        topics=[
                            OffsetFetchRequestTopics(name=name, partition_indexes=parts)
                            for name, parts in topics.items()
                        ],
                    )
                ],
                require_stable=True,
            )
        else:
            request = OffsetFetchRequest(
                group_id=self._group_id,
                topics=[
                    OffsetFetchRequestTopic(name=name, partition_indexes=parts)
                    for name, parts in topics.items()
                ],
                require_stable=version >= 7,
            )
        return _read_offsets(await connection.request(request, version=version), version, wanted)


def commit_failed(failures: Failures) -> errors.CommitFailed:
    """The error of a commit of which these partitions failed. A reason that several partitions share stands once."""
    places: dict[str, list[str]] = {}
    for tp, error in sorted(failures.items()):
        places.setdefault(errors.line_of(error), []).append(str(tp))
    what = "; ".join(f"{_named(names)}: {reason}" for reason, names in places.items())
    return errors.CommitFailed(
        f"offsets were not committed for {what}",
        partitions=dict(failures),
    )


def _named(places: list[str]) -> str:
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return ", ".join(places[:_NAMED]) + more


def _refused(tp: TopicPartition, code: int) -> errors.KafkaError:
    """The error of one partition of a commit, in words."""
    words = _IN_WORDS.get(code, "the coordinator refused the commit")
    return errors.for_code(code, words, topic=tp.topic, partition=tp.partition)


def _read_offsets(
    response: OffsetFetchResponse, version: int, wanted: list[TopicPartition]
) -> tuple[dict[TopicPartition, OffsetAndMetadata | None], Refusal | None]:
    """The offsets of one answer, and the first refusal in it."""
    answer: dict[TopicPartition, OffsetAndMetadata | None] = dict.fromkeys(wanted)
    topics: Iterable[OffsetFetchResponseTopics | OffsetFetchResponseTopic]
    if version < 8:
        code, topics = response.error_code, response.topics
    elif response.groups:
        code, topics = response.groups[0].error_code, response.groups[0].topics
    else:
        return answer, Refusal(int(ErrorCode.COORDINATOR_NOT_AVAILABLE), None)
    refusal = Refusal(code, None) if code else None
    for topic in topics:
        for part in topic.partitions:
            tp = TopicPartition(topic.name, part.partition_index)
            if part.error_code and part.error_code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                refusal = refusal or Refusal(part.error_code, tp)
            elif part.committed_offset >= 0:
                answer[tp] = OffsetAndMetadata(
                    part.committed_offset, part.committed_leader_epoch, part.metadata or ""
                )
    return answer, refusal
