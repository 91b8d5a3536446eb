"""The consumer group as the user sees it, handler style: claims in, marks out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ottla.client.consumer import ConsumerClient
from ottla.config import consumer_config
from ottla.consumer.calls import ASSIGNED, LOST, Call
from ottla.consumer.handler import SessionCommits
from ottla.engine.claims import ClaimTasks
from ottla.engine.signals import stop_signals_async
from ottla.engine.twins import (
    in_background_async,
    next_ring_async,
    notify_async,
    take_async,
    wait_async,
    watch_event_async,
)
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.log import logger

if TYPE_CHECKING:
    from typing import Self

    from ottla._native import FetchFlow, Record
    from ottla.consumer.liveness import Tokens
    from ottla.engine.bridge import Ticket

_log = logger("group")

_RECORDS_AT_ONCE = 500
"""How many records a claim takes from the inbox in one go."""


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
        while (records := await self._take(only)) is not None:
            for record in records:
                self._handed += 1
                yield record

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

    def mark(self, record: Record, metadata: str = "") -> None:
        """This record and all before it in its partition are finished. Nothing is sent: `commit` does that.

        Args:
            record: One that a claim handed over. A mark that is further already stays.
            metadata: Free text that is committed with the offset.

        Raises:
            Error: Its partition is not claimed in this session; nothing was marked.

        Threads: Any.
        """
        self._commits.marks.forward(
            (record.topic, record.partition),
            OffsetAndMetadata(record.offset + 1, record.leader_epoch, metadata),
        )

    def mark_offset(self, topic: str, partition: int, offset: int, metadata: str = "") -> None:
        """As `mark`, by place.

        Args:
            topic: Name of the topic.
            partition: Number of the partition.
            offset: Of the next record to read: one more than that of the finished one.
            metadata: Free text that is committed with the offset.

        Raises:
            Error: The partition is not claimed in this session; nothing was marked.

        Threads: Any.
        """
        self._commits.marks.forward((topic, partition), OffsetAndMetadata(offset, -1, metadata))

    async def reset(self, topic: str, partition: int, offset: int, metadata: str = "") -> None:
        """Put the mark back (or forward) to this offset, and hand over the records from there again.

        Records that the claim has taken already (500 at most) are handed over first.

        Args:
            topic: Name of the topic.
            partition: Number of the partition.
            offset: Of the next record to read.
            metadata: Free text that is committed with the offset.

        Raises:
            Error: The partition is not claimed in this session; nothing was changed.

        Cancellation: The mark is set; the position may be.
        Threads: Any.
        """
        target = OffsetAndMetadata(offset, -1, metadata)
        self._commits.marks.back((topic, partition), target)
        await wait_async(
            self._client.call(self._client.cursors.seek, TopicPartition(topic, partition), target)
        )

    async def commit(self, timeout: float | None = None) -> None:
        """Commit everything that is marked and wait until the coordinator has it.

        Args:
            timeout: Seconds to wait; None: until the commit ends, which `default_api_timeout_ms` bounds.

        Raises:
            CommitFailed: `.partitions` says which were not committed and why; the others are. Where `.outcome` is
                unknown no answer came, and the offsets may be committed.
            Timeout: `timeout` is over; the commit goes on.

        Cancellation: Ends the wait only; the commit goes on.
        Threads: Any.
        Protocol: OffsetCommit (key 8), with the member's generation.
        """
        await wait_async(self.commit_async(), timeout)

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
        """
        async for record in claim:
            session.mark(record)

    async def cleanup(self, session: AsyncGroupSession) -> None:
        """Every claim has returned, or was left behind because it did not; what is marked is committed after this."""


