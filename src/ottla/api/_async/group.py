"""The consumer group as the user sees it, handler style: claims in, marks out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ottla.arguments import DEFAULT_TIMEOUT, LONGEST_WAIT_S, TimeoutArgument, shown, wait_limit
from ottla.client.consumer import ConsumerClient
from ottla.client.copies import refuse_copy
from ottla.client.dropped import dropped, weakly
from ottla.client.leaving import CLOSE_S, close_timeout
from ottla.config.consumer import group_config
from ottla.consumer.arguments import offset_to_read, text, topic_names, topic_partition
from ottla.consumer.calls import ASSIGNED, LOST, Call
from ottla.consumer.handler import SessionCommits
from ottla.engine.claims import ClaimTasks
from ottla.engine.signals import stop_signals_async
from ottla.engine.twins import (
    check_callback_async,
    check_event_async,
    in_background_async,
    next_ring_async,
    notify_async,
    take_async,
    wait_async,
    watch_event_async,
)
from ottla.errors import Error, Timeout
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.log import ClientLog
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Self, Unpack

    from ottla._native import FetchFlow, Record
    from ottla.config.option_types import ConsumerOptions, Servers
    from ottla.consumer.liveness import Tokens
    from ottla.engine.bridge import Ticket


_RECORDS_AT_ONCE = 500
"""How many records a claim takes from the inbox in one go."""
_LOOK_S = 0.2
"""How often it is looked whether claims that are waited for have to hurry."""
_HANDLER_METHODS = (
    ("setup", "(session)"),
    ("consume_claim", "(session, claim)"),
    ("cleanup", "(session)"),
)
_LEAST_S = 0.5
"""What each step of an ending gets, however late it is."""


class AsyncClaim:
    """One partition of a session: its records end when the session ends.

    Made by the group, given to `consume_claim`. Threads: the one claim's own.
    """

    def __init__(self, flow: FetchFlow, partition: TopicPartition) -> None:
        self.topic = partition.topic
        """Name of the topic."""
        self.partition = partition.partition
        """Number of the partition."""
        self._flow = flow
        self._handed = 0
        self._waiting = True
        self._over = False
        self._left: Iterator[Record] = iter(())
        """What was taken and not handed over yet: a loop that was left goes on behind where it was."""

    @property
    def high_watermark(self) -> int:
        """Offset after the newest record that a fetch has shown; -1 before the first."""
        return self._flow.partition_state(self.topic, self.partition)["high_watermark"]

    async def __aiter__(self) -> AsyncIterator[Record]:
        """The partition's records in order, ending when the claim is revoked or the group stops.

        Raises:
            OffsetOutOfRange: The position is not in the log and `auto_offset_reset` is none.
            DecodeError: A batch cannot be read.
            KafkaError: The partition was refused for good.
            Unless the handler catches it, it ends the session and the group.

        Cancellation: Records that were not handed over come again to whoever has the partition next.
        """
        only = (self.topic, self.partition)
        while True:
            left = self._left
            for record in left:
                self._handed += 1
                yield record
                if self._left is not left:
                    break
            else:
                records = await self._take(only)
                if records is None:
                    self._over = True
                    return
                self._left = iter(records)

    def _drop(self) -> None:
        """Hand over nothing more of what was taken: the session ends, or the position was set anew."""
        self._left = iter(())

    async def _take(self, only: tuple[str, int]) -> Any:
        self._waiting = True
        records = await take_async(self._flow, _RECORDS_AT_ONCE, None, only)
        self._waiting = False
        return records

    def __repr__(self) -> str:
        return f"<AsyncClaim {self.topic}-{self.partition} handed={self._handed}>"


class AsyncGroupSession:
    """One generation of the group: what this member claimed, and how far it got.

    Made by the group, given to every method of the handler. Threads: any claim may call it.
    """

    def __init__(self, client: ConsumerClient, call: Call) -> None:
        self.claims: list[TopicPartition] = call.partitions
        """The partitions that this member has in this generation."""
        self.generation: int = call.generation
        """The group's generation, one more after each rebalance."""
        self.member_id: str = client.member_id
        """This member, as the coordinator calls it."""
        self.stopping = False
        """Set once the session ends: finish the record in hand and return."""
        self._client = client
        self._commits = SessionCommits(client, call.partitions)
        self._claimed: dict[TopicPartition, AsyncClaim] = {
            tp: AsyncClaim(client.flow, tp) for tp in call.partitions
        }

    def mark(self, record: Record, metadata: str = "") -> None:
        """This record and all before it in its partition are finished. Nothing is sent: `commit` does that.

        Args:
            record: One that a claim handed over. A mark that is further already stays.
            metadata: Free text that is committed with the offset.

        Raises:
            StateError: Its partition is not claimed in this session; nothing was marked.
            TypeError: It is no record; nothing was marked.

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
        self._commits.marks.forward(place, mark)

    def mark_offset(
        self, partition: tuple[str, int], offset: int | OffsetAndMetadata, metadata: str = ""
    ) -> None:
        """As `mark`, by partition and offset.

        Args:
            partition: A `TopicPartition`, or a pair ("topic", 0).
            offset: Of the next record to read: one more than that of the finished one.
            metadata: Free text that is committed with the offset.

        Raises:
            StateError: The partition is not claimed in this session; nothing was marked.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was marked.

        Threads: Any.
        """
        tp = topic_partition(partition)
        self._commits.marks.forward(tp, offset_to_read(offset, "offset", metadata))

    async def reset_offset(
        self, partition: tuple[str, int], offset: int | OffsetAndMetadata, metadata: str = ""
    ) -> None:
        """Put the mark back (or forward) to this offset, and hand over the records from there again.

        Records that the claim has taken already and not handed over are dropped. Call it from the claim's own loop: in another
        thread it could finish one more record meanwhile, which would move the mark on.

        Args:
            partition: A `TopicPartition`, or a pair ("topic", 0).
            offset: Of the next record to read.
            metadata: Free text that is committed with the offset.

        Raises:
            StateError: The partition is not claimed in this session; nothing was changed.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was changed.

        Cancellation: The mark is set; the position may be.
        Threads: Any.
        """
        tp, target = topic_partition(partition), offset_to_read(offset, "offset", metadata)
        self._commits.marks.back(tp, target)
        seek = self._client.cursors.seek
        await wait_async(self._client.call("AsyncGroupSession.reset_offset", seek, tp, target))
        self._claimed[tp]._drop()

    async def commit(self, timeout: TimeoutArgument = DEFAULT_TIMEOUT) -> None:
        """Commit everything that is marked and wait until the coordinator has it.

        Args:
            timeout: Seconds to wait. Not given or None: until the commit ends; it is retried for `default_api_timeout_ms`.

        Raises:
            CommitFailed: `.partitions` says which were not committed and why; the others are. Where `.outcome` is
                unknown no answer came, and the offsets may be committed.
            Timeout: The time ran out; the commit continues.
            StateError: The session has ended: its partitions may belong to another member.
            TypeError, ValueError: `timeout` is no number of seconds; nothing was committed.

        Cancellation: Ends the wait only; the commit goes on.
        Threads: Any.
        Protocol: OffsetCommit (key 8), with the member's generation.
        """
        limit = wait_limit(timeout, LONGEST_WAIT_S)
        await wait_async(self.commit_async(), limit)

    def commit_async(self) -> Ticket[None]:
        """Begin to commit what is marked.

        Calls made while a commit is on its way share the next one, so calling this for every record costs a few
        requests. The session does not end before the last one has, so nothing marked is lost.

        Returns:
            Ticket: `wait(timeout)` it or `await` it, with the errors of `commit`; one that fails and that nobody asks is
            in the log.

        Threads: Any.
        """
        return self._commits.commit_soon()

    def __repr__(self) -> str:
        return f"<AsyncGroupSession generation={self.generation} claims={len(self.claims)} stopping={self.stopping}>"


class AsyncConsumerGroupHandler:
    """What to do with the claims; override what is needed. The order is setup, consume_claim for each claim, cleanup.

    One object serves all sessions of a group, one after the other, and all claims of a session at once.
    """

    async def setup(self, session: AsyncGroupSession) -> None:
        """The session begins; no claim runs yet. Raising ends the session and the group."""

    async def consume_claim(self, session: AsyncGroupSession, claim: AsyncClaim) -> None:
        """Work through one claim, in a thread (or task) of its own: `for record in claim` ends with the session.

        Raising ends the session and the group: `run` and `consume` raise it after cleanup and the final commit.
        Returning before the session ends leaves the rest of the partition unread until the next session.
        """
        async for record in claim:
            session.mark(record)

    async def cleanup(self, session: AsyncGroupSession) -> None:
        """Every claim has returned, or was left behind because it did not; what is marked is committed after this."""


class AsyncConsumerGroup:
    """Consumes topics as a member of a group, each claimed partition in a thread (or task) of its own.

    Args:
        bootstrap_servers: "host:port", several with commas or as a list; one that can be reached is enough. Or a mapping
            of options, as in `{"bootstrap.servers": "localhost:9092", "group.id": "g"}`.
        group_id: Name of the group. Also taken as a keyword.
        config: Options of consumers by Kafka's names, with underscores; see the configuration reference. With `enable_auto_commit=False` nothing is committed but by `commit`, `commit_async`
            and at the end of each session, which commits everything marked.

    Raises:
        ConfigError: Every problem of the configuration at once; nothing was started.

    Dropped without `close` it warns (`ResourceWarning`) and is closed in the background; while `run` or `consume` is
    under way it is not dropped.

    Threads: One call of `run` or `consume` at a time; `stop` from any thread and from signal handlers. On the client's own
    engine thread, where handlers of its log run, nothing waits: what would raises RuntimeError.
    """

    def __init__(
        self,
        bootstrap_servers: Servers | None = None,
        group_id: str | None = None,
        /,
        **config: Unpack[ConsumerOptions],
    ) -> None:
        parsed = group_config(bootstrap_servers, config, group_id)
        self._config = parsed
        self._log = ClientLog("group", parsed.who)
        self._client = ConsumerClient(parsed)
        self._client.autocommit.finished = weakly(self, AsyncConsumerGroup._finished, {})
        self._client.application.attention = weakly(self, AsyncConsumerGroup._attention, {})
        self._session: AsyncGroupSession | None = None
        self._claims: list[AsyncClaim] = []
        self._stop = False
        self._deadline: float | None = None
        """Until when ending may take; set when it begins."""
        self._closed = False

    async def run(
        self,
        topics: Iterable[str],
        handler: AsyncConsumerGroupHandler,
        timeout: TimeoutArgument = 30.0,
    ) -> None:
        """Consume through all rebalances until `stop()`, SIGINT or SIGTERM; then commit, leave and close.

        Args:
            topics: Names.
            handler: What to do with the claims.
            timeout: Seconds that ending may take. None: as long as it takes.

        Raises:
            Exception: What the handler raised, after cleanup and the final commit.
            CommitFailed: Ending, what is marked could not be committed: it is handed over again to whoever reads next.
            KafkaError: The group refused this member for good.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was begun.
            RuntimeError: Not the main thread, so no signal can be handled.

        Cancellation: Ends the session as `stop` does.
        Threads: The main thread.
        """
        names, limit = self._checked(topics, handler, None, timeout)
        with stop_signals_async(self.stop):
            try:
                await self.consume(names, handler, timeout=limit)
            finally:
                await self.close(self._left(limit))

    async def consume(
        self,
        topics: Iterable[str],
        handler: AsyncConsumerGroupHandler,
        stop: Any = None,
        timeout: TimeoutArgument = 30.0,
    ) -> None:
        """As `run`, without touching signals and without closing: may be called again, from any thread.

        Args:
            topics: Names.
            handler: What to do with the claims.
            stop: An event (of this world: threading's or asyncio's) that ends it when set.
            timeout: Seconds that ending may take. None: as long as it takes.

        Raises:
            Exception: What the handler raised, after cleanup and the final commit.
            CommitFailed: Ending, what is marked could not be committed.
            KafkaError: The group refused this member for good.
            TypeError, ValueError: An argument cannot be, and the text names it; nothing was begun.

        Cancellation: Ends the session as `stop` does.
        Threads: Any, one call at a time.
        Protocol: JoinGroup (key 11), SyncGroup (key 14), Heartbeat (key 12); KIP-62, KIP-345; sarama: ConsumerGroup.
        """
        names, limit = self._checked(topics, handler, stop, timeout)
        self._stop = False
        self._deadline = None
        over = False
        if stop is not None:
            in_background_async(watch_event_async, stop, self.stop, lambda: over)
        try:
            subscribe = self._client.subscribe
            await wait_async(
                self._client.call("AsyncConsumerGroup.consume", subscribe, names, None)
            )
            while (call := await self._next_call()) is not None:
                if call.kind == ASSIGNED:
                    await self._run_session(handler, call, limit)
                else:
                    call.served()
        finally:
            over = True
            try:
                left = self._client.call("AsyncConsumerGroup.consume", self._client.unsubscribe)
                await wait_async(left, self._left(limit))
            except Timeout:
                self._log.warning(
                    "the group could not be left in time; its session timeout ends it"
                )

    def _checked(
        self, topics: Any, handler: Any, stop: Any, timeout: TimeoutArgument
    ) -> tuple[list[str], float]:
        """The names of the topics, and how many seconds ending may take; what cannot be is refused."""
        names = topic_names(topics)
        if not names:
            raise ValueError("topics is empty; it must have the name of a topic")
        if isinstance(handler, type):
            raise TypeError(f"handler must be an object, not {shown(handler)}: make one of it")
        for name, form in _HANDLER_METHODS:
            check_callback_async(f"handler.{name}", getattr(handler, name, None), form)
        if stop is not None:
            check_event_async("stop", stop)
        return names, self._limit(timeout)

    def _limit(self, timeout: TimeoutArgument) -> float:
        """Seconds that a call may wait which got this `timeout`."""
        return wait_limit(timeout, CLOSE_S)

    def stop(self) -> None:
        """End `run` or `consume`: claims end, cleanup runs, what is marked is committed. Threads: any, and signal handlers."""
        self._stop = True
        self._client.application.calls.ring()

    def _left(self, timeout: float) -> float:
        """How many of the seconds that ending may take are left."""
        now = monotonic()
        if self._deadline is None:
            self._deadline = now + timeout
        return max(_LEAST_S, self._deadline - now)

    async def _next_call(self) -> Call | None:
        """What the group decided next; None when it is time to end."""
        while not self._stop:
            self._client.enter()
            call = self._client.application.calls.take()
            if call is not None:
                return call
            await next_ring_async(self._client.application.calls)
        return None

    async def _run_session(
        self, handler: AsyncConsumerGroupHandler, assigned: Call, timeout: float
    ) -> None:
        """One session, from setup to the final commit; raises what the handler raised."""
        session = AsyncGroupSession(self._client, assigned)
        assigned.served()
        tasks = ClaimTasks(self._client.application.calls.ring, self._log)
        self._session = session
        ending: Call | None = None
        try:
            await notify_async(handler.setup, session)
            self._claims = list(session._claimed.values())
            for claim in self._claims:
                name = f"claim {claim.topic}-{claim.partition}"
                tasks.start(name, self._work, handler, session, claim)
            ending = await self._until_end(tasks)
        finally:
            problem = await self._end_session(handler, session, tasks, ending, timeout)
        if problem is not None and ending is None:
            raise problem

    async def _work(
        self, handler: AsyncConsumerGroupHandler, session: AsyncGroupSession, claim: AsyncClaim
    ) -> None:
        try:
            await notify_async(handler.consume_claim, session, claim)
        finally:
            claim._waiting = True  # nobody is stuck in it any more
        if not (session.stopping or claim._over):
            self._log.warning("%r: the handler returned before the session's end", claim)

    async def _until_end(self, tasks: ClaimTasks) -> Call | None:
        """What ends the session: a revocation, a loss, or None for a stop or a failed claim."""
        while not self._stop and tasks.failure is None:
            self._client.enter()
            call = self._client.application.calls.take()
            if call is not None:
                return call
            await next_ring_async(self._client.application.calls)
        return None

    async def _end_session(
        self,
        handler: AsyncConsumerGroupHandler,
        session: AsyncGroupSession,
        tasks: ClaimTasks,
        ending: Call | None,
        timeout: float,
    ) -> Error | None:
        """Claims end, cleanup, final commit; whatever fails on the way, the rest still happens.

        Returns why the final commit failed; raises what a claim raised, else what cleanup did.
        """
        session.stopping = True
        for claim in session._claimed.values():
            self._client.flow.end(claim.topic, claim.partition)
            claim._drop()
        await self._join(tasks, ending, timeout)
        problem: Error | None = None
        try:
            await notify_async(handler.cleanup, session)
        except Exception as error:
            if tasks.failure is None:
                raise
            self._log.error("cleanup failed too: %s", error, exc_info=error)
        finally:
            self._claims = []
            if ending is not None and ending.kind == LOST:
                session._commits.end()
            else:
                problem = await self._commit_last(session, None if ending else self._left(timeout))
            self._session = None
            if ending is not None:
                ending.served()
        if tasks.failure is not None:
            raise tasks.failure
        return problem

    async def _join(self, tasks: ClaimTasks, ending: Call | None, timeout: float) -> None:
        """Wait for the claims: in a rebalance as long as the group does, or until `stop` makes it hurry."""
        until = monotonic() + self._config.max_poll_interval_ms / 1000
        while alive := await tasks.join(_LOOK_S):
            now = monotonic()
            if now >= until or ((ending is None or self._stop) and self._left(timeout) <= _LEAST_S):
                tasks.abandon()
                self._log.error("did not end in time and is left behind: %s", ", ".join(alive))
                return

    async def _commit_last(self, session: AsyncGroupSession, timeout: float | None) -> Error | None:
        try:
            last = session._commits.commit_last
            asked = self._client.call("AsyncGroupSession: the last commit", last)
            problem = await wait_async(asked, timeout)
        except Timeout as error:
            problem = error
        if problem is not None:
            self._log.error(
                "the final commit of generation %d failed: %s", session.generation, problem
            )
        return problem

    def _finished(self) -> dict[TopicPartition, OffsetAndMetadata]:
        session = self._session
        return {} if session is None else session._commits.marks.dirty()

    def _attention(self) -> Tokens:
        return {
            (claim.topic, claim.partition): None if claim._waiting else claim._handed
            for claim in list(self._claims)
        }

    async def close(self, timeout: TimeoutArgument = 30.0) -> None:
        """Leave the group and disconnect; closing again does nothing.

        Args:
            timeout: Seconds to commit and to leave; the session timeout ends the membership if they do not suffice.
                None: as long as it takes.

        Raises:
            TypeError, ValueError: `timeout` is no number of seconds; the group is as open as before.

        Cancellation: Ends the wait only.
        Threads: Any; not while `consume` runs (use `stop` first).
        """
        limit = self._limit(timeout)
        if self._closed:
            return
        self._closed = True
        self._stop = True
        await wait_async(self._client.shut_down(limit))

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
        self._client.drop()

    def __repr__(self) -> str:
        return f"<AsyncConsumerGroup {self._config.group_id!r} {self._session!r}>"


__all__ = ["AsyncClaim", "AsyncConsumerGroup", "AsyncConsumerGroupHandler", "AsyncGroupSession"]
