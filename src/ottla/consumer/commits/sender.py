"""Sends the commit lane: one OffsetCommit of the group at a time, until each offset has an answer or its call has no time left.

An offset is sent only under the ownership in which it was requested: under a later one it could reset an offset that another member
has committed in the meantime. Topics are named by id where the broker can (version 10), so that an offset of a deleted topic is never
committed for its successor of the same name. Engine thread only.

References: OffsetCommit (key 8), KIP-211, KIP-848; Java: ConsumerCoordinator, CommitRequestManager.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.consumer.commits.fence import NOT_A_MEMBER
from ottla.consumer.commits.lane import CommitLane, Entry, Failures, Offsets
from ottla.consumer.commits.words import commit_failed, left_out, refusal, superseded
from ottla.consumer.group.link import UNREACHABLE
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.consumer_health import HealthWait
from ottla.observe.log import ClientLog
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from ottla.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.book import CommittedBook
    from ottla.consumer.commits.fence import CommitFence, CommitIdentity
    from ottla.consumer.group.link import GroupLink
    from ottla.engine.reactor import Reactor
    from ottla.wire.connection import Connection

COORDINATOR_MOVED = frozenset({ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR})
_COORDINATOR_BUSY = frozenset(
    {*COORDINATOR_MOVED, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.REQUEST_TIMED_OUT}
)
"""Troubles of the coordinator: the whole lane waits and retries."""
_UNKNOWN_PLACE = frozenset({ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID})
_IDS_FROM = 10
"""From this version on a request names topics by id only."""


class CommitSender:
    """The lane of one group, and its requests.

    Args:
        link: The way to the coordinator, and the group's report.
        config: Backoff and `default_api_timeout_ms`.
        fence: The ownership of each partition, and the identity of the next request.
        reactor: The engine.
        book: Receives each committed offset.
    """

    def __init__(
        self,
        link: GroupLink,
        config: ConsumerConfig,
        fence: CommitFence,
        reactor: Reactor,
        book: CommittedBook,
    ) -> None:
        self.refused: Callable[[CommitIdentity, int], None] = _ignore
        """Receives the code of an answer that ends the membership, with the identity of the request."""
        self.accepted: Callable[[dict[TopicPartition, OffsetAndMetadata]], None] | None = None
        """Receives the offsets that the coordinator has accepted, once per answer; None: no interceptor listens."""
        self._link = link
        self._config = config
        self._log = ClientLog("offsets", config.who)
        self._fence = fence
        self._reactor = reactor
        self._book = book
        self._lane = CommitLane(superseded)
        self._drains: list[asyncio.Future[None]] = []
        self._in_flight_since: float | None = None
        """Start of the request in flight, by the engine's clock."""
        self._problem = ""
        """Why the latest request is retried."""
        self._failures = 0
        """Number of requests in a row that failed by a trouble of the coordinator."""
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)

    # ---- calls -----------------------------------------------------------------------------------------------------------

    def commit(self, offsets: Offsets, *, is_explicit: bool = True) -> asyncio.Future[None]:
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

        self._lane.request(
            offsets,
            self._fence.ownership,
            done,
            deadline=self._now() + self._config.default_api_timeout_ms / 1000,
            is_explicit=is_explicit,
        )
        self._pump()
        return future

    async def drain(self) -> None:
        """Wait until every requested commit has been answered or has failed. A partition that is retried for a trouble of its own
        fails at once.
        """
        self._lane.give_up_retries()
        if not self._lane.is_idle:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drains.append(future)
            await future

    def waits(self, now: float) -> list[HealthWait]:
        """The commit in flight. Threads: any. now: By the engine's clock, seconds."""
        since = self._in_flight_since
        if since is None:
            return []
        reason = self._problem or "it has not answered yet"
        return [HealthWait("commit", "the coordinator", reason, max(0.0, now - since))]

    # ---- the lane --------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._reactor.clock.now()

    def _pump(self) -> None:
        """Send the next request if one is due, and set the timer of the next time."""
        if self._drains:
            self._lane.give_up_retries()
        entries = self._lane.take(self._now())
        if entries is not None:
            self._reactor.spawn(self._send(entries), f"commit of group {self._link.group_id}")
        elif self._lane.is_idle:
            self._in_flight_since = None
            self._end_drains()
        self._set_timer()

    def _end_drains(self) -> None:
        drains, self._drains = self._drains, []
        for future in drains:
            if not future.done():
                future.set_result(None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._lane.next_time()
        if at < float("inf"):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, at - self._now()), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._lane.expire(self._now(), self._too_late)
        self._pump()

    def _too_late(self, entry: Entry) -> errors.Timeout:
        limit = self._config.default_api_timeout_ms / 1000
        why = f": {errors.line_of(entry.problem)}" if entry.problem is not None else ""
        unanswered = entry.may_be_committed or entry.is_sent
        if unanswered:
            self._link.forget_coordinator()
        return errors.Timeout(
            f"the coordinator of group {self._link.group_id!r} did not answer within {limit:g} s "
            f"(default_api_timeout_ms){why}",
            topic=entry.tp.topic,
            partition=entry.tp.partition,
            outcome="unknown" if unanswered else None,
        )

    # ---- one request -----------------------------------------------------------------------------------------------------

    async def _send(self, entries: list[Entry]) -> None:
        since = self._now()
        self._in_flight_since = self._in_flight_since or since
        failures: Failures = {}
        try:
            failures = await self._send_current(entries)
        except UNREACHABLE as error:
            self._link.forget_coordinator()
            self._retry_all(entries, error)
            self._log.info("commit.retried", group=self._link.group_id, reason=error)
        except errors.Error as error:
            failures = self._coordinator_refused(entries, error)
        except asyncio.CancelledError:
            self._lane.end_request(errors.Closed("the consumer was closed", outcome="unknown"))
            raise
        except BaseException as error:
            self._lane.end_request(error)
            raise
        self._lane.end_request()
        self._count(failures, since, is_answered=self._failures == 0)
        self._pump()

    def _count(self, failures: Failures, since: float, *, is_answered: bool) -> None:
        seconds = self._now() - since
        if failures:
            self._link.report.count_failed_commit(seconds, commit_failed(failures))
        elif is_answered:
            self._link.report.count_commit(seconds)

    def _coordinator_refused(self, entries: list[Entry], error: errors.Error) -> Failures:
        """The coordinator's address was refused, or the request could not be sent."""
        if isinstance(error, errors.KafkaError) and not error.permanent:
            self._link.forget_coordinator()
            self._retry_all(entries, error)
            return {}
        return {entry.tp: self._fail(entry, error) for entry in entries}

    def _retry_all(self, entries: Iterable[Entry], error: errors.Error) -> None:
        self._failures += 1
        self._problem = errors.line_of(error)
        self._lane.retry_all(entries, error, self._now() + self._backoff.delay(self._failures))

    def _fail(self, entry: Entry, error: errors.Error) -> errors.Error:
        self._book.forget([entry.tp])
        if entry.may_be_committed:
            error.outcome = "unknown"
        self._lane.settle(entry, error)
        return error

    async def _send_current(self, entries: list[Entry]) -> Failures:
        """Send the offsets of the current ownership; returns the failures that are final."""
        connection = await self._link.connection()
        identity = self._fence.identity()
        failures: Failures = {}
        current: dict[TopicPartition, Entry] = {}
        for entry in entries:
            if entry.fence == self._fence.ownership(entry.tp):
                current[entry.tp] = entry
            else:
                failures[entry.tp] = self._fail(entry, superseded(entry.tp))
        if current:
            for entry in current.values():
                entry.is_sent = True
            codes = await self._request(connection, current, identity)
            failures |= self._apply(current, codes, identity)
        return failures

    def _apply(
        self,
        entries: dict[TopicPartition, Entry],
        codes: dict[TopicPartition, int],
        identity: CommitIdentity,
    ) -> Failures:
        """Settle or retry each entry by the code of its answer; returns the failures that are final."""
        failures: Failures = {}
        busy: dict[int, list[Entry]] = {}
        for tp, entry in entries.items():
            code = codes.get(tp)
            if code == 0:
                self._lane.settle(entry)
                self._book.write(tp, entry.offset)
            elif code is None:
                failures[tp] = self._fail(entry, left_out(tp))
            elif code in _COORDINATOR_BUSY:
                busy.setdefault(code, []).append(entry)
            elif self._may_come_back(entry, code):
                self._retry_alone(entry, refusal(tp, code, identity))
            else:
                failures[tp] = self._fail(entry, refusal(tp, code, identity))
        self._failures = self._failures if busy else 0
        for code, some in busy.items():
            if code in COORDINATOR_MOVED:
                self._link.forget_coordinator()
            self._retry_all(some, refusal(some[0].tp, code, identity))
        self._problem = self._problem if busy else ""
        self._report_accepted(entries, codes)
        ended = next((code for code in codes.values() if code in NOT_A_MEMBER), None)
        if ended is not None:
            self.refused(identity, ended)
        return failures

    def _report_accepted(
        self, entries: dict[TopicPartition, Entry], codes: dict[TopicPartition, int]
    ) -> None:
        if self.accepted is not None:
            offsets = {tp: entry.offset for tp, entry in entries.items() if codes.get(tp) == 0}
            if offsets:
                self.accepted(offsets)

    def _may_come_back(self, entry: Entry, code: int) -> bool:
        """Whether the code is a trouble of this partition that a retry may end: the coordinator does not know it yet, or the group
        rebalances.
        """
        if code in _UNKNOWN_PLACE:
            self._link.refresh_metadata(f"the coordinator does not know {entry.tp}")
            return self._link.knows(entry.tp)
        return code == ErrorCode.REBALANCE_IN_PROGRESS

    def _retry_alone(self, entry: Entry, error: errors.Error) -> None:
        due = self._now() + self._backoff.delay(entry.attempts + 1)
        self._lane.retry_alone(entry, error, due)

    async def _request(
        self,
        connection: Connection,
        entries: dict[TopicPartition, Entry],
        identity: CommitIdentity,
    ) -> dict[TopicPartition, int]:
        """Send one request; returns the code of each partition in its answer."""
        ids = {tp: self._topic_id(tp) for tp in entries}
        version = connection.version_for(OffsetCommitRequest)
        if ZERO_UUID in ids.values():
            version = min(version, _IDS_FROM - 1)
        by_id = version >= _IDS_FROM
        topics: dict[tuple[str, bytes], list[OffsetCommitRequestPartition]] = {}
        for tp, entry in entries.items():
            place = ("", ids[tp]) if by_id else (tp.topic, ZERO_UUID)
            topics.setdefault(place, []).append(
                OffsetCommitRequestPartition(
                    partition_index=tp.partition,
                    committed_offset=entry.offset.offset,
                    committed_leader_epoch=entry.offset.leader_epoch,
                    committed_metadata=entry.offset.metadata,
                )
            )
        request = OffsetCommitRequest(
            group_id=self._link.group_id,
            generation_id_or_member_epoch=identity.generation,
            member_id=identity.member_id,
            group_instance_id=identity.instance_id if version >= 7 else None,
            topics=[
                OffsetCommitRequestTopic(name=name, topic_id=topic_id, partitions=parts)
                for (name, topic_id), parts in topics.items()
            ],
        )
        names = {topic_id: tp.topic for tp, topic_id in ids.items()} if by_id else {}
        return _codes(await connection.request(request, version=version), names)

    def _topic_id(self, tp: TopicPartition) -> bytes:
        """Id of the topic that the offset belongs to: that of the position, else the one in the metadata."""
        known = self._fence.topic_id(tp)
        return self._link.topic_id(tp.topic) if known == ZERO_UUID else known


def _codes(response: OffsetCommitResponse, names: dict[bytes, str]) -> dict[TopicPartition, int]:
    """The code of each partition. names: By topic id; empty: the answer has names."""
    return {
        TopicPartition(names.get(topic.topic_id, topic.name), part.partition_index): part.error_code
        for topic in response.topics
        for part in topic.partitions
    }


def _ignore(_identity: CommitIdentity, _code: int) -> None:
    """No membership listens."""
