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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ottla.client.dropped import weakly
from ottla.consumer.calls import ASSIGNED, REVOKED, Call
from ottla.consumer.progress import Progress
from ottla.engine.bridge import GRACE_S
from ottla.engine.clock import Deadline
from ottla.engine.twins import notify_async, take_async, wait_async
from ottla.errors import Error, StateError
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from ottla._native import Records
    from ottla.client.consumer import ConsumerClient
    from ottla.consumer.hand_over import HandOver
    from ottla.consumer.iteration import AsyncConsumerBase
    from ottla.consumer.liveness import Tokens
    from ottla.producer.callbacks import Callbacks

    Listener = Callable[[list[TopicPartition]], Any]


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
        self._hand_over = hand_over
        self._consumer = weakref.ref(consumer)
        self._progress = Progress(client.flow, weakly(consumer, type(consumer)._current, None))
        self._listeners: dict[str, Listener | None] = {}
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
        client.application.calls.listen(client.flow.wakeup)

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
        before, self._listeners = self._listeners, listeners
        subscribe = self._client.subscribe
        try:
            await wait_async(
                self._client.call("AsyncConsumer.subscribe", subscribe, topics, pattern)
            )
        except Error:
            self._listeners = before
            raise
        self.topics = frozenset(topics)
        self._subscribed = True

    async def unsubscribe(self) -> None:
        """Leave the group; the application has finished its current record."""
        try:
            await self._release(finished=True)
        finally:
            self.topics = frozenset()
            self._subscribed = False
            await wait_async(
                self._client.call("AsyncConsumer.unsubscribe", self._client.unsubscribe)
            )

    # ---- polls -------------------------------------------------------------------------------------------------------

    async def poll(self, limit: int, timeout: float | None) -> Records[Any, Any] | None:
        """The records of one poll; None if the time ran out or `wakeup` was called.

        Raises:
            StateError: Nothing is subscribed to or assigned, or another poll runs.
        """
        if not self._subscribed and not self._closed and not self._client.cursors.assigned:
            raise StateError("there is nothing to read: call subscribe() or assign() first")
        if not self._turn.acquire(blocking=False):
            raise StateError(
                "another thread or task polls this consumer: only one at a time may poll or iterate"
            )
        try:
            return await self._poll(limit, timeout)
        finally:
            self._turn.release()

    async def _poll(self, limit: int, timeout: float | None) -> Records[Any, Any] | None:
        end = Deadline(timeout)
        self._return_unread()
        while True:
            self._client.enter()
            self._polls += 1
            self._progress.before_take()
            await self._serve_calls()
            self._progress.before_take()
            if self._hand_over is not None:
                self._hand_over.raise_failure()
            self._waiting_since = monotonic()
            try:
                records = await take_async(self._flow, limit, end.left())
            finally:
                self._waiting_since = None
            if records is not None and self._hand_over is not None:
                records = self._hand_over.prepare(records) or None
            if records is not None:
                return records
            if self._woken:
                self._woken = False
                return None
            if end.left() == 0:
                return None

    def _return_unread(self) -> None:
        """Fetch again the records that an iteration has left: a poll continues behind the current record."""
        unread = self._progress.unread()
        for (topic, partition), (offset, leader_epoch) in unread.items():
            self._flow.position(topic, partition, offset, leader_epoch)
        consumer = self._consumer()
        if unread and consumer is not None:
            consumer._bind(self._flow)

    async def next_chunk(self, limit: int) -> Records[Any, Any] | None:
        """The next records of an iteration; None ends it (the consumer was woken or closed)."""
        if self._closed:
            return None
        records = await self.poll(limit, None)
        if records is not None:
            self._progress.start_chunk(records)
        return records

    def wakeup(self) -> None:
        """End the poll that waits now, or the next one, without records. Threads: any, and signal handlers."""
        self._woken = True
        self._flow.wakeup()

    # ---- calls of the group ------------------------------------------------------------------------------------------

    async def _serve_calls(self) -> None:
        """Run the listeners for what the group has decided since the last poll."""
        while (call := self._client.application.calls.take()) is not None:
            try:
                await self._notify(call)
            finally:
                call.finish()

    async def _notify(self, call: Call) -> None:
        listener = self._listeners.get(call.kind)
        if listener is not None and (call.partitions or call.kind == ASSIGNED):
            await notify_async(listener, call.partitions)

    async def _release(self, *, finished: bool) -> None:
        """The application asks for no more records. Call `on_revoked` for all partitions.

        Args:
            finished: The application has finished its current record too.
        """
        self._progress.stop(finished=finished)
        assigned = sorted(self._client.cursors.assigned)
        listener = self._listeners.get(REVOKED)
        if assigned and self._subscribed and listener is not None:
            await notify_async(listener, assigned)

    # ---- positions ---------------------------------------------------------------------------------------------------

    def handed_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The offsets after everything that was handed over, the current record included."""
        return self._progress.handed_offsets()

    def positions(self) -> dict[TopicPartition, int]:
        """Offset of the next record for the application, for each assigned partition that has a position."""
        handed = self._progress.handed_offsets()
        return {
            TopicPartition(*place): handed[tp].offset
            if (tp := TopicPartition(*place)) in handed
            else offset
            for place, (offset, _epoch) in self._flow.positions().items()
        }

    async def position(self, tp: TopicPartition, timeout: float) -> int | None:
        """The position of a partition, once it has one; None: it is not assigned."""
        positioned = self._client.cursors.wait_positioned
        asked = self._client.query("AsyncConsumer.position", positioned, tp, timeout)
        await wait_async(asked, timeout + GRACE_S)
        return self.positions().get(tp)

    async def seek(self, tp: TopicPartition, target: OffsetAndMetadata) -> None:
        """Set the position of a partition, and drop its records of the current poll that the iteration has not reached."""
        seek = self._client.cursors.seek
        await wait_async(self._client.call("AsyncConsumer.seek", seek, tp, target))
        self._moved(tp, target.offset, target.leader_epoch)

    async def seek_to_time(self, name: str, wanted: list[TopicPartition], time_ms: int) -> None:
        """Set positions to the first records at or after a time, for the public call of this name."""
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
