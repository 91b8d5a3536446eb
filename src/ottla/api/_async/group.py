"""The public consumer group: a handler gets claims and marks records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic

from ottla.api.views import ConsumerViews
from ottla.arguments import (
    DEFAULT_TIMEOUT,
    LONGEST_WAIT_S,
    TimeoutArgument,
    shown,
    wait_limit,
)
from ottla.client._async.sessions import AsyncSessionRunner, check_consume
from ottla.client.consumer import ConsumerClient
from ottla.client.copies import refuse_copy
from ottla.client.dropped import dropped
from ottla.client.hints import hinted
from ottla.client.leaving import CLOSE_S, close_timeout
from ottla.config.consumer import group_config
from ottla.consumer.arguments import offset_to_read, text, topic_partition, with_deserializers
from ottla.consumer.hand_over import make_hand_over
from ottla.consumer.handler import ClaimState, SessionState
from ottla.consumer.iteration import K, V
from ottla.engine.signals import stop_signals_async
from ottla.engine.twins import (
    AsyncEvent,
    take_async,
    wait_async,
)
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Self, Unpack

    from ottla._native import FetchFlow, Record, Records
    from ottla.config.option_types import ConsumerOptions, Servers
    from ottla.consumer.hand_over import HandOver
    from ottla.engine.bridge import Ticket


_RECORDS_AT_ONCE = 500
"""Maximum number of records that a claim takes from the inbox at once."""


class AsyncClaim(Generic[K, V]):
    """One partition of a session: its records end when the session ends.

    The group creates it and passes it to `consume_claim`. Threads: that of the claim.
    """

    def __init__(
        self, flow: FetchFlow, state: ClaimState, hand_over: HandOver | None = None
    ) -> None:
        self.topic = state.tp.topic
        """Name of the topic."""
        self.partition = state.tp.partition
        """Number of the partition."""
        self._flow = flow
        self._state = state
        self._hand_over = hand_over

    @property
    def high_watermark(self) -> int:
        """Offset after the newest record of the latest fetch response; -1 before the first."""
        return self._flow.partition_state(self.topic, self.partition).high_watermark

    async def __aiter__(self) -> AsyncIterator[Record[K, V]]:
        """Iterate over the records of the partition in order, until the claim is revoked or the group stops.

        Raises:
            OffsetOutOfRange: The position is not in the log and `auto_offset_reset` is none.
            DecodeError: A batch is malformed.
            DeserializationError: A deserializer raised for the next record. The position stays there: another iteration raises the
                error again, unless `session.reset_offset` to its `next_offset` skips the record.
            KafkaError: The broker refused the partition for good.
            An exception that the handler does not catch ends the session and the group.

        Cancellation: The next owner of the partition gets the records that were not handed over.
        """
        state = self._state
        while True:
            left = state.left
            for record in left:
                state.handed += 1
                yield record
                if state.left is not left:
                    break
            else:
                if state.is_over:
                    state.ended = True
                    return
                if self._hand_over is not None:
                    self._hand_over.raise_failure(state.tp)
                state.waiting_since = monotonic()
                state.waiting = True
                records: Records[Any, Any] | None = await take_async(
                    self._flow, _RECORDS_AT_ONCE, None, state.tp
                )
                state.waiting = False
                if records is None or state.is_over:
                    state.ended = True
                    return
                if self._hand_over is not None:
                    records = self._hand_over.prepare(records, state.tp)
                state.receive(records)

    def __repr__(self) -> str:
        return f"<AsyncClaim {self._state.tp} handed={self._state.handed}>"


class AsyncGroupSession:
    """One generation of the group: the claims of this member, and its progress.

    The group creates it and passes it to every method of the handler. Threads: any claim may call it.
    """

    def __init__(self, client: ConsumerClient, state: SessionState) -> None:
        self.claims: list[TopicPartition] = list(state.claims)
        """The partitions that this member has in this generation."""
        self.generation: int = state.generation
        """The group's generation, one more after each rebalance."""
        self.member_id: str = client.member_id
        """The id that the coordinator gave this member."""
        self._client = client
        self._state = state

    @property
    def stopping(self) -> bool:
        """Whether the session is ending: finish the current record and return."""
        return self._state.stopping

    def mark(self, record: Record[Any, Any], metadata: str = "") -> None:
        """Mark this record, and all before it in its partition, as finished. Only a commit sends the mark.

        Args:
            record: A record that a claim handed over. It does not move a mark back.
            metadata: Free text that is committed with the offset.

        Raises:
            StateError: Its partition is not claimed in this session; nothing was marked.
            TypeError: The argument is no record; nothing was marked.

        Threads: Any.
        """
        try:
            place = (record.topic, record.partition)
            mark = OffsetAndMetadata(
                record.offset + 1, record.leader_epoch, text("metadata", metadata)
            )
        except AttributeError:
            raise TypeError(
                f"record must be a Record that a claim handed over, not {shown(record)}"
            ) from None
        self._state.commits.marks.advance(place, mark)

    def mark_offset(
        self, partition: tuple[str, int], offset: int | OffsetAndMetadata, metadata: str = ""
    ) -> None:
        """Mark all records before this offset as finished, as `mark` does.

        Args:
            partition: A `TopicPartition`, or a pair ("topic", 0).
            offset: Offset of the next record to read: one more than that of the finished record.
            metadata: Free text that is committed with the offset.

        Raises:
            StateError: The partition is not claimed in this session; nothing was marked.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was marked.

        Threads: Any.
        """
        tp = topic_partition(partition)
        self._state.commits.marks.advance(tp, offset_to_read(offset, "offset", metadata))

    async def reset_offset(
        self, partition: tuple[str, int], offset: int | OffsetAndMetadata, metadata: str = ""
    ) -> None:
        """Move the mark back (or forward) to this offset, and hand over the records from there again.

        Records that the claim has taken and not handed over are dropped. Call it from the loop of the claim: from another thread
        the claim could mark one more record in between, which would move the mark forward.

        Args:
            partition: A `TopicPartition`, or a pair ("topic", 0).
            offset: Offset of the next record to read.
            metadata: Free text that is committed with the offset.

        Raises:
            StateError: The partition is not claimed in this session; nothing was changed.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was changed.

        Cancellation: The mark is moved; the position may be.
        Threads: Any.
        """
        tp, target = topic_partition(partition), offset_to_read(offset, "offset", metadata)
        self._state.commits.marks.rewind(tp, target)
        seek = self._client.cursors.seek
        await wait_async(self._client.call("AsyncGroupSession.reset_offset", seek, tp, target))
        self._state.claims[tp].drop()

    async def commit(self, timeout: TimeoutArgument = DEFAULT_TIMEOUT) -> None:
        """Commit all marks and wait for the answer of the coordinator.

        Args:
            timeout: Seconds to wait. Not given or None: until the commit ends; it is retried for `default_api_timeout_ms`.

        Raises:
            CommitFailed: `.partitions` has the partitions that were not committed, with the reasons; the others are
                committed. If `.outcome` is unknown there was no answer, and the offsets may be committed.
            Timeout: The time ran out; the commit continues.
            StateError: The session has ended: its partitions may belong to another member.
            TypeError, ValueError: `timeout` is no number of seconds; nothing was committed.

        Cancellation: Ends the wait only; the commit continues.
        Threads: Any.
        Protocol: OffsetCommit (key 8), with the member's generation.
        """
        limit = wait_limit(timeout, LONGEST_WAIT_S)
        await wait_async(self.commit_async(), limit)

    def commit_async(self) -> Ticket[None]:
        """Begin to commit all marks.

        Calls that are made while a commit is in flight share the next request, so a call for every record costs few requests.
        The session ends after the last commit, so no mark is lost.

        Returns:
            Ticket: `wait(timeout)` it or `await` it, with the errors of `commit`; a failure that is not read is logged.

        Threads: Any.
        """
        return self._state.commits.commit_soon()

    def __repr__(self) -> str:
        return f"<AsyncGroupSession generation={self.generation} claims={len(self.claims)} stopping={self.stopping}>"


