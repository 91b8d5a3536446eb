"""The engine side of one producer: builds its parts, starts them, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from ottla import errors
from ottla.client.dropped import Made
from ottla.client.leaving import CLOSE_S
from ottla.cluster.backoff import Backoff
from ottla.cluster.cluster import Cluster
from ottla.engine.dispatcher import dispatch, on_dispatcher
from ottla.engine.thread import Engine
from ottla.observe.budget import share_text
from ottla.observe.events import Events
from ottla.observe.log import ClientLog
from ottla.producer.accumulator import closer, make_flow
from ottla.producer.callbacks import CallbackRef, Callbacks
from ottla.producer.context import OutboxContext
from ottla.producer.interceptors import Interceptors
from ottla.producer.outbox import Outbox
from ottla.producer.reports import Reports
from ottla.seam.failures import ErrorData

if TYPE_CHECKING:
    from ottla.config.producer import ProducerConfig
    from ottla.engine.bridge import Ticket
    from ottla.observe.producer_health import ProducerHealth
    from ottla.observe.statistics import ProducerStatistics


_CLOSE_WARNING_S = 3.0
"""Seconds until the log has a warning about a `close` that waits."""

_SHORTEST_CHECK_MS = 20
_LONGEST_CHECK_MS = 1_000
"""Pauses between checks whether sends of a collected producer still wait."""


class ProducerClient:
    """One producer's engine side."""

    def __init__(self, config: ProducerConfig) -> None:
        self.made = Made()
        self._engine = Engine.acquire()
        try:
            self.flow = make_flow(self._engine.io, config)
        except BaseException:
            self._engine.release()
            raise
        chain = Interceptors(config.interceptors, config.who) if config.interceptors else None
        self.callbacks = CallbackRef(Callbacks(config.on_delivery, chain), config.who)
        # No object of the application may be referenced from here.
        config = config.without("on_delivery", "interceptors", "partitioner")
        self.config = config
        self._log = ClientLog("producer", config.who)
        self._reports = Reports(self.flow, self.callbacks, config.who)
        self.events = Events(dispatch, self.flow.watch, config.who)
        self._cluster = Cluster(config, self._engine, self.events)
        context = OutboxContext(self._engine, self._cluster, self.flow, config)
        self._outbox = Outbox(context, self._reports)
        self._lock = threading.Lock()
        self._closing: Ticket[None] | None = None  # guarded by _lock
        self._close_watched = False  # guarded by _lock
        self._tasks: list[asyncio.Task[None]] = []
        """Tasks that run until it is closed."""
        self._closed_at: float | None = None  # by the engine's clock
        self._engine.call(self._start, name="start", who=config.who)
        self._engine.watch_exit(self, self.undelivered)

    def __repr__(self) -> str:
        return self.config.who

    # ---- start -----------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._outbox.start()
        self._cluster.refresh_soon("start")

    # ---- end -------------------------------------------------------------------------------------------------------

    def undelivered(self) -> int:
        """Messages accepted whose outcome is not known yet."""
        return self.flow.undelivered()

    @property
    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing is not None

    @property
    def is_forked(self) -> bool:
        """Whether it belongs to a parent process."""
        return self._engine.forked

    def refuse_forked(self) -> None:
        """Raise `ForkedClient` in the child of a fork."""
        self._engine.refuse_forked(self.config.who)

    def watch_close(self, timeout: float | None) -> None:
        """`close` begins to wait for outcomes: log a warning if that takes long. Threads: any.

        Args:
            timeout: Seconds that `close` may take; None: until every outcome is known.
        """
        with self._lock:
            if self._close_watched or self._closing is not None:
                return
            self._close_watched = True
            self._engine.call(self._begin_watch, timeout, name="close", who=self.config.who)

    async def _begin_watch(self, timeout: float | None) -> None:
        self._tasks.append(self._engine.spawn(self._report_slow_close(timeout), "long close"))

    async def _report_slow_close(self, timeout: float | None) -> None:
        await self._engine.sleep(_CLOSE_WARNING_S)
        count, budget = self.undelivered(), self.flow.budget(0)
        if count and (share := budget.largest_unresolved) is not None:
            limit = (
                f"delivery_timeout_ms ({self.config.delivery_timeout_ms:g})"
                if timeout is None
                else f"its {timeout:g} s"
            )
            reason = share_text(share, callbacks_due=budget.callbacks_due)
            self._log.warning(
                "close.waiting", count=count, elapsed_s=_CLOSE_WARNING_S, reason=reason, limit=limit
            )

    def drop(self, callbacks: Callbacks) -> None:
        """The producer was collected; deliver its messages in the background. For its finalizer."""
        self.callbacks.retain(callbacks)
        self._engine.from_finalizer(self._dropped)

    def _dropped(self) -> None:
        self._reports.resume()
        self.callbacks.emit_waiting()
        if not self.is_closing:
            self._engine.spawn(self._end_dropped(), "end of a dropped producer")

    async def _end_dropped(self) -> None:
        """Deliver the accepted messages, report their outcomes, then close.

        Until then a send that waits for free buffer space is still accepted, and so is one of a callback, which may own objects
        that the collector found in the same cycle.
        """
        end = closer(self.flow)
        pauses = Backoff(_SHORTEST_CHECK_MS, _LONGEST_CHECK_MS)
        checks = 0
        while True:
            await end._flush(None)
            await self._report_all()
            if not self.flow.in_use() and not self.flow.undelivered():
                break
            checks += 1
            await self._engine.sleep(pauses.delay(checks))
        end._stop_accepting()
        await end._flush(None)
        self.shut_down()

    async def _report_all(self) -> None:
        if (reported := self._reports.report_all()) is not None:
            with contextlib.suppress(errors.Timeout):
                await reported.wait_async(CLOSE_S)

    def shut_down(self) -> Ticket[None]:
        """Fail the unresolved messages, close the connections and release the engine. Every call gets the same ticket.

        No step waits for a broker.
        """
        with self._lock:
            if self._closing is None:
                self._closing = self._engine.call(
                    self._shut_down, name="close", who=self.config.who
                )
            return self._closing

    async def _shut_down(self) -> None:
        self.flow.abort_all(
            ErrorData("closed", 0, "the producer was closed before its messages had their outcome")
        )
        for task in self._tasks:
            task.cancel()
        self._outbox.stop()
        await self._cluster.close()
        self._reports.end()
        self._closed_at = self._engine.clock.now()
        self._engine.unwatch_exit(self)
        self._engine.release()

    def unawaited_sends(self) -> Ticket[None] | None:
        """A ticket that settles once each asynchronous send that nobody awaits is accepted or has failed; None: there is none,
        or the caller is a callback, which such a send may wait for.
        """
        if not self.flow.unawaited() or on_dispatcher():
            return None
        return self._engine.call(self._outbox.unawaited_sends, name="flush", who=self.config.who)

    def run_callbacks(self) -> Ticket[None] | None:
        """A ticket that settles once every queued callback has run, after `shut_down`; None: there is none to wait for."""
        return self._reports.run_callbacks()

    def flush_callbacks(self) -> Ticket[None] | None:
        """A ticket that settles once every callback for an outcome so far has run; None: there is none to wait for, or the
        caller is a callback.
        """
        if on_dispatcher() or not self.flow.has_callbacks():
            return self._reports.report_all()
        return self._engine.call(self._flush_callbacks, name="flush", who=self.config.who)

    async def _flush_callbacks(self) -> None:
        # On this thread, so after every event that the engine has drained before.
        self._reports.call_settled()
        if (done := self._reports.run_callbacks()) is not None:
            await done.wait_async()

    def partitions_for(self, name: str, topic: str, timeout: float) -> Ticket[list[int]]:
        """The partitions of a topic, for the public call of this name. Threads: any."""
        return self._engine.call(
            self._outbox.partitions_of,
            topic,
            timeout,
            name=name,
            who=self.config.who,
            is_query=True,
        )

    # ---- observation --------------------------------------------------------------------------------

    def statistics(self) -> ProducerStatistics:
        """Counters and buffer of the flow."""
        from ottla.observe.statistics import producer_statistics

        self.refuse_forked()
        return producer_statistics(self.flow.statistics())

    def health(self) -> ProducerHealth:
        """Current troubles of the producer."""
        from ottla.observe.producer_health import HOLDERS, producer_health
        from ottla.observe.tls_health import tls_health

        self.refuse_forked()
        notes, now = self._cluster.health.report(), self._engine.clock.now()
        closed_for = None if self._closed_at is None else now - self._closed_at
        tls = tls_health(self.config.tls)
        return producer_health(notes, self.flow.budget(HOLDERS), now, closed_for, tls)