class AsyncConsumerGroup:
    """Consumes topics as a member of a group, each claimed partition in a thread (or task) of its own.

    Args:
        bootstrap_servers: "host:port", several with commas or as a list.
        group_id: Name of the group.
        config: Consumer options. With `enable_auto_commit=False` nothing is committed but by `commit`, `commit_async`
            and at the end of each session, which commits everything marked.

    Raises:
        ConfigError: Every problem of the configuration at once; nothing was started.

    Threads: One call of `run` or `consume` at a time; `stop` from any thread and from signal handlers.
    """

    def __init__(
        self, bootstrap_servers: str | list[str] | None, group_id: str, **config: Any
    ) -> None:
        parsed = consumer_config(bootstrap_servers, {**config, "group_id": group_id})
        self._config = parsed
        self._client = ConsumerClient(parsed)
        self._client.finished = self._finished
        self._client.attention = self._attention
        self._session: AsyncGroupSession | None = None
        self._claims: list[AsyncClaim] = []
        self._stop = False
        self._closed = False

    async def run(
        self, topics: Iterable[str], handler: AsyncConsumerGroupHandler, timeout: float = 30.0
    ) -> None:
        """Consume through all rebalances until `stop()`, SIGINT or SIGTERM; then commit, leave and close.

        Args:
            topics: Names.
            handler: What to do with the claims.
            timeout: Seconds that ending may take.

        Raises:
            Exception: What the handler raised, after cleanup and the final commit.
            KafkaError: The group refused this member for good.
            RuntimeError: Not the main thread, so no signal can be handled.

        Cancellation: Ends the session as `stop` does.
        Threads: The main thread.
        """
        with stop_signals_async(self.stop):
            try:
                await self.consume(topics, handler, timeout=timeout)
            finally:
                await self.close(timeout)

    async def consume(
        self,
        topics: Iterable[str],
        handler: AsyncConsumerGroupHandler,
        stop: Any = None,
        timeout: float = 30.0,
    ) -> None:
        """As `run`, without touching signals and without closing: may be called again, from any thread.

        Args:
            topics: Names.
            handler: What to do with the claims.
            stop: An event (of this world: threading's or asyncio's) that ends it when set.
            timeout: Seconds that ending may take.

        Raises:
            Exception: What the handler raised, after cleanup and the final commit.
            KafkaError: The group refused this member for good.

        Cancellation: Ends the session as `stop` does.
        Threads: Any, one call at a time.
        Protocol: JoinGroup (key 11), SyncGroup (key 14), Heartbeat (key 12); KIP-62, KIP-345; sarama: ConsumerGroup.
        """
        self._stop = False
        over = False
        if stop is not None:
            in_background_async(watch_event_async, stop, self.stop, lambda: over)
        await wait_async(self._client.call(self._client.subscribe, list(topics), None))
        try:
            while (call := await self._next_call()) is not None:
                if call.kind == ASSIGNED:
                    await self._run_session(handler, call, timeout)
                else:
                    call.served()
        finally:
            over = True
            await wait_async(self._client.call(self._client.unsubscribe), timeout)

    def stop(self) -> None:
        """End `run` or `consume`: claims end, cleanup runs, what is marked is committed. Threads: any, and signal handlers."""
        self._stop = True
        self._client.calls.ring()

    async def _next_call(self) -> Call | None:
        """What the group decided next; None when it is time to end."""
        while not self._stop:
            self._client.enter()
            call = self._client.calls.take()
            if call is not None:
                return call
            await next_ring_async(self._client.calls)
        return None

    async def _run_session(
        self, handler: AsyncConsumerGroupHandler, assigned: Call, timeout: float
    ) -> None:
        """One session, from setup to the final commit; raises what the handler raised."""
        session = AsyncGroupSession(self._client, assigned)
        assigned.served()
        tasks = ClaimTasks(self._client.calls.ring)
        self._session = session
        ending: Call | None = None
        try:
            await notify_async(handler.setup, session)
            self._claims = [AsyncClaim(self._client.flow, tp) for tp in session.claims]
            for claim in self._claims:
                tasks.start(
                    f"claim {claim.topic}-{claim.partition}", handler.consume_claim, session, claim
                )
            ending = await self._until_end(tasks)
        finally:
            await self._end_session(handler, session, tasks, ending, timeout)
        if tasks.failure is not None:
            raise tasks.failure

    async def _until_end(self, tasks: ClaimTasks) -> Call | None:
        """What ends the session: a revocation, a loss, or None for a stop or a failed claim."""
        while not self._stop and tasks.failure is None:
            self._client.enter()
            call = self._client.calls.take()
            if call is not None:
                return call
            await next_ring_async(self._client.calls)
        return None

    async def _end_session(
        self,
        handler: AsyncConsumerGroupHandler,
        session: AsyncGroupSession,
        tasks: ClaimTasks,
        ending: Call | None,
        timeout: float,
    ) -> None:
        """Claims end, cleanup, final commit; whatever fails on the way, the rest still happens."""
        session.stopping = True
        for tp in session.claims:
            self._client.flow.end(*tp)
        patience = timeout if ending is None else self._config.max_poll_interval_ms / 1000
        stuck = await tasks.join(patience)
        for name in stuck:
            _log.error("%s did not end within %.1f s; it is left behind", name, patience)
        try:
            await notify_async(handler.cleanup, session)
        finally:
            self._claims = []
            if ending is None or ending.kind != LOST:
                problem = await wait_async(self._client.call(session._commits.commit_last))
                if problem is not None:
                    _log.error(
                        "the final commit of generation %d failed: %s", session.generation, problem
                    )
            self._session = None
            if ending is not None:
                ending.served()

    def _finished(self) -> dict[TopicPartition, OffsetAndMetadata]:
        session = self._session
        return {} if session is None else session._commits.marks.dirty()

    def _attention(self) -> Tokens:
        return {
            (claim.topic, claim.partition): None if claim._waiting else claim._handed
            for claim in list(self._claims)
        }

    async def close(self, timeout: float = 30.0) -> None:
        """Leave the group and disconnect; closing again does nothing.

        Args:
            timeout: Seconds for all of it; what is not done by then is left to the session timeout.

        Cancellation: Ends the wait only.
        Threads: Any; not while `consume` runs (use `stop` first).
        """
        if self._closed:
            return
        self._closed = True
        self._stop = True
        await wait_async(self._client.shut_down(timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncConsumerGroup {self._config.group_id!r} {self._session!r}>"


__all__ = ["AsyncClaim", "AsyncConsumerGroup", "AsyncConsumerGroupHandler", "AsyncGroupSession"]
