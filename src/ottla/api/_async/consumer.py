"""The public consumer: subscribe or assign, then poll or iterate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ottla.api._async.bounded import AsyncBoundedRead
from ottla.api.views import ConsumerViews
from ottla.arguments import (
    DEFAULT_TIMEOUT,
    LONGEST_WAIT_S,
    TimeoutArgument,
    number,
    wait_limit,
)
from ottla.arguments import timestamp_ms as as_timestamp_ms
from ottla.arguments import topic as topic_name
from ottla.client._async.bounded import AsyncBoundedPolls
from ottla.client._async.polling import AsyncPolling
from ottla.client.consumer import ConsumerClient
from ottla.client.copies import refuse_copy
from ottla.client.dropped import dropped
from ottla.client.hints import hinted
from ottla.client.leaving import CLOSE_S, close_timeout
from ottla.config.consumer import consumer_config
from ottla.consumer.arguments import (
    matcher_of,
    offset_to_read,
    offsets_to_commit,
    offsets_to_read,
    optional_bool,
    times_by_partition,
    topic_names,
    topic_partition,
    topic_partitions,
    with_deserializers,
)
from ottla.consumer.calls import ASSIGNED, LOST, REVOKED
from ottla.consumer.hand_over import make_hand_over
from ottla.consumer.iteration import NO_RECORDS, AsyncConsumerBase, K, V
from ottla.consumer.list_offsets import EARLIEST, LATEST
from ottla.engine.bridge import GRACE_S
from ottla.engine.clock import Deadline
from ottla.engine.twins import check_callback_async, wait_async
from ottla.errors import CommitFailed, StateError
from ottla.message import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Self, Unpack

    from ottla._native import Record, Records
    from ottla.config.option_types import ConsumerOptions, Servers
    from ottla.engine.bridge import Ticket
    from ottla.message import Partition, Partitions

    Listener = Callable[[list[TopicPartition]], Any]


class AsyncConsumer(AsyncConsumerBase[K, V], ConsumerViews):
    """Reads records from Kafka, alone (`assign`) or as a member of a group (`subscribe`).

    Records are fetched ahead in the background, within `fetch_buffer_bytes`. Auto-commit (the default with a group) commits
    only records that the application has finished: it has asked for the next record, or polled again.

        async with ottla.AsyncConsumer("localhost:9092", group_id="g") as consumer:
            await consumer.subscribe(["orders"])
            async for record in consumer:
                print(record.topic, record.partition, record.offset, record.value)

    Args:
        bootstrap_servers: "host:port", several with commas or as a list; one that can be reached is enough. Or a mapping
            of options, as in `{"bootstrap.servers": "localhost:9092", "group.id": "g"}`.
        group_id: Name of the group; None: no group. Also taken as a keyword.
        key_deserializer: Function of the bytes of a key; its result is `Record.key`. Not called for None, which stays None.
        value_deserializer: The same for values. Both run in the thread that polls, once per record.
        config: Options of consumers by Kafka's names, with underscores; see the configuration reference.

    Raises:
        ConfigError: Every problem of the configuration at once; nothing was started.

    A consumer that is dropped without `close` warns (`ResourceWarning`) and is closed in the background: it commits finished
    records (with auto-commit) and leaves the group. No listener is called, and the current record is read again. At the end of the
    program an open consumer does the same within a second.

    Threads: One thread (or task) polls or iterates; any thread may call the other methods. On the engine thread of the client,
    where handlers of its log run, a call that would wait raises RuntimeError; its operation continues.
    """

    def __init__(
        self,
        bootstrap_servers: Servers | None = None,
        group_id: str | None = None,
        /,
        *,
        key_deserializer: Callable[[bytes], K] | None = None,
        value_deserializer: Callable[[bytes], V] | None = None,
        **config: Unpack[ConsumerOptions],
    ) -> None:
        options = with_deserializers(config, key_deserializer, value_deserializer)
        parsed = consumer_config(bootstrap_servers, options, group_id)
        self._config = parsed
        self._client = client = ConsumerClient(parsed)
        hand_over = make_hand_over(client.flow, parsed, client.interceptors, client.skipped)
        self._callbacks = client.callbacks.give_to_owner()
        self._polling = AsyncPolling(client, self, hand_over)
        self._bounded: AsyncBoundedPolls | None = None
        """The bounded read whose next record is being taken."""

    # ---- assignment ----------------------------------------------------------------------------------------------------

    @hinted
    async def subscribe(
        self,
        topics: Iterable[str] = (),
        *,
        pattern: str | re.Pattern[str] | None = None,
        on_assigned: Listener | None = None,
        on_revoked: Listener | None = None,
        on_lost: Listener | None = None,
    ) -> None:
        """Read these topics as a member of the group; subscribing again replaces the topics.

        Listeners get the list of partitions and run in the thread or task that polls or iterates. `on_revoked` is called after the
        last record of its partitions was handed over, and finished records are committed after it (with auto-commit). `on_lost` is
        called after the group removed this member, before any call raises an error for that. A listener may commit, seek, pause,
        resume and look up offsets; its exception is raised by the poll. `poll`, `subscribe`, `unsubscribe`, `assign` and `close`
        raise StateError in it. This call does not wait for the group: partitions are assigned while the application polls.

        Args:
            topics: Names of topics, or one name.
            pattern: In place of names: a regular expression, as text or compiled, for whole names. It also matches topics that
                are created later.
            on_assigned: Called after partitions were assigned.
            on_revoked: Called before partitions are given up in a rebalance, `unsubscribe` or `close`.
            on_lost: Called after partitions were lost: another member may own them, and nothing of them can be committed.

        Raises:
            ConfigError: There is no `group_id`; nothing was changed.
            ValueError: Not exactly one of topics and pattern, a pattern that is no regular expression, or an invalid name of
                a topic; nothing was changed.
            TypeError: Wrong type; the text names the argument. Nothing was changed.
            StateError: Partitions are assigned by `assign`; nothing was changed.
            Error: With a pattern: no broker returned the list of topics.

        Cancellation: The subscription may have taken effect already.
        Threads: Any.
        Protocol: JoinGroup (key 11), SyncGroup (key 14); KIP-62, KIP-345; Java: KafkaConsumer.subscribe.
        """
        names = topic_names(topics)
        if bool(names) == (pattern is not None):
            raise ValueError("subscribe() takes either topics or a pattern")
        matcher = None if pattern is None else matcher_of(pattern)
        for name, listener in (
            ("on_assigned", on_assigned),
            ("on_revoked", on_revoked),
            ("on_lost", on_lost),
        ):
            if listener is not None:
                check_callback_async(name, listener, "(partitions)")
        listeners = {ASSIGNED: on_assigned, REVOKED: on_revoked, LOST: on_lost}
        await self._polling.subscribe(names, matcher, listeners)

    async def unsubscribe(self) -> None:
        """Leave the group; no partition is assigned afterwards.

        `on_revoked` is called. With auto-commit all records that were handed over are committed, the current one included.

        Cancellation: Call again to finish.
        Threads: The thread or task that polls.
        """
        await self._polling.unsubscribe()

    async def assign(self, *partitions: Partitions) -> None:
        """Read exactly these partitions, without the assignment of a group. Offsets can still be committed.

        Each partition starts at its committed offset if there is a `group_id` and a commit, else at `auto_offset_reset`. This
        call does not wait for the start offset; `position` does. With auto-commit all records that were handed over of partitions
        that are given up are committed first, for at most `default_api_timeout_ms`.

        Args:
            partitions: One, several, or an iterable, each a `TopicPartition` or a pair ("topic", 0). They replace the
                partitions assigned before; a partition that was among those keeps its position. `assign([])` leaves none.

        Raises:
            StateError: The consumer is subscribed, or a listener makes the call; nothing was changed.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was changed.

        Cancellation: The assignment may have taken effect already.
        Threads: Any.
        """
        if not partitions:
            raise TypeError("assign() needs partitions; assign([]) leaves none assigned")
        wanted = topic_partitions(partitions)
        await self._polling.assign(wanted)

    def assignment(self) -> set[TopicPartition]:
        """The partitions that are assigned now, as a new set. Threads: any."""
        return self._client.cursors.assigned

    def subscription(self) -> set[str]:
        """The topics that are subscribed to by name. Threads: any."""
        return set(self._polling.topics)

    # ---- reading -------------------------------------------------------------------------------------------------------

    @hinted
    async def poll(
        self, *, max_records: int | None = None, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> Records[K, V]:
        """Return records as soon as there are any.

        A poll finishes the records of earlier polls, and shows `max_poll_interval_ms` that the application is alive. After an
        iteration it continues after the current record.

        Args:
            max_records: Maximum number of records; None: `max_poll_records`.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until there are records.

        Returns:
            Records: len, iteration, `values()`, `by_partition()`; empty, which is false, if the time ran out or `wakeup`
                was called. Without a limit also if there is no record and a position has moved past offsets without one, such as
                those of an aborted transaction.

        Raises:
            OffsetOutOfRange: The position of a partition is not in its log, or there is no commit, and `auto_offset_reset` is
                none. Raised once; the partition is not read until a seek.
            DecodeError: A batch was malformed twice in a row. Raised once; the other partitions are read on. The batch is fetched
                again after 1 s, 2 s, and so on up to 60 s, and each attempt that fails raises it once more, until a seek; its
                `next_offset` is the offset after the batch.
            DeserializationError: A deserializer raised for the next record of a partition, whose position stays there until a
                seek; its `next_offset` is the offset after the record. See `on_deserialize_error`.
            KafkaError: The broker refused a partition for good, raised once; or the coordinator refused the member, raised by
                each poll.
            Closed: The consumer is closed.
            ValueError: max_records is below 1.
            TypeError, ValueError: max_records or `timeout` has a wrong type or value.
            StateError: Another thread or task polls, or a listener does; or there is nothing to read, because neither
                `subscribe` nor `assign` was called.
            In each case the position has not moved, and the next poll returns records of other partitions.

        Cancellation: No record is lost: the next poll returns the records that were not returned.
        Threads: One at a time.
        Protocol: Fetch (key 1); KIP-74, KIP-227; Java: KafkaConsumer.poll.
        """
        limit = self._config.max_poll_records
        if max_records is not None:
            limit = number("max_records", max_records, 1)
        records = await self._polling.poll(
            limit, self._limit(timeout), returns_moves=timeout is None
        )
        return NO_RECORDS if records is None else records

    async def _refill(self) -> Records[K, V] | None:
        """The next records of an iteration; None ends it."""
        if self._bounded is not None:
            return await self._bounded.next_chunk(self._config.max_poll_records)
        return await self._polling.next_chunk(self._config.max_poll_records)

    async def _interrupted(self) -> None:
        """The group waits for the application, and the iteration asks for its next record."""
        await self._polling.serve_between_records()

    async def _next_of(self, polls: AsyncBoundedPolls) -> Record[K, V]:
        """The next record of a bounded read."""
        polls.begin()
        self._bounded = polls
        try:
            return await self.__anext__()
        finally:
            self._bounded = None

    def read_until(
        self,
        offsets: Mapping[Partition, int] | None = None,
        *,
        timestamp_ms: int | None = None,
        timeout: TimeoutArgument = DEFAULT_TIMEOUT,
    ) -> AsyncBoundedRead[K, V]:
        """Read the assigned partitions from their positions to an end, for jobs and notebooks.

        Without arguments the end of a partition is that of its log when its reading begins; with read_committed, the first
        transaction that is open then. The read ends when every assigned partition has reached its end, by the position: aborted
        transactions and compacted records in front of the end do not matter. No record at or after an end is handed over, and the
        position stays there. In a group the partitions are those that the group assigns, each with the end of the moment in
        which this member got it; a member without partitions reads nothing.

            async for record in consumer.read_until(): ...
            async for records in consumer.read_until(timestamp_ms=midnight).chunks(): ...

        Args:
            offsets: `TopicPartition`, or a pair ("topic", 0), -> end: the offset after the last record to read. Assigned
                partitions that are not in it are not read.
            timestamp_ms: Read records in front of the first one of this time or later; milliseconds since the epoch, UTC. A
                partition without such a record is read to its end.
            timeout: Seconds that the read waits without any progress. Not given: `default_api_timeout_ms`. None: no limit.

        Returns:
            AsyncBoundedRead: Iterate over it, or over its `chunks()`. Nothing was requested yet.

        Raises:
            TypeError, ValueError: Wrong type or value, or both offsets and timestamp_ms; the text names the argument.
            StateError: A partition of `offsets` is not assigned.
            During the read: the errors of `poll` and of `end_offsets`, and Timeout, which names the partitions that made no
            progress and their ends. The next call continues.

        Cancellation: No record is lost.
        Threads: As `poll`.
        Protocol: ListOffsets (key 2), Fetch (key 1).
        """
        if offsets is not None and timestamp_ms is not None:
            raise ValueError("read_until() takes either offsets or timestamp_ms")
        ends = None
        if offsets is not None:
            ends = {tp: each.offset for tp, each in offsets_to_read(offsets).items()}
            if self._client.subscription.member is None:
                self._assigned_among((list(ends),))
        time_ms = None if timestamp_ms is None else as_timestamp_ms("timestamp_ms", timestamp_ms)
        polls = AsyncBoundedPolls(self._client, self._polling, ends, time_ms, self._limit(timeout))
        return AsyncBoundedRead(self, polls, self._config.max_poll_records)

    def wakeup(self) -> None:
        """Make the current poll, or the next one, return empty `Records`, and end an iteration.

        Threads: Any, and signal handlers.
        """
        self._polling.wakeup()

    # ---- positions -----------------------------------------------------------------------------------------------------

    async def position(
        self, partition: tuple[str, int], timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> int:
        """Return the offset of the next record that will be handed over.

        Args:
            partition: An assigned `TopicPartition`, or a pair ("topic", 0).
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until it has a position.

        Returns:
            int: During an iteration the offset after the current record.

        Raises:
            Timeout, UnknownTopicOrPartition, KafkaError, StateError, TypeError, ValueError: As `positions`.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        tp = topic_partition(partition)
        return (await self._positions("AsyncConsumer.position", [tp], self._limit(timeout)))[tp]

    async def positions(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Return the offset of the next record of each partition, also directly after an assignment.

        Args:
            partitions: One, several, or an iterable, of those that are assigned; no argument: all of them.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until each has a position.

        Returns:
            dict: partition -> offset; during an iteration the offset after the current record.

        Raises:
            Timeout: A partition has no position yet; the text names it and the cause.
            UnknownTopicOrPartition: A partition does not exist: its topic has fewer, or was not created within three seconds.
            KafkaError, OffsetOutOfRange: The broker refused a partition for good, as `poll` raises it.
            StateError: A partition is not assigned.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was requested.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        wanted = self._these_or_all(partitions)
        return await self._positions("AsyncConsumer.positions", wanted, self._limit(timeout))

    async def _positions(
        self, name: str, wanted: list[TopicPartition], limit: float
    ) -> dict[TopicPartition, int]:
        found = await self._polling.positions_of(name, wanted, limit)
        for tp in wanted:
            if tp not in found:
                raise _not_assigned(tp)
        return found

    def _limit(self, timeout: TimeoutArgument) -> float:
        """Seconds that a call with this `timeout` may wait."""
        return wait_limit(timeout, self._config.default_api_timeout_ms / 1000)

    async def seek(self, partition: tuple[str, int], offset: int | OffsetAndMetadata) -> None:
        """Continue at this offset; records that were fetched for the earlier position are dropped.

        No request is sent: only the next poll shows whether the offset exists. The committed offset does not change; automatic
        commits continue from the new position.

        Args:
            partition: An assigned `TopicPartition`, or a pair ("topic", 0).
            offset: Offset of the next record, 0 or more: a number, or a result of `committed`.

        Raises:
            StateError: The partition is not assigned; nothing was changed.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was changed.

        Cancellation: The position may have been set already.
        Threads: The thread or task that polls.
        """
        tp = topic_partition(partition)
        await self._polling.seek(tp, offset_to_read(offset))

    async def seek_to_beginning(self, *partitions: Partitions) -> None:
        """Continue at the oldest record. Arguments, errors and threads as `seek_to_timestamp`."""
        await self._seek_to_time("AsyncConsumer.seek_to_beginning", partitions, EARLIEST)

    async def seek_to_end(self, *partitions: Partitions) -> None:
        """Continue with records that are written from now on; with read_committed, at the first open transaction.

        Arguments, errors and threads as `seek_to_timestamp`.
        """
        await self._seek_to_time("AsyncConsumer.seek_to_end", partitions, LATEST)

    async def seek_to_timestamp(self, timestamp_ms: int, *partitions: Partitions) -> None:
        """Continue at the first record of this time or later; if there is none, at the end.

        The leaders return the offset, and the position is set as by `seek`.

        Args:
            timestamp_ms: Milliseconds since the epoch, UTC, 0 or more.
            partitions: One, several, or an iterable, of those that are assigned; no argument: all of them.

        Raises:
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was changed.
            StateError: One of them is not assigned; no position was changed.
            KafkaError: A leader refused a partition; no position was changed.
            Timeout: Not every leader answered within `default_api_timeout_ms`; no position was changed.

        Cancellation: Some positions may have been set already.
        Threads: The thread or task that polls.
        Protocol: ListOffsets (key 2); KIP-79.
        """
        time_ms = as_timestamp_ms("timestamp_ms", timestamp_ms)
        await self._seek_to_time("AsyncConsumer.seek_to_timestamp", partitions, time_ms)

    async def _seek_to_time(
        self, name: str, partitions: tuple[Partitions, ...], time_ms: int
    ) -> None:
        await self._polling.seek_to_time(name, self._these_or_all(partitions), time_ms)

    def _these_or_all(self, partitions: tuple[Partitions, ...]) -> list[TopicPartition]:
        """The partitions that were given; without any argument all that are assigned."""
        return topic_partitions(partitions) if partitions else sorted(self.assignment())

    def pause(self, *partitions: Partitions) -> None:
        """Hand over no records of these partitions until `resume`. They stay assigned, and their fetched records stay buffered.

        Records that a poll has returned, or an iteration has taken, are handed over already. A pause ends when the partition is
        revoked: if it is assigned again later, it is not paused.

        Args:
            partitions: One, several, or an iterable, of those that are assigned; in `on_assigned` too.

        Raises:
            StateError: One of them is not assigned; none was paused.
            TypeError, ValueError: One of them is no partition; none was paused.

        Threads: Any.
        """
        for tp in self._assigned_among(partitions):
            self._client.flow.pause(*tp)

    def resume(self, *partitions: Partitions) -> None:
        """Hand over records of these partitions again, from the position of the pause.

        Args:
            partitions: One, several, or an iterable, of those that are assigned; nothing happens to one that is not paused.

        Raises:
            StateError: One of them is not assigned; none was resumed.
            TypeError, ValueError: One of them is no partition; none was resumed.

        Threads: Any.
        """
        for tp in self._assigned_among(partitions):
            self._client.flow.resume(*tp)

    def paused(self) -> set[TopicPartition]:
        """The partitions that are paused. Threads: any."""
        return {tp for tp in self.assignment() if self._client.flow.partition_state(*tp).paused}

    def _assigned_among(self, partitions: tuple[Partitions, ...]) -> list[TopicPartition]:
        """These partitions; raises if one of them is not assigned."""
        wanted = topic_partitions(partitions)
        assigned = self.assignment()
        for tp in wanted:
            if tp not in assigned:
                raise _not_assigned(tp)
        return wanted

    # ---- commits -------------------------------------------------------------------------------------------------------

    @hinted
    async def commit(
        self,
        offsets: Mapping[Partition, int | OffsetAndMetadata] | Record | None = None,
        timeout: TimeoutArgument = DEFAULT_TIMEOUT,
    ) -> None:
        """Commit offsets and wait for the answer of the group's coordinator.

        A commit is about the next record to read: after a restart, the group reads on from there. In the middle of a poll's
        records, `commit()` covers the rest of them too: commit the finished record, `commit(record)`, or iterate over the consumer,
        where `commit()` covers the records up to the current one.

        Args:
            offsets: A record: it and all before it in its partition. Or `TopicPartition`, or a pair ("topic", 0), -> offset of
                the next record to read. None: everything handed over so far, the current record included.
            timeout: Seconds to wait. Not given or None: until the commit ends; it is retried for `default_api_timeout_ms`.

        Raises:
            CommitFailed: `.partitions` has the partitions that were not committed, with the reasons; the others are
                committed. If `.outcome` is unknown there was no answer, and the offsets may be committed. A partition that the
                coordinator does not know, such as one of a deleted topic, is retried while the metadata has it, and until the
                member gives up its partitions; it delays the commit of no other partition. After a loss it names the lost
                partitions with the reason, until the next poll; `on_lost` has been called before.
            ConfigError: There is no `group_id`; nothing was committed.
            Timeout: The time ran out; the commit continues.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was committed.

        Cancellation: Ends the wait only; the commit continues.
        Threads: Any.
        Protocol: OffsetCommit (key 8); Java: KafkaConsumer.commitSync.
        """
        limit = wait_limit(timeout, LONGEST_WAIT_S)
        await self._polling.serve_losses()
        try:
            await wait_async(self.commit_async(offsets), limit)
        except CommitFailed:
            # The answer may have been the loss.
            await self._polling.serve_losses()
            raise

    @hinted
    def commit_async(
        self, offsets: Mapping[Partition, int | OffsetAndMetadata] | Record | None = None
    ) -> Ticket[None]:
        """Begin a commit and return its ticket at once; arguments and errors as `commit`.

        Calls that are made while a commit is in flight share the next request, so a call for every record costs few requests. A
        failure that is not read from the ticket is logged.

        Returns:
            Ticket: `wait(timeout)` it or `await` it; `done()`, `exception()`.

        Threads: Any.
        """
        wanted = None if offsets is None else offsets_to_commit(offsets)
        return self._polling.commit(wanted)

    @hinted
    async def committed(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """Return the committed offsets of the group.

        Args:
            partitions: One, several, or an iterable, assigned or not; no argument: all that are assigned.
            timeout: Seconds to wait. Not given or None: until an answer or its failure; the request is retried for
                `default_api_timeout_ms`.

        Returns:
            dict: partition -> offset of the next record, leader epoch and metadata; None without a commit.

        Raises:
            KafkaError: The coordinator refused the request.
            ConnectionLost: The coordinator could not be reached in time.
            ConfigError: There is no `group_id`.
            Timeout: The time ran out.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was requested.

        Cancellation: Ends the wait only.
        Threads: Any.
        Protocol: OffsetFetch (key 9).
        """
        wanted = self._these_or_all(partitions)
        limit = wait_limit(timeout, LONGEST_WAIT_S)
        committed = self._client.committed
        asked = self._client.query("AsyncConsumer.committed", committed, wanted, limit)
        return await wait_async(asked, limit + GRACE_S)

    # ---- offsets -------------------------------------------------------------------------------------------------------

    async def beginning_offsets(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Return the offset of the oldest record of each partition.

        Args:
            partitions: One, several, or an iterable, assigned or not; no argument: all that are assigned.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until every leader has answered.

        Returns:
            dict: partition -> offset.

        Raises:
            KafkaError: A leader refused a partition, or there is no such partition (`UnknownTopicOrPartition`, at once; no topic is
                created).
            Timeout: Not every leader answered in time.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was requested.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        wanted, limit = self._these_or_all(partitions), self._limit(timeout)
        return await self._offsets_at("AsyncConsumer.beginning_offsets", wanted, EARLIEST, limit)

    async def end_offsets(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Return the offset that the next record will get; with read_committed, that of the first open transaction.

        Arguments, result, errors and threads as `beginning_offsets`.
        """
        wanted, limit = self._these_or_all(partitions), self._limit(timeout)
        return await self._offsets_at("AsyncConsumer.end_offsets", wanted, LATEST, limit)

    async def _offsets_at(
        self, name: str, wanted: list[TopicPartition], time_ms: int, limit: float
    ) -> dict[TopicPartition, int]:
        times = dict.fromkeys(wanted, time_ms)
        asked = self._client.query(name, self._client.finder.find, times, limit)
        found = await wait_async(asked, limit + GRACE_S)
        return {tp: answer.offset for tp, answer in found.items()}

    async def offsets_for_times(
        self, times_ms: Mapping[Partition, int], timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """Return the first record at or after a time in each partition.

        Args:
            times_ms: `TopicPartition`, or a pair ("topic", 0), -> milliseconds since the epoch, UTC.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until every leader has answered.

        Returns:
            dict: partition -> offset, timestamp_ms and leader epoch; None if there is no such record.

        Raises:
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was requested.
            KafkaError: A leader refused a partition, or there is no such partition (`UnknownTopicOrPartition`, at once; no topic is
                created).
            Timeout: Not every leader answered in time.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        wanted = times_by_partition(times_ms)
        limit = self._limit(timeout)
        find = self._client.finder.find
        asked = self._client.query("AsyncConsumer.offsets_for_times", find, wanted, limit)
        found = await wait_async(asked, limit + GRACE_S)
        return {
            tp: None
            if answer.offset < 0
            else OffsetAndTimestamp(answer.offset, answer.timestamp_ms, answer.leader_epoch)
            for tp, answer in found.items()
        }

    async def partitions_for(
        self, topic: str, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> list[TopicPartition]:
        """Return the partitions of a topic.

        The call creates a topic that does not exist, if `allow_auto_create_topics` (the default) and the broker allow that.

        Args:
            topic: Name of the topic.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until an answer or its failure.

        Returns:
            list: By number.

        Raises:
            KafkaError: The topic does not exist, or the client has no access to it.
            NoBrokersAvailable: No broker can be reached; one line per address. Raised at the first failure, before the time runs out.
            Timeout: The time ran out.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was requested.

        Cancellation: Ends the wait only.
        Threads: Any.
        Protocol: Metadata (key 3).
        """
        name = topic_name(topic)
        limit = self._limit(timeout)
        partitions_for = self._client.partitions_for
        asked = self._client.query("AsyncConsumer.partitions_for", partitions_for, name, limit)
        numbers = await wait_async(asked, limit + GRACE_S)
        return [TopicPartition(name, partition) for partition in numbers]

    async def lag(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Return the number of offsets between the position of each partition and its end, also directly after `assign`.

        The leaders return the ends. A position is the offset of the next poll, so the records of the last poll do not count,
        even if the application still processes them; offsets without a record (compaction, transactions) do.

        Args:
            partitions: One, several, or an iterable, of those that are assigned; no argument: all of them.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until every leader has answered.

        Returns:
            dict: partition -> 0 or more.

        Raises:
            Timeout: A partition has no position, or its leader did not answer, in time.
            KafkaError, OffsetOutOfRange: A partition was refused, or does not exist, as for `positions`.
            StateError: A partition is not assigned.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was requested.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        wanted = self._these_or_all(partitions)
        limit = self._limit(timeout)
        end = Deadline(limit)
        await self._positions("AsyncConsumer.lag", wanted, limit)
        ends = await self._offsets_at("AsyncConsumer.lag", wanted, LATEST, end.left() or 0.0)
        positions = self._polling.positions()
        return {tp: max(0, ends[tp] - positions.get(tp, ends[tp])) for tp in wanted}

    def _readers(self) -> Mapping[str, float]:
        return self._polling.readers()

    # ---- the end -------------------------------------------------------------------------------------------------------

    @hinted
    async def close(
        self, timeout: TimeoutArgument = 25.0, *, leave_group: bool | None = None
    ) -> None:
        """Call `on_revoked`, commit finished records (with auto-commit), leave the group and disconnect.

        A close finishes all records that were handed over, the current one too. If an exception ends a `with` block they are
        not finished: the next reader gets the current record, or the records of the last poll, again. A second close waits for
        the same end. The end of a `with` block has 25 seconds, or one second after Ctrl-C or a cancellation.

        Args:
            timeout: Seconds to commit and to leave; the session timeout ends the membership if they do not suffice.
                None: as long as it takes.
            leave_group: Whether to leave the group, so that the partitions move to other members at once; False for a restart,
                with a `group_instance_id`: the partitions wait for this member until its session ends (KIP-1092). None: as the
                option `leave_group_on_close`.

        Raises:
            TypeError, ValueError: `timeout` is no number of seconds, or `leave_group` is neither a bool nor None; the consumer
                is as open as before.
            Exception: An exception of `on_revoked`; the consumer is closed nevertheless.

        Cancellation: The consumer closes in the background; call again to wait for it.
        Threads: Any; not while another thread polls (use `wakeup` first).
        """
        leaves = optional_bool("leave_group", leave_group)
        limit = wait_limit(timeout, CLOSE_S)
        await self._polling.close(limit, finished=True, leaves=leaves)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._polling.close(close_timeout(error), finished=error is None)

    def __reduce__(self) -> NoReturn:
        refuse_copy(self)

    def __del__(self, _dropped: Callable[..., None] = dropped) -> None:
        _dropped(self, self._hand_over)

    def _hand_over(self) -> None:
        self._polling.drop(self._current(), self._callbacks)

    def __repr__(self) -> str:
        group = self._config.group_id
        member = "" if group is None else f" group={group!r}"
        state = self._client.unusable or f"assigned={len(self.assignment())}"
        return f"<AsyncConsumer {self._config.client_id!r}{member} {state}>"


def _not_assigned(tp: TopicPartition) -> StateError:
    return StateError("not assigned to this consumer", topic=tp.topic, partition=tp.partition)
