"""Offset queries to the leaders of partitions: the first, the next, or the first at or after a time.

Each partition gets its answer on its own: leaders are queried at the same time, a failed or incomplete answer is followed by another
attempt for its partitions alone, and a leader that does not answer is left as soon as the metadata names another one. An answer that
leaves a partition out, or has no offset where there is always one, is a failed attempt.

Engine thread only. References: ListOffsets (key 2), KIP-79, KIP-396, KIP-734; Java: OffsetFetcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.metadata import leads
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
    from ottla.cluster.metadata import PartitionInfo
    from ottla.config.consumer import ConsumerConfig
    from ottla.engine.clock import Clock
    from ottla.protocol.messages.list_offsets import (
        ListOffsetsPartitionResponse,
        ListOffsetsResponse,
    )

LATEST = -1
EARLIEST = -2
_SILENCE_S = 1.0
"""Seconds without an answer after which the metadata is requested, since the leader may have moved."""
WHOLE_TOPIC: frozenset[int] = frozenset(
    {ErrorCode.TOPIC_AUTHORIZATION_FAILED, ErrorCode.INVALID_TOPIC_EXCEPTION}
)
"""Codes that concern every partition of a topic alike."""


class FoundOffset(NamedTuple):
    """The answer of a leader."""

    offset: int
    """-1: no record at or after the time."""
    timestamp_ms: int
    leader_epoch: int


class OffsetReceiver:
    """Receives the answers of one search, each as it arrives. The base class wants all of them and ignores failed attempts."""

    waits_for_topics = False
    """Whether a partition that does not exist may still be created; otherwise it is refused."""
    takes_end = False
    """Whether a partition without a record at or after the time is searched for its end."""

    def wants(self, tp: TopicPartition) -> bool:
        """Whether the partition is still to be searched."""
        return True

    def found(self, tp: TopicPartition, answer: FoundOffset) -> None:
        """The leader answered."""

    def refused(self, tps: Sequence[TopicPartition], error: errors.Error) -> None:
        """No attempt can find the offsets of these partitions: all for one reason, reported once."""

    def failed(self, tp: TopicPartition, reason: str, failures: int) -> None:
        """An attempt failed; another one follows. failures: Failed attempts of this partition in a row, this one included."""


class OffsetFinder:
    """ListOffsets over any partitions, each at its leader.

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
        answers = _Answers()
        search = self._search(times, answers)
        try:
            async with asyncio.timeout(timeout):
                await search.run()
        except TimeoutError:
            place = next(iter(search.left))
            why = search.problems.get(place) or self._cluster.describe_wait()
            raise errors.Timeout(f"no offset of {place} within {timeout:g} s: {why}") from None
        return answers.offsets

    async def search(self, times: Mapping[TopicPartition, int], receiver: OffsetReceiver) -> None:
        """Search until each partition was found or refused, or is no longer wanted."""
        await self._search(times, receiver).run()

    def _search(self, times: Mapping[TopicPartition, int], receiver: OffsetReceiver) -> _Search:
        return _Search(self._cluster, self._clock, self._backoff, self._isolation, times, receiver)