class AsyncConsumerGroupHandler:
    """Base class of handlers: override the methods you need. The order is setup, consume_claim for each claim, cleanup.

    One object serves all sessions of a group, one after the other, and all claims of a session at once.
    """

    async def setup(self, session: AsyncGroupSession) -> None:
        """Called when the session begins, before any claim runs. An exception ends the session and the group."""

    async def consume_claim(self, session: AsyncGroupSession, claim: AsyncClaim[Any, Any]) -> None:
        """Process one claim, in a thread (or task) of its own: `for record in claim` ends with the session.

        A handler must have its own: `run` and `consume` refuse one without. Finish the current record soon after the claim has ended
        (`session.stopping`): a claim that does not return is named in the log after 3 seconds.

        An exception ends the session and the group: `run` and `consume` raise it after cleanup and the final commit. If the
        method returns before the session ends, the rest of the partition is not read until the next session.
        """
        raise NotImplementedError("a handler needs a consume_claim of its own")

    async def cleanup(self, session: AsyncGroupSession) -> None:
        """Called when every claim has returned or its time ran out; the marks are committed afterwards."""


class AsyncConsumerGroup(ConsumerViews):
    """Consumes topics as a member of a group, each claimed partition in a thread (or task) of its own.

    Args:
        bootstrap_servers: "host:port", several with commas or as a list; one that can be reached is enough. Or a mapping
            of options, as in `{"bootstrap.servers": "localhost:9092", "group.id": "g"}`.
        group_id: Name of the group. Also taken as a keyword.
        key_deserializer: Function of the bytes of a key; its result is `Record.key`. Not called for None, which stays None.
        value_deserializer: The same for values. Both run in the claim's thread (or task), once per record.
        config: Options of consumers by Kafka's names, with underscores; see the configuration reference. With
            `enable_auto_commit=False` offsets are committed only by `commit`, by `commit_async` and at the end of each
            session, which commits everything marked.

    Raises:
        ConfigError: Every problem of the configuration at once; nothing was started.

    A group that is dropped without `close` warns (`ResourceWarning`) and is closed in the background; it is not dropped while
    `run` or `consume` runs.

    Threads: One call of `run` or `consume` at a time; `stop` from any thread and from signal handlers. On the engine thread of
    the client, where handlers of its log run, a call that would wait raises RuntimeError.
    """

    def __init__(
        self,
        bootstrap_servers: Servers | None = None,
        group_id: str | None = None,
        /,
        *,
        key_deserializer: Callable[[bytes], Any] | None = None,
        value_deserializer: Callable[[bytes], Any] | None = None,
        **config: Unpack[ConsumerOptions],
    ) -> None:
        options = with_deserializers(config, key_deserializer, value_deserializer)
        parsed = group_config(bootstrap_servers, options, group_id)
        self._config = parsed
        self._client = client = ConsumerClient(parsed)
        hand_over = make_hand_over(client.flow, parsed, client.interceptors, client.skipped)
        self._callbacks = client.callbacks.give_to_owner()
        self._runner = AsyncSessionRunner(
            client,
            lambda state: AsyncGroupSession(client, state),
            lambda state: AsyncClaim(client.flow, state, hand_over),
        )

    @hinted
    async def run(
        self,
        topics: Iterable[str],
        handler: AsyncConsumerGroupHandler,
        timeout: TimeoutArgument = 25.0,
    ) -> None:
        """Consume through all rebalances until `stop()`, SIGINT or SIGTERM; then commit, leave and close.

        Args:
            topics: Names of topics.
            handler: Processes the claims.
            timeout: Seconds that ending may take; the default is below the 30 s between SIGTERM and SIGKILL of Kubernetes. None: as
                long as it takes.

        Raises:
            Exception: An exception of the handler, after cleanup and the final commit.
            CommitFailed: The final commit failed: the next reader gets the marked records again.
            Timeout: Claims did not return in time and were abandoned; everything marked is committed, and the group is left.
            KafkaError: The coordinator refused this member for good.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was started.
            RuntimeError: The call is not on the main thread, which alone can handle signals.

        Cancellation: Ends the session as `stop` does.
        Threads: The main thread.
        """
        names, limit = (
            check_consume(topics, handler, None, AsyncConsumerGroupHandler),
            wait_limit(timeout, CLOSE_S),
        )
        with stop_signals_async(self.stop):
            try:
                await self.consume(names, handler, timeout=limit)
            finally:
                await self.close(self._runner.left(limit))

    @hinted
    async def consume(
        self,
        topics: Iterable[str],
        handler: AsyncConsumerGroupHandler,
        stop: AsyncEvent | None = None,
        timeout: TimeoutArgument = 25.0,
    ) -> None:
        """Consume as `run` does, but without signal handlers and without a close: any thread may call it, and again.

        Args:
            topics: Names of topics.
            handler: Processes the claims.
            stop: Event that ends the call when it is set.
            timeout: Seconds that ending may take; the default is below the 30 s between SIGTERM and SIGKILL of Kubernetes. None: as
                long as it takes.

        Raises:
            Exception: An exception of the handler, after cleanup and the final commit.
            CommitFailed: The final commit failed: the next reader gets the marked records again.
            Timeout: Claims did not return in time and were abandoned; everything marked is committed, and the group is left.
            KafkaError: The coordinator refused this member for good.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was started.

        Cancellation: Ends the session as `stop` does.
        Threads: Any, one call at a time.
        Protocol: JoinGroup (key 11), SyncGroup (key 14), Heartbeat (key 12); KIP-62, KIP-345; sarama: ConsumerGroup.
        """
        names, limit = (
            check_consume(topics, handler, stop, AsyncConsumerGroupHandler),
            wait_limit(timeout, CLOSE_S),
        )
        await self._runner.consume(names, handler, stop, limit)

    def stop(self) -> None:
        """End `run` or `consume`: claims end, cleanup runs, the marks are committed. Threads: any, and signal handlers."""
        self._runner.stop()

    def _readers(self) -> Mapping[str, float]:
        return self._runner.readers()

    @hinted
    async def close(self, timeout: TimeoutArgument = 25.0) -> None:
        """Leave the group and disconnect; a second close does nothing.

        Args:
            timeout: Seconds to commit and to leave; the session timeout ends the membership if they do not suffice.
                None: as long as it takes.

        Raises:
            TypeError, ValueError: `timeout` is no number of seconds; the group is as open as before.

        Cancellation: Ends the wait only.
        Threads: Any; not while `consume` runs (use `stop` first).
        """
        await self._runner.close(wait_limit(timeout, CLOSE_S))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close(close_timeout(error))

    def __reduce__(self) -> NoReturn:
        refuse_copy(self)

    def __del__(self, _dropped: Callable[..., None] = dropped) -> None:
        _dropped(self, self._hand_over)

    def _hand_over(self) -> None:
        self._client.drop(self._callbacks)

    def __repr__(self) -> str:
        session: AsyncGroupSession | None = self._runner.session
        state = self._client.unusable or (
            "no session"
            if session is None
            else f"generation={session.generation} claims={len(session.claims)}"
        )
        return f"<AsyncConsumerGroup {self._config.group_id!r} {state}>"


__all__ = ["AsyncClaim", "AsyncConsumerGroup", "AsyncConsumerGroupHandler", "AsyncGroupSession"]
