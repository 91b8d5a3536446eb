"""The consumer as the user sees it, poll style: cursor in, records out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ottla.arguments import (
    DEFAULT_TIMEOUT,
    LONGEST_WAIT_S,
    TimeoutArgument,
    function,
    number,
    wait_limit,
)
from ottla.arguments import timestamp_ms as as_timestamp_ms
from ottla.arguments import topic as topic_name
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
    offsets_to_read,
    times_by_partition,
    topic_names,
    topic_partition,
    topic_partitions,
)
from ottla.consumer.calls import ASSIGNED, LOST, REVOKED
from ottla.consumer.iteration import NO_RECORDS, AsyncConsumerBase
from ottla.consumer.list_offsets import EARLIEST, LATEST
from ottla.engine.bridge import GRACE_S
from ottla.engine.twins import check_callback_async, wait_async
from ottla.errors import StateError
from ottla.message import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Self, Unpack

    from ottla._native import Records
    from ottla.config.option_types import ConsumerOptions, Servers
    from ottla.engine.bridge import Ticket
    from ottla.message import Partition, Partitions
    from ottla.observe.consumer_health import ConsumerHealth
    from ottla.observe.consumer_statistics import ConsumerStatistics
    from ottla.observe.events import Event

    Listener = Callable[[list[TopicPartition]], Any]


class AsyncConsumer(AsyncConsumerBase):
    """Reads records from Kafka, alone (`assign`) or as a member of a group (`subscribe`).

    Records are fetched ahead in the background, within `fetch_buffer_bytes`. With auto-commit (the default when there
    is a group) only records are committed that the application has finished with: it asked for the next one, or
    polled again.

        async with ottla.AsyncConsumer("localhost:9092", group_id="g") as consumer:
            await consumer.subscribe(["orders"])
            async for record in consumer:
                print(record.topic, record.partition, record.offset, record.value)

    Args:
        bootstrap_servers: "host:port", several with commas or as a list; one that can be reached is enough. Or a mapping
            of options, as in `{"bootstrap.servers": "localhost:9092", "group.id": "g"}`.
        group_id: Name of the group; None: no group. Also taken as a keyword.
        config: Options of consumers by Kafka's names, with underscores; see the configuration reference.

    Raises:
        ConfigError: Every problem of the configuration at once; nothing was started.

    Dropped without `close` it warns (`ResourceWarning`) and is closed in the background: with auto-commit what is
    finished is committed, and the group is left. No listener is called, and the record in hand comes again.

    Threads: One thread (or task) polls or iterates; the other methods may be called from any. On the client's own engine
    thread, where handlers of its log run, nothing waits: what would raises RuntimeError, and what it has begun goes on.
    """

    def __init__(
        self,
        bootstrap_servers: Servers | None = None,
        group_id: str | None = None,
        /,
        **config: Unpack[ConsumerOptions],
    ) -> None:
        parsed = consumer_config(bootstrap_servers, config, group_id)
        self._config = parsed
        self._client = ConsumerClient(parsed)
        self._callbacks = self._client.callbacks.give_to_owner()
        self._polling = AsyncPolling(self._client, self)

    # ---- what to read --------------------------------------------------------------------------------------------------

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

        The listeners observe: they get the list of partitions and run where the application polls, `on_revoked`
        before the partitions are given up (commit there what must be), `on_lost` when they belong to somebody else
        already. This call does not wait for the group: partitions come while the application polls.

        Args:
            topics: Names.
            pattern: Instead of names: a regular expression, as text or compiled, for whole names; topics created later are found too.
            on_assigned: Called after partitions were assigned.
            on_revoked: Called before partitions are given up in a rebalance or a close.
            on_lost: Called after partitions were lost.

        Raises:
            ConfigError: There is no `group_id`; nothing was changed.
            ValueError: Not exactly one of topics and pattern, a pattern that is no regular expression, or a name that no
                topic can have; nothing was changed.
            TypeError: An argument of another type, which the text names; nothing was changed.
            StateError: Partitions are assigned by `assign`; nothing was changed.
            Error: With a pattern: no broker could be asked for the topics that exist.

        Cancellation: The subscription may have been taken already.
        Threads: Any.
        Protocol: JoinGroup (key 11), SyncGroup (key 14); KIP-62, KIP-345; Java: KafkaConsumer.subscribe.
        """
        names = topic_names(topics)
        if bool(names) == (pattern is not None):
            raise ValueError("subscribe() takes topics or a pattern, one of the two")
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
        """Leave the group; nothing is assigned afterwards.

        `on_revoked` is told. With auto-commit everything handed over is committed, the record in hand included.

        Cancellation: Call again to finish.
        Threads: The polling one.
        """
        await self._polling.unsubscribe()

    async def assign(self, *partitions: Partitions) -> None:
        """Read exactly these partitions, outside any group's assignment. Offsets can still be committed.

        They begin at the committed offset where there is a `group_id` and one is committed, else where
        `auto_offset_reset` says. This call waits for none of that; `position` does.

        Args:
            partitions: One, several, or an iterable, each a `TopicPartition` or a pair ("topic", 0). They replace the
                partitions assigned before; a partition that was among those keeps its position. `assign([])` leaves none.

        Raises:
            StateError: The consumer is subscribed; nothing was changed.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was changed.

        Cancellation: The assignment may have been taken already.
        Threads: Any.
        """
        if not partitions:
            raise TypeError("assign() needs partitions; assign([]) leaves none assigned")
        wanted = topic_partitions(partitions)
        await wait_async(self._client.call("AsyncConsumer.assign", self._client.assign, wanted))

    def assignment(self) -> set[TopicPartition]:
        """The partitions that are assigned now, a set of one's own. Threads: any."""
        return self._client.cursors.assigned

    def subscription(self) -> set[str]:
        """The topics that were subscribed to by name. Threads: any."""
        return set(self._polling.topics)

    # ---- reading -------------------------------------------------------------------------------------------------------

    @hinted
    async def poll(
        self, *, max_records: int | None = None, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> Records:
        """Records, as soon as there are any.

        Asking is the sign of life that `max_poll_interval_ms` watches, and it finishes what earlier polls returned.
        After an iteration it goes on behind the record in hand.

        Args:
            max_records: At most so many; None: `max_poll_records`.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until there are records.

        Returns:
            Records: len, iteration, `values()`, `by_partition()`; empty, which is false, if the time ran out or `wakeup`
                was called.

        Raises:
            OffsetOutOfRange: The position of a partition is not in its log, or nothing is committed, and
                `auto_offset_reset` is none. Told once; the partition stands still until a seek.
            DecodeError: A batch cannot be read. Told by each poll until a seek; its `next_offset` is behind the batch.
            KafkaError: A partition was refused for good, told once; or the group was, told by each poll.
            Closed: The consumer is closed.
            ValueError: max_records is below 1.
            TypeError, ValueError: max_records or `timeout` is no such number.
            StateError: Another thread or task polls, or a listener does; or there is nothing to read, because neither
                `subscribe` nor `assign` was called.
            In each case the position has not moved, and records of other partitions come with the next poll.

        Cancellation: Nothing is lost: records that were not returned are returned by the next poll.
        Threads: One at a time.
        Protocol: Fetch (key 1); KIP-74, KIP-227; Java: KafkaConsumer.poll.
        """
        limit = self._config.max_poll_records
        if max_records is not None:
            limit = number("max_records", max_records, 1)
        records = await self._polling.poll(limit, self._limit(timeout))
        return NO_RECORDS if records is None else records

    async def _refill(self) -> Records | None:
        """The next records of an iteration; None ends it."""
        return await self._polling.next_chunk(self._config.max_poll_records)

    def wakeup(self) -> None:
        """Make the poll that waits now, or the next one, return empty `Records`; an iteration ends.

        Threads: Any, and signal handlers.
        """
        self._polling.wakeup()

    # ---- positions -----------------------------------------------------------------------------------------------------

    async def position(
        self, partition: tuple[str, int], timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> int:
        """Offset of the next record that will be handed over.

        Args:
            partition: An assigned `TopicPartition`, or a pair ("topic", 0).
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until it has a position.

        Returns:
            int: After the record in hand, while one is.

        Raises:
            Timeout: It has none yet.
            KafkaError, OffsetOutOfRange: It was refused for good, as `poll` raises it.
            StateError: It is not assigned.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was asked.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        tp = topic_partition(partition)
        position = await self._polling.position(tp, self._limit(timeout))
        if position is None:
            raise _not_assigned(tp)
        return position

    def _limit(self, timeout: TimeoutArgument) -> float:
        """Seconds that a call may wait which got this `timeout`."""
        return wait_limit(timeout, self._config.default_api_timeout_ms / 1000)

    async def seek(self, partition: tuple[str, int], offset: int | OffsetAndMetadata) -> None:
        """Go on at this offset; what was fetched for the earlier position is not handed over any more.

        Nothing is asked of the broker: whether there is such an offset shows in the next poll. What is committed does
        not change by it, but automatic commits go on from here.

        Args:
            partition: An assigned `TopicPartition`, or a pair ("topic", 0).
            offset: Of the next record, 0 or more; a number or what `committed` returned.

        Raises:
            StateError: It is not assigned; nothing was changed.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was changed.

        Cancellation: The position may have been set already.
        Threads: The polling one.
        """
        tp = topic_partition(partition)
        await self._polling.seek(tp, offset_to_read(offset))

    async def seek_to_beginning(self, *partitions: Partitions) -> None:
        """Go on at the oldest record. Arguments, errors and threads as `seek_to_timestamp`."""
        await self._seek_to_time("AsyncConsumer.seek_to_beginning", partitions, EARLIEST)

    async def seek_to_end(self, *partitions: Partitions) -> None:
        """Go on with what is written from now on; with read_committed, at the first open transaction.

        Arguments, errors and threads as `seek_to_timestamp`.
        """
        await self._seek_to_time("AsyncConsumer.seek_to_end", partitions, LATEST)

    async def seek_to_timestamp(self, timestamp_ms: int, *partitions: Partitions) -> None:
        """Go on at the first record of this time or later, else at the end.

        The leaders are asked where that is; then it is a `seek`.

        Args:
            timestamp_ms: Milliseconds since the epoch, UTC, 0 or more.
            partitions: One, several, or an iterable, of those that are assigned; no argument: all of them.

        Raises:
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was changed.
            StateError: One of them is not assigned; no position was changed.
            KafkaError: A partition was refused; no position was changed.
            Timeout: Not every leader answered within `default_api_timeout_ms`; no position was changed.

        Cancellation: Some positions may have been set already.
        Threads: The polling one.
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
        """Hand over nothing of these partitions until `resume`; they stay assigned, and keep what was fetched.

        Records that a poll has returned, or an iteration has taken, are handed over already. A partition that is given
        up forgets its pause: one that comes back with a rebalance flows again.

        Args:
            partitions: One, several, or an iterable, of those that are assigned; in `on_assigned` too.

        Raises:
            StateError: One is not assigned; none was paused.
            TypeError, ValueError: One is no partition; none was paused.

        Threads: Any.
        """
        for tp in self._assigned_among(partitions):
            self._client.flow.pause(*tp)

    def resume(self, *partitions: Partitions) -> None:
        """Hand over records of these partitions again, from where they were paused.

        Args:
            partitions: One, several, or an iterable, of those that are assigned; nothing happens to one that is not paused.

        Raises:
            StateError: One is not assigned; none was resumed.
            TypeError, ValueError: One is no partition; none was resumed.

        Threads: Any.
        """
        for tp in self._assigned_among(partitions):
            self._client.flow.resume(*tp)

    def paused(self) -> set[TopicPartition]:
        """The partitions that are paused. Threads: any."""
        return {tp for tp in self.assignment() if self._client.flow.partition_state(*tp).paused}

    def _assigned_among(self, partitions: tuple[Partitions, ...]) -> list[TopicPartition]:
        """These, all of which have to be assigned."""
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
        offsets: Mapping[Partition, int | OffsetAndMetadata] | None = None,
        timeout: TimeoutArgument = DEFAULT_TIMEOUT,
    ) -> None:
        """Commit offsets and wait until the group's coordinator has them.

        Args:
            offsets: `TopicPartition`, or a pair ("topic", 0), -> offset of the next record to read; None: everything
                handed over so far, the current record included.
            timeout: Seconds to wait. Not given or None: until the commit ends; it is retried for `default_api_timeout_ms`.

        Raises:
            CommitFailed: `.partitions` says which were not committed and why; the others are. Where `.outcome` is
                unknown no answer came, and the offsets may be committed.
            ConfigError: There is no `group_id`; nothing was committed.
            Timeout: The time ran out; the commit continues.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was committed.

        Cancellation: Ends the wait only; the commit goes on.
        Threads: Any.
        Protocol: OffsetCommit (key 8); Java: KafkaConsumer.commitSync.
        """
        limit = wait_limit(timeout, LONGEST_WAIT_S)
        await wait_async(self.commit_async(offsets), limit)

    @hinted
    def commit_async(
        self, offsets: Mapping[Partition, int | OffsetAndMetadata] | None = None
    ) -> Ticket[None]:
        """Begin a commit and return its ticket at once; arguments and errors as `commit`.

        Commits asked for while one is on its way go together in the next, so calling this for every record costs a
        few requests. A failure that nobody asks the ticket for is in the log.

        Returns:
            Ticket: `wait(timeout)` it or `await` it; `done()`, `exception()`.

        Threads: Any.
        """
        wanted = self._polling.handed_offsets() if offsets is None else offsets_to_read(offsets)
        return self._client.call("AsyncConsumer.commit", self._client.commit, wanted)

    @hinted
    async def committed(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """What the group has committed.

        Args:
            partitions: One, several, or an iterable, assigned or not; no argument: all that are assigned.
            timeout: Seconds to wait. Not given or None: until an answer or its failure; the request is retried for
                `default_api_timeout_ms`.

        Returns:
            dict: partition -> offset of the next record, leader epoch and metadata; None where nothing is committed.

        Raises:
            KafkaError: The coordinator refused.
            ConnectionLost: The coordinator could not be reached in time.
            ConfigError: There is no `group_id`.
            Timeout: `timeout` is over.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was asked.

        Cancellation: Ends the wait only.
        Threads: Any.
        Protocol: OffsetFetch (key 9).
        """
        wanted = self._these_or_all(partitions)
        limit = wait_limit(timeout, LONGEST_WAIT_S)
        committed = self._client.committed
        asked = self._client.query("AsyncConsumer.committed", committed, wanted, limit)
        return await wait_async(asked, limit + GRACE_S)

    # ---- what there is -------------------------------------------------------------------------------------------------

    async def beginning_offsets(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Offset of the oldest record of each partition.

        Args:
            partitions: One, several, or an iterable, assigned or not; no argument: an empty answer.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until every leader has answered.

        Returns:
            dict: partition -> offset.

        Raises:
            KafkaError: A partition was refused.
            Timeout: Not every leader answered in time.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was asked.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        return await self._offsets_at(
            "AsyncConsumer.beginning_offsets", partitions, EARLIEST, timeout
        )

    async def end_offsets(
        self, *partitions: Partitions, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Offset that the next record will get; with read_committed, that of the first open transaction.

        Arguments, shape, errors and threads as `beginning_offsets`.
        """
        return await self._offsets_at("AsyncConsumer.end_offsets", partitions, LATEST, timeout)

    async def _offsets_at(
        self,
        name: str,
        partitions: tuple[Partitions, ...],
        time_ms: int,
        timeout: TimeoutArgument,
    ) -> dict[TopicPartition, int]:
        wanted = dict.fromkeys(topic_partitions(partitions), time_ms)
        limit = self._limit(timeout)
        find = self._client.finder.find
        found = await wait_async(self._client.query(name, find, wanted, limit), limit + GRACE_S)
        return {tp: answer.offset for tp, answer in found.items()}

    async def offsets_for_times(
        self, times_ms: Mapping[Partition, int], timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after a time in each partition; None where there is none.

        Args:
            times_ms: `TopicPartition`, or a pair ("topic", 0), -> milliseconds since the epoch, UTC.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until every leader has answered.

        Returns:
            dict: partition -> offset, its timestamp_ms and leader epoch, or None.

        Raises:
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was asked.
            KafkaError: A partition was refused.
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
        """The partitions of a topic.

        Asking for a topic that does not exist makes it, where `allow_auto_create_topics` (the default) and the broker
        allow that.

        Args:
            topic: Name of the topic.
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until an answer or its failure.

        Returns:
            list: By number.

        Raises:
            KafkaError: There is no such topic, or it may not be seen.
            NoBrokersAvailable: No broker can be reached; one line per address. Told at the first failure, not at `timeout`.
            Timeout: `timeout` is over.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was asked.

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

    async def lag(self, timeout: TimeoutArgument = DEFAULT_TIMEOUT) -> dict[TopicPartition, int]:
        """How many offsets lie between the position of each assigned partition and its end.

        The leaders are asked for the end. A position is where the next poll goes on, so records of the last poll that
        are still in work do not count, and offsets without a record (compaction, transactions) do.

        Args:
            timeout: Seconds to wait. Not given: `default_api_timeout_ms`. None: until every leader has answered.

        Returns:
            dict: partition -> 0 or more, for partitions that have a position.

        Raises:
            TypeError, ValueError: `timeout` is no number of seconds; nothing was asked.
            KafkaError: A partition was refused.
            Timeout: Not every leader answered in time.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        positions = self._polling.positions()
        ends = await self.end_offsets(*positions, timeout=timeout)
        return {tp: max(0, ends[tp] - position) for tp, position in positions.items()}

    def statistics(self) -> ConsumerStatistics:
        """Counts since the start, and contents now: lag, rates, buffered bytes, by partition and by broker, rebalances, commits.

        The numbers of fetching are taken at one moment. The lag of a partition is that of the latest response; `lag()` asks the leaders.
        Counting costs nothing per record. `as_dict()` gives plain values for JSON.

        Returns:
            ConsumerStatistics: frozen; its fields have their units.

        Raises:
            ForkedClient: The consumer was made before a fork.

        Threads: Any.
        """
        return self._client.statistics()

    def health(self) -> ConsumerHealth:
        """Whether everything that is assigned can be read and committed; if not, the cause and the next step. And who waits for what.

        Uses what the client knows and requests nothing. `if consumer.health():` is true while all is well. A wait is no
        trouble by itself: a poll waits for records wherever nothing new was written. Once closed the state is "closed",
        without troubles. `as_dict()` gives plain values for JSON.

        Returns:
            ConsumerHealth: state "ok", "degraded" or "closed", troubles, waits, and the membership.

        Raises:
            ForkedClient: The consumer was made before a fork.

        Threads: Any.
        """
        return self._client.health(self._polling.readers())

    def listen(self, listener: Callable[[Event], object]) -> None:
        """Call `listener` with each `Event` from now on: rebalances, lost partitions, resets, commits, connections, metadata.

        `docs/reference/events.md` has every event with its fields. Listeners run on the dispatcher thread, one call after
        the other: a slow one delays other callbacks and nothing else. An exception in one is logged. Events that a slow
        listener does not receive (10 000 events waiting) are counted in `events.dropped`. Without a listener events cost
        nothing.

        Args:
            listener: A plain function that takes one `Event`; given twice, it is called twice.

        Raises:
            TypeError: It is no such function; nothing was changed.
            ForkedClient: The consumer was made before a fork.

        Threads: Any.
        """
        function("listener", listener, "(event)")
        self._client.listen(listener)

    def unlisten(self, listener: Callable[[Event], object]) -> None:
        """No longer call `listener`; one that never listened is no error.

        A call that has begun on the dispatcher thread still ends.

        Args:
            listener: As it was given to `listen`.

        Raises:
            ForkedClient: The consumer was made before a fork.

        Threads: Any.
        """
        self._client.unlisten(listener)

    # ---- the end -------------------------------------------------------------------------------------------------------

    @hinted
    async def close(self, timeout: TimeoutArgument = 30.0) -> None:
        """Finish: tell `on_revoked`, commit what is finished (with auto-commit), leave the group, disconnect.

        Records that were handed over are finished by a close, the one in hand too. Where an exception ends a `with`
        block they are not: the record in hand, or the records of the last poll, come again to whoever reads next.
        Closing again waits for the same end.
        The end of a `with` block has 30 seconds for it, or one where Ctrl-C or a
        cancellation has ended the block.

        Args:
            timeout: Seconds to commit and to leave; the session timeout ends the membership if they do not suffice.
                None: as long as it takes.

        Raises:
            TypeError, ValueError: `timeout` is no number of seconds; the consumer is as open as before.
            Exception: What `on_revoked` raised; the consumer is closed nevertheless.

        Cancellation: The consumer ends in the background; call again to wait for it.
        Threads: Any; not while another one polls (use `wakeup` first).
        """
        await self._polling.close(wait_limit(timeout, CLOSE_S), finished=True)

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
