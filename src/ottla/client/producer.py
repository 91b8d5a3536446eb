"""One producer, put together."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from ottla import errors
from ottla.client.start import start_cluster
from ottla.cluster.backoff import Backoff
from ottla.cluster.cluster import Cluster
from ottla.engine.dispatcher import dispatch
from ottla.engine.thread import Engine
from ottla.observe.events import Events
from ottla.observe.log import logger
from ottla.producer.accumulator import make_flow
from ottla.producer.interceptors import Interceptors
from ottla.producer.outbox import Outbox
from ottla.producer.reports import Reports
from ottla.protocol.messages.init_producer_id import InitProducerIdRequest

if TYPE_CHECKING:
    from ottla.config.producer import ProducerConfig
    from ottla.engine.bridge import Ticket
    from ottla.observe.producer_health import ProducerHealth
    from ottla.observe.statistics import ProducerStatistics

_log = logger("client")


class ProducerClient:
    """One producer's engine side."""

    def __init__(self, config: ProducerConfig) -> None:
        self.config = config
        self._engine = Engine.acquire()
        try:
            self.flow = make_flow(self._engine.io, config)
        except BaseException:
            self._engine.release()
            raise
        self.interceptors = (
            Interceptors(config.interceptors, self.flow.is_closed) if config.interceptors else None
        )
        self._reports = Reports(self.flow, config.on_delivery, self.interceptors)
        self.events = Events(dispatch, self.flow.watch)
        self._cluster = Cluster(config, self._engine, self.events)
        self._outbox = Outbox(
            self._engine, self._cluster, self.flow, config, self._acquire_identity, self._reports
        )
        self._lock = threading.Lock()
        self._closing: Ticket[None] | None = None  # guarded by _lock
        self._starting: list[asyncio.Task[None]] = []
        self._engine.call(self._start)
        self._engine.watch_exit(self, self.undelivered)

    def __repr__(self) -> str:
        return f"producer {self.config.client_id!r}"

    # ---- start -----------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._outbox.start()
        reaching = start_cluster(self._cluster, self.config)
        self._starting.append(self._engine.spawn(reaching, "producer start"))
        if self.config.enable_idempotence:
            self._starting.append(self._engine.spawn(self._identify(), "producer id"))

    async def _identify(self) -> None:
        """Get the producer id, for as long as it takes: what is sent meanwhile waits or expires.

        Any broker gives one, so the first that is reached is asked beside its metadata: one round trip less until the
        first message leaves.
        """
        await self._cluster.reached()
        producer_id, epoch = await self._acquire_identity()
        self._outbox.identity_given(producer_id, epoch)

    async def _acquire_identity(self) -> tuple[int, int]:
        """A producer id of the cluster (KIP-98), asked for until there is one."""
        backoff = Backoff(self.config.retry_backoff_ms, self.config.retry_backoff_max_ms)
        attempts = 0
        while True:
            try:
                response = await self._cluster.request(
                    InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
                )
                if response.error_code == 0:
                    return response.producer_id, response.producer_epoch
                refusal = errors.for_code(response.error_code)
                if not refusal.retriable:
                    self.flow.abort_all(
                        "broker", response.error_code, "the broker gives no producer id"
                    )
                reason = str(refusal)
            except errors.Closed:
                raise
            except errors.Error as error:
                reason = str(error)
            attempts += 1
            # A broker that has just started answers so once or twice.
            tell = _log.debug if attempts < 3 else _log.warning
            tell("no producer id yet (attempt %d): %s", attempts, reason)
            self._outbox.trouble(f"no producer id: {reason}")
            await asyncio.sleep(backoff.delay(attempts))

    # ---- end -------------------------------------------------------------------------------------------------------

    def undelivered(self) -> int:
        """Messages accepted whose outcome is not known yet."""
        return self.flow.undelivered()

    def shut_down(self) -> Ticket[None]:
        """Give up what is not resolved, close the connections and let the engine go. Every call gets the same ticket.

        Nothing in it waits for a broker.
        """
        with self._lock:
            if self._closing is None:
                self._closing = self._engine.call(self._shut_down, name="close")
            return self._closing

    async def _shut_down(self) -> None:
        given_up = self.flow.abort_all(
            "closed", 0, "the producer was closed before its messages had their outcome"
        )
        if given_up:
            _log.error("%r was closed with %d messages that had no outcome yet", self, given_up)
        for task in self._starting:
            task.cancel()
        self._outbox.stop()
        await self._cluster.close()
        self._reports.close_interceptors()
        self._engine.unwatch_exit(self)
        self._engine.release()

    def told(self) -> Ticket[None] | None:
        """Settles once `on_delivery` and interceptors were told of everything resolved so far; None: nothing to wait for."""
        return self._reports.told()

    def called(self) -> Ticket[None] | None:
        """Settles once every callback for what is resolved so far has run; None: nothing to wait for."""
        return self._reports.called()

    # ---- what it tells about itself --------------------------------------------------------------------------------

    def statistics(self) -> ProducerStatistics:
        """What the flow has counted and holds."""
        from ottla.observe.statistics import producer_statistics

        return producer_statistics(self.flow.statistics())

    def health(self) -> ProducerHealth:
        """What keeps the producer from its work."""
        from ottla.observe.producer_health import HOLDERS, producer_health

        notes = self._cluster.health.report()
        return producer_health(notes, self.flow.budget(HOLDERS), self._engine.clock.now())