class _Answers(OffsetReceiver):
    """The answers of one call. The first refusal ends it."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, FoundOffset] = {}

    def found(self, tp: TopicPartition, answer: FoundOffset) -> None:
        self.offsets[tp] = answer

    def refused(self, tps: Sequence[TopicPartition], error: errors.Error) -> None:
        raise error


class _Search:
    """One search: tasks that ask leaders, until none is left."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        backoff: Backoff,
        isolation: int,
        times: Mapping[TopicPartition, int],
        receiver: OffsetReceiver,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._backoff = backoff
        self._isolation = isolation
        self._receiver = receiver
        self.left = dict(times)
        """Partitions without an answer, and their times."""
        self.problems: dict[TopicPartition, str] = {}
        """Why the last attempt for a partition failed, in one line."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Return once every partition has an answer. An exception of the receiver ends the search."""
        with self._cluster.topics_for_query({topic for topic, _ in self.left}):
            self._spawn(self._look_up(list(self.left), 0))
            try:
                await self._done
            finally:
                for task in self._tasks:
                    task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._done.done():
            return
        error = task.exception()
        if error is not None:
            self._done.set_exception(error)
        elif not self._tasks:
            self._done.set_result(None)

    # ---- attempts ----------------------------------------------------------------------------------------------------

    def _open(self, tps: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [tp for tp in tps if tp in self.left and self._receiver.wants(tp)]

    async def _look_up(self, tps: Sequence[TopicPartition], failures: int) -> None:
        """Begin a task for each leader; repeat for the partitions that have none."""
        while tps := self._open(tps):
            if failures:
                await self._clock.sleep(self._backoff.delay(failures))
            is_stale = failures > 0 or any(self._info(tp) is None for tp in tps)
            if is_stale and not await self._refresh(tps, failures):
                failures += 1
                continue
            by_leader: dict[int, list[TopicPartition]] = {}
            for tp in self._open(tps):
                info = self._info(tp)
                by_leader.setdefault(-1 if info is None else info.leader, []).append(tp)
            tps = by_leader.pop(-1, [])
            for node_id, asked in by_leader.items():
                self._spawn(self._ask(node_id, asked, failures))
            failures += 1
            self._fail(tps, "it has no leader", failures)

    def _info(self, tp: TopicPartition) -> PartitionInfo | None:
        return self._cluster.snapshot.partition(*tp)

    async def _refresh(self, tps: Sequence[TopicPartition], failures: int) -> bool:
        """Request the metadata, and refuse partitions that do not exist by it."""
        try:
            await self._cluster.refresh("offsets are requested", urgent=not failures)
        except errors.Error as error:
            if error.permanent:
                self._refuse(tps, error)
            else:
                self._fail(tps, errors.line_of(error), failures + 1)
            return False
        for topic in {tp.topic for tp in tps}:
            self._check_topic(topic, [tp for tp in tps if tp.topic == topic])
        return True

    def _check_topic(self, topic: str, tps: Sequence[TopicPartition]) -> None:
        missing = [tp for tp in tps if self._info(tp) is None]
        code = self._cluster.snapshot.topic_error(topic)
        if missing and code:
            error = errors.for_code(code, topic=topic)
            if error.permanent or self._is_missing(code):
                self._refuse(missing, error)
        elif missing and self._is_missing(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION):
            for tp in missing:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                self._refuse([tp], errors.for_code(code, topic=topic, partition=tp.partition))

    def _is_missing(self, code: int) -> bool:
        unknown = code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return unknown and not self._receiver.waits_for_topics

    async def _ask(self, node_id: int, asked: Sequence[TopicPartition], failures: int) -> None:
        """Query one leader, and search on for the partitions that it did not answer."""
        query = asyncio.get_running_loop().create_task(self._query(node_id, asked, failures))
        try:
            while not (await asyncio.wait({query}, timeout=_SILENCE_S))[0]:
                self._cluster.refresh_soon(f"node {node_id} has not answered a query for offsets")
                moved = [tp for tp in asked if not self._still_leads(node_id, tp)]
                asked = [tp for tp in asked if tp not in moved]
                if moved:
                    self._spawn(self._look_up(moved, 0))
                if not self._open(asked):
                    return
            await query
        finally:
            query.cancel()
        await self._look_up(asked, failures + 1)

    def _still_leads(self, node_id: int, tp: TopicPartition) -> bool:
        return leads(*tp, node_id)(self._cluster.snapshot)

    async def _query(self, node_id: int, asked: Sequence[TopicPartition], failures: int) -> None:
        """One request to one leader."""
        self.problems.update(dict.fromkeys(asked, f"no connection to node {node_id} yet"))
        try:
            connection = await self._cluster.connection_while(
                node_id, Role.CONTROL, lambda _: any(self._still_leads(node_id, tp) for tp in asked)
            )
            silent = f"node {node_id} at {connection.address} has not answered"
            self.problems.update(dict.fromkeys(asked, silent))
            response = await connection.request(self._request(asked))
        except errors.Error as error:
            if error.permanent:
                self._refuse(self._open(asked), error)
            else:
                self._fail(asked, errors.line_of(error), failures + 1)
            return
        self._read(response, node_id, asked, failures)

    def _request(self, asked: Sequence[TopicPartition]) -> ListOffsetsRequest:
        topics: dict[str, list[ListOffsetsPartition]] = {}
        for tp in self._open(asked):
            topics.setdefault(tp.topic, []).append(
                ListOffsetsPartition(partition_index=tp.partition, timestamp=self.left[tp])
            )
        return ListOffsetsRequest(
            replica_id=-1,
            isolation_level=self._isolation,
            topics=[
                ListOffsetsTopic(name=name, partitions=parts) for name, parts in topics.items()
            ],
        )

    # ---- answers -----------------------------------------------------------------------------------------------------

    def _read(
        self,
        response: ListOffsetsResponse,
        node_id: int,
        asked: Sequence[TopicPartition],
        failures: int,
    ) -> None:
        """Take the answer of each partition that was asked for; one that is left out has failed."""
        answers = {
            TopicPartition(topic.name, part.partition_index): part
            for topic in response.topics
            for part in topic.partitions
        }
        refused: dict[tuple[str, int], list[TopicPartition]] = {}
        for tp in self._open(asked):
            part = answers.get(tp)
            if part is None:
                self._fail([tp], f"node {node_id} left it out of its answer", failures + 1)
            elif not part.error_code:
                self._take(tp, part, failures)
            elif errors.for_code(part.error_code).permanent:
                refused.setdefault((tp.topic, part.error_code), []).append(tp)
            else:
                self._fail([tp], errors.line_of(errors.for_code(part.error_code)), failures + 1)
        for (topic, code), tps in refused.items():
            self._refuse_by_code(topic, code, tps)

    def _take(self, tp: TopicPartition, part: ListOffsetsPartitionResponse, failures: int) -> None:
        if part.offset >= 0 or (self.left[tp] >= 0 and not self._receiver.takes_end):
            del self.left[tp]
            self._receiver.found(tp, FoundOffset(part.offset, part.timestamp, part.leader_epoch))
        elif self.left[tp] >= 0:
            self.left[tp] = LATEST
            self._spawn(self._look_up([tp], 0))
        else:
            self._fail([tp], "the leader answered without an offset", failures + 1)

    def _refuse_by_code(self, topic: str, code: int, tps: Sequence[TopicPartition]) -> None:
        """One error for a whole topic, or one for each partition."""
        if code in WHOLE_TOPIC:
            self._refuse(tps, errors.for_code(code, topic=topic))
            return
        for tp in tps:
            self._refuse([tp], errors.for_code(code, topic=topic, partition=tp.partition))

    def _refuse(self, tps: Sequence[TopicPartition], error: errors.Error) -> None:
        for tp in tps:
            self.left.pop(tp, None)
        self._receiver.refused(tps, error)

    def _fail(self, tps: Sequence[TopicPartition], reason: str, failures: int) -> None:
        for tp in tps:
            self.problems[tp] = reason
            self._receiver.failed(tp, reason, failures)
