"""The application's side of a consumer: polls, the listeners of rebalances, the current record, positions.

Runs in the application's threads or tasks. The engine's side never refers to it strongly, since its listeners are the
application's and may refer to the consumer.

Leaving a `with` block, or `close`, finishes the current record. An exception does not: that record, or those of the last poll, are
read again by the next owner. A poll after an iteration continues behind the current record.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ottla.client._async.listeners import AsyncListeners, Listener
from ottla.client.dropped import weakly
from ottla.client.listening import refuse_in_listener, running_listener
from ottla.consumer.calls import ASSIGNED, Call
from ottla.consumer.iteration import NO_RECORDS
from ottla.consumer.progress import Progress
from ottla.engine.bridge import GRACE_S
from ottla.engine.clock import Deadline
from ottla.engine.twins import take_async, wait_async
from ottla.errors import Error, StateError
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from ottla._native import Records
    from ottla.client.consumer import ConsumerClient
    from ottla.consumer.bound import Bound
    from ottla.consumer.hand_over import HandOver
    from ottla.consumer.iteration import AsyncConsumerBase
    from ottla.consumer.liveness import Tokens
    from ottla.engine.bridge import Ticket
    from ottla.producer.callbacks import Callbacks


class AsyncPolling:
    """The polls of one consumer.

    Args:
        client: The engine's side.
        consumer: The public object, for the iteration over its current records. It owns this one, so only a weak
            reference is stored.
        hand_over: Deserializers and interceptors; None: there are none.
    """

    def __init__(
        self,
        client: ConsumerClient,
        consumer: AsyncConsumerBase[Any, Any],
        hand_over: HandOver | None = None,
    ) -> None:
        self.topics: frozenset[str] = frozenset()
        """Topics subscribed to by name."""
        self._client = client
        self._flow = client.flow
        self.hand_over: HandOver | Bound | None = hand_over
        """Prepares the records of each take; a bounded read stands in front of it during its polls."""
        self._consumer = weakref.ref(consumer)
        self._progress = Progress(
            client.flow,
            weakly(consumer, type(consumer)._current, None),
            lambda: client.cursors.owned,
        )
        self._listeners = AsyncListeners()
        self._subscribed = False
        self._turn = threading.Lock()
        """Held by the poll that runs."""
        self._polls = 0
        self._waiting_since: float | None = None
        """Time since which a poll waits for records."""
        self._woken = False
        self._closed = False
        consumer._bind(client.flow)
        client.autocommit.finished_offsets = self._progress.finished_offsets
        client.application.attention = weakly(self, AsyncPolling._attention, {})
        client.application.calls.listen(weakly(self, AsyncPolling._interrupt, None))

    def _interrupt(self) -> None:
        """A call of the group waits: end the current poll, and the iteration serves it before its next record. Threads: any."""
        consumer = self._consumer()
        if consumer is not None:
            consumer._interrupt()
        self._flow.wakeup()

    def _attention(self) -> Tokens:
        consumer = self._consumer()
        if self._waiting_since is not None or consumer is None:
            return {"poll": None}
        return {"poll": (self._polls, consumer._current())}

    def readers(self) -> dict[str, float]:
        """The poll that waits for records, and since when. Threads: any."""
        since = self._waiting_since
        return {} if since is None else {"poll": since}

    # ---- subscription ------------------------------------------------------------------------------------------------

    async def subscribe(
        self,
        topics: list[str],
        pattern: re.Pattern[str] | None,
        listeners: dict[str, Listener | None],
    ) -> None:
        """Subscribe, see `Subscription.subscribe`. listeners: By kind of call."""
        refuse_in_listener(self._listeners, "subscribe")
        before, self._listeners.by_kind = self._listeners.by_kind, listeners
        subscribe = self._client.subscribe
        try:
            await wait_async(
                self._client.call("AsyncConsumer.subscribe", subscribe, topics, pattern)
            )
        except Error:
            self._listeners.by_kind = before
            raise
        self.topics = frozenset(topics)
        self._subscribed = True

    async def unsubscribe(self) -> None:
        """Leave the group; the application has finished its current record."""
        refuse_in_listener(self._listeners, "unsubscribe")
        try:
            await self._release(finished=True)
        finally:
            self.topics = frozenset()
            self._subscribed = False
            await wait_async(
                self._client.call("AsyncConsumer.unsubscribe", self._client.unsubscribe)
            )

    async def assign(self, partitions: list[TopicPartition]) -> None:
        """Assign exactly these partitions; the application has finished the records of all others."""
        refuse_in_listener(self._listeners, "assign")
        if not self._subscribed:
            self._close_chunk(self._client.cursors.assigned.difference(partitions), finished=True)
        await wait_async(self._client.call("AsyncConsumer.assign", self._client.assign, partitions))

    # ---- polls -------------------------------------------------------------------------------------------------------

    async def poll(
        self, limit: int, timeout: float | None, *, returns_moves: bool
    ) -> Records[Any, Any] | None:
        """The records of one poll: none if the time ran out. None if `wakeup` was called.

        Args:
            limit: Maximum number of records.
            timeout: Seconds to wait; None: no limit.
            returns_moves: Whether to return without records when a position has moved past offsets without any.

        Raises:
            StateError: Nothing is subscribed to or assigned, another poll runs, or a listener polls.
        """
        self._refuse_without_partitions()
        self._begin_turn()
        try:
            return await self._poll(limit, timeout, returns_moves)
        finally:
            self._turn.release()

    def _refuse_without_partitions(self) -> None:
        if not self._subscribed and not self._closed and not self._client.cursors.assigned:
            raise StateError("there is nothing to read: call subscribe() or assign() first")

    def _begin_turn(self) -> None:
        refuse_in_listener(self._listeners, "poll")
        if not self._turn.acquire(blocking=False):
            raise StateError(
                "another thread or task polls this consumer: only one at a time may poll or iterate"
            )

    async def _poll(
        self, limit: int, timeout: float | None, returns_moves: bool
    ) -> Records[Any, Any] | None:
        end = Deadline(timeout)
        self._return_unread()
        while True:
            self._polls += 1
            self.finish_all()
            if await self._serve_calls():
                self.finish_all()
            self._client.enter()
            if self.hand_over is not None:
                self.hand_over.raise_failure()
            self._waiting_since = monotonic()
            try:
                records = await take_async(self._flow, limit, end.left())
            except Error as error:
                if self._client.application.is_first(error):
                    raise
                continue
            finally:
                self._waiting_since = None
            if records and self.hand_over is not None:
                records = self.hand_over.prepare(records) or None
            if records or (records is not None and returns_moves):
                return records
            if self._woken:
                self._woken = False
                return None
            if end.left() == 0:
                return NO_RECORDS

    def finish_all(self) -> None:
        """The application asks for more: everything that was handed over is finished."""
        self._progress.before_take()
        self._listeners.lost = {}
        consumer = self._consumer()
        if consumer is not None:
            consumer._bind(self._flow)

    def _return_unread(self, partitions: frozenset[TopicPartition] | None = None) -> None:
        """Set the positions of these partitions behind the current record of the iteration. None: of all partitions."""
        for (topic, partition), (offset, leader_epoch) in self._progress.unread().items():
            if partitions is None or (topic, partition) in partitions:
                self._flow.position(topic, partition, offset, leader_epoch)

    async def next_chunk(self, limit: int) -> Records[Any, Any] | None:
        """The next records of an iteration; None ends it (the consumer was woken or closed)."""
        if self._closed:
            return None
        records = await self.poll(limit, None, returns_moves=False)
        if records is not None:
            self.begin_chunk(records)
        return records

    def begin_chunk(self, records: Records[Any, Any]) -> None:
        """The application receives these records one by one."""
        self._progress.start_chunk(records)

    async def poll_step(self, limit: int, timeout: float) -> Records[Any, Any] | None:
        """A poll of a bounded read: no records if the time ran out or only positions moved; None if woken or closed."""
        return None if self._closed else await self.poll(limit, timeout, returns_moves=True)

    def leave_iteration(self) -> None:
        """Return the records that an iteration has left: the next poll has them. Its current record is finished."""
        self._return_unread()
        self.finish_all()

    def has_nothing_assigned(self) -> bool:
        """Whether the group has assigned no partition to this member.

        Raises:
            StateError: Nothing is subscribed to or assigned.
        """
        self._refuse_without_partitions()
        member = self._client.subscription.health()
        return member is not None and member.state == "stable" and member.assigned == 0

    async def serve_between_records(self) -> None:
        """Serve the calls of the group in an iteration that asks for its next record."""
        consumer = self._consumer()
        if self._closed or consumer is None:
            return
        self._begin_turn()
        try:
            self._progress.finish_current()
            self._progress.start_chunk(consumer._rest())
            self._listeners.lost = {}
            await self._serve_calls()
        finally:
            self._turn.release()

    def wakeup(self) -> None:
        """End the poll that waits now, or the next one, without records. Threads: any, and signal handlers."""
        self._woken = True
        self._flow.wakeup()

    # ---- calls of the group ------------------------------------------------------------------------------------------

    async def _serve_calls(self) -> bool:
        """Run the listeners for the decisions of the group since the last poll; False: there were none."""
        calls = self._client.application.calls
        try:
            is_any = await self._listeners.wait()
            while (call := calls.take()) is not None:
                is_any = True
                await self._serve(call)
        finally:
            if len(calls):
                # A listener has raised: the others are served before the next record.
                self._interrupt()
        return is_any

    async def _serve(self, call: Call) -> None:
        if call.kind != ASSIGNED:
            self._close_chunk(call.partitions, finished=False)
        await self._listeners.serve(call)

    def _close_chunk(self, partitions: Collection[TopicPartition], *, finished: bool) -> None:
        """Hand over no more of these partitions; their progress is final. finished: That includes the current record."""
        self._return_unread(frozenset(partitions))
        self._progress.close(partitions, finished=finished)
        consumer = self._consumer()
        if consumer is not None:
            for tp in partitions:
                consumer._skip(tp)

    async def serve_losses(self) -> None:
        """Call `on_lost` for the losses so far, before a call raises an error for one. Not while a poll runs, which does it."""
        if not self._client.application.unserved_losses() or running_listener(self._listeners):
            return
        if not self._turn.acquire(blocking=False):
            return
        try:
            while (call := self._client.application.calls.take_loss()) is not None:
                self._listeners.lost.update(dict.fromkeys(call.partitions, call.reason))
                await self._serve(call)
        finally:
            self._turn.release()

    def reasons_of_losses(self) -> dict[TopicPartition, str]:
        """Why partitions were lost of which the application may hold records. Threads: any."""
        return {**self._listeners.lost, **self._client.application.unserved_losses()}

    async def _release(self, *, finished: bool) -> None:
        """The application asks for no more records. Call `on_lost` for lost partitions, then `on_revoked` for all others.

        Args:
            finished: The application has finished its current record too.
        """
        self._progress.stop(finished=finished)
        try:
            await self.serve_losses()
        finally:
            await self._listeners.revoke_all(self._client.cursors.assigned)

    # ---- commits -----------------------------------------------------------------------------------------------------

    def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata] | None) -> Ticket[None]:
        """Commit these offsets under the present ownership of their partitions.

        offsets: None: those after everything that was handed over, the current record included; lost partitions fail.
        """
        owned, lost = self._client.cursors.owned, self.reasons_of_losses()
        if offsets is None:
            offsets = self._progress.handed_offsets()
        else:
            lost = {tp: reason for tp, reason in lost.items() if tp in offsets}
        commit = self._client.commit
        return self._client.call("AsyncConsumer.commit", commit, offsets, owned, lost)

    # ---- positions ---------------------------------------------------------------------------------------------------

    def positions(self) -> dict[TopicPartition, int]:
        """Offset of the next record for the application, for each assigned partition that has a position."""
        handed = self._progress.handed_offsets()
        return {
            TopicPartition(*place): handed[tp].offset
            if (tp := TopicPartition(*place)) in handed
            else offset
            for place, (offset, _epoch) in self._flow.positions().items()
        }

    async def positions_of(
        self, name: str, wanted: list[TopicPartition], timeout: float
    ) -> dict[TopicPartition, int]:
        """The positions of partitions, once each has one, for the public call of this name; without those that are not assigned."""
        positioned = self._client.cursors.wait_positioned
        await wait_async(self._client.query(name, positioned, wanted, timeout), timeout + GRACE_S)
        known = self.positions()
        return {tp: known[tp] for tp in wanted if tp in known}

    async def seek(self, tp: TopicPartition, target: OffsetAndMetadata) -> None:
        """Set the position of a partition, and drop its records of the current poll that the iteration has not reached."""
        await self.serve_losses()
        seek = self._client.cursors.seek
        await wait_async(self._client.call("AsyncConsumer.seek", seek, tp, target))
        self._moved(tp, target.offset, target.leader_epoch)

    async def seek_to_time(self, name: str, wanted: list[TopicPartition], time_ms: int) -> None:
        """Set positions to the first records at or after a time, for the public call of this name."""
        await self.serve_losses()
        seek = self._client.cursors.seek_to_time
        await wait_async(self._client.call(name, seek, wanted, time_ms))
        positions = self._flow.positions()
        for tp in wanted:
            if tp in positions:
                self._moved(tp, *positions[tp])

    def _moved(self, tp: TopicPartition, offset: int, leader_epoch: int) -> None:
        consumer = self._consumer()
        if consumer is not None:
            consumer._skip(tp)
        self._progress.set_position(tp, offset, leader_epoch)

    # ---- end ---------------------------------------------------------------------------------------------------------

    async def close(self, timeout: float, *, finished: bool, leaves: bool | None = None) -> None:
        """Call `on_revoked`, commit, leave the group and disconnect.

        Args:
            timeout: Seconds to commit and to leave.
            leaves: Whether to leave the group; None: as `leave_group_on_close`.
            finished: The application has finished its current record too.
        """
        refuse_in_listener(self._listeners, "close")
        try:
            if not self._closed:
                self._closed = True
                await self._release(finished=finished)
        finally:
            await wait_async(self._client.shut_down(timeout, leaves))

    def drop(self, current: tuple[str, int, int] | None, callbacks: Callbacks) -> None:
        """The consumer is being collected, with this current record. For its finalizer."""
        self._progress.freeze_current(current)
        self._client.drop(callbacks)
