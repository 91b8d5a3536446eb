"""The outbox: takes the events of one producer's flow and passes each to the part that serves it.

Between batch and request on the data's way. Rust sends the batches of a routed partition and asks nobody. Routes to
leaders come from `cluster.leaders`, topics from `topics`, producer ids from `identity`; `holds` ends holds as `verdict`
decides. Engine thread only.

References: KIP-98, KIP-360, KIP-480, KIP-951; Java: Sender, RecordAccumulator, TransactionManager.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, assert_never

from ottla import errors
from ottla.cluster.leaders import LeaderRoutes
from ottla.message import TopicPartition
from ottla.observe.failures import error_of
from ottla.observe.log import ClientLog
from ottla.producer.buffer_log import BufferLog
from ottla.producer.context import OutboxContext
from ottla.producer.holds import Holds
from ottla.producer.identity import IdentitySource
from ottla.producer.rack import Rack
from ottla.producer.routes import ProduceTarget
from ottla.producer.topics import Topics
from ottla.producer.unawaited import UnawaitedSends
from ottla.seam.failures import TimedOut
from ottla.seam.producing import (
    BatchAcked,
    BufferFilled,
    BufferFreed,
    CallbacksReady,
    Held,
    MessagesFailed,
    OutcomesReady,
    RouteWanted,
    SendManyDropped,
    SpaceLacking,
    Throttled,
    TopicWanted,
    UnawaitedDue,
)

if TYPE_CHECKING:
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.observe.log_names import LogName
    from ottla.producer.reports import Reports
    from ottla.seam.producing import ProduceEvent

_NEXT_STEPS: Final[dict[errors.Outcome, str]] = {
    "not_written": "they are not in the topic, so sending them again duplicates nothing",
    "unknown": "they may be in the topic: read it before sending them again",
    "written": "they are in the topic",
}
"""Effect of sending failed messages again, by outcome."""


class Outbox:
    """The engine's side of one producer's flow. Engine thread only.

    Args:
        context: Engine, cluster, flow and options.
        reports: Calls the application.
    """

    def __init__(self, context: OutboxContext, reports: Reports) -> None:
        self._context = context
        self._flow = context.flow
        self._reports = reports
        config = context.config
        self._capacity_bytes = config.buffer_memory
        rack = Rack(config.client_rack if config.partitioner_rack_aware else None, context.log)
        self._topics = Topics(context, rack)
        self._routes = LeaderRoutes(context.cluster, context.engine, ProduceTarget(context), config)
        self._identity = IdentitySource(context, self._topics.set_trouble)
        self._holds = Holds(context, self._routes, self._identity)
        self._unawaited = UnawaitedSends(context)
        self._buffer_log = BufferLog(
            self._flow,
            ClientLog("accumulator", config.who),
            config.max_block_ms,
            context.later,
            context.now,
        )

    # ---- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve the flow's events, and get a producer id where one is needed."""
        self._context.cluster.listen(self._metadata_changed)
        self._routes.start()
        self._topics.start()
        self._context.engine.add_drain(self.drain)
        if self._context.config.enable_idempotence:
            self._context.spawn(self._identity.start(), "producer id")
        # Events from before the start: their bell has rung already, and without a reachable broker nothing else rings it.
        self.drain()

    def stop(self) -> None:
        """Serve the last events; searches end, and no later event is served."""
        self._context.close()
        self._routes.stop()
        self._unawaited.advance()
        self.drain()
        self._reports.call_settled()
        self._context.summary.stop()
        self._buffer_log.stop()
        self._flow.detach()
        self._context.engine.remove_drain(self.drain)
        self._context.cluster.unlisten(self._metadata_changed)

    def _metadata_changed(
        self, _old: MetadataSnapshot, new: MetadataSnapshot, _changes: object
    ) -> None:
        self._topics.apply_metadata(new)

    async def partitions_of(self, topic: str, timeout: float) -> list[int]:
        """Return the partitions of a topic, as `Cluster.partitions_of`; its metadata is kept for messages that may follow."""
        return await self._topics.partitions_of(topic, timeout)

    # ---- events ----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Serve every event of the flow since the last call. An event that cannot be served loses no other one."""
        for event in self._flow.drain():
            try:
                self._serve(event)
            except Exception as error:
                self._context.log.error(
                    "internal_error.event",
                    exc_info=error,
                    kind=type(event).__name__,
                    reason=error,
                )

    def _serve(self, event: ProduceEvent) -> None:
        if self._context.closed and isinstance(event, TopicWanted | RouteWanted | Held):
            return  # Nothing begins any more, and the messages that waited have their outcome.
        match event:
            case TopicWanted(topic):
                self._topics.want(topic)
            case RouteWanted(topic, partition):
                self._find_route(TopicPartition(topic, partition))
            case Held():
                self._holds.end_soon(event)
            case MessagesFailed():
                self._report_failure(event)
            case CallbacksReady(calls):
                self._reports.call_soon(calls)
            case SendManyDropped():
                self._log_dropped(event)
            case UnawaitedDue():
                self._unawaited.advance()
            case OutcomesReady():
                self._reports.report_soon()
            case BatchAcked():
                self._emit_acked(event)
            case SpaceLacking(accepted):
                self._buffer_log.begin(accepted)
            case BufferFilled(used_bytes):
                self._context.events.emit(
                    "buffer.full", used_bytes=used_bytes, capacity_bytes=self._capacity_bytes
                )
            case BufferFreed(used_bytes):
                self._context.events.emit(
                    "buffer.free", used_bytes=used_bytes, capacity_bytes=self._capacity_bytes
                )
            case Throttled(conn, throttle_ms):
                self._routes.report_throttled(conn, throttle_ms, self._context.summary)
            case _:
                assert_never(event)

    def _find_route(self, partition: TopicPartition) -> None:
        """The flow has batches and no route: none was given yet, or its connection was lost while nothing was in flight."""
        self._routes.withdraw(partition)
        if not self._holds.renew_soon(partition):
            self._routes.find(partition)

    def _log_dropped(self, dropped: SendManyDropped) -> None:
        self._context.summary.add(
            logging.WARNING,
            "send_many.never_awaited",
            {"topic": dropped.topic or "several topics"},
            count=dropped.calls,
        )

    async def unawaited_sends(self) -> None:
        """Wait until each asynchronous send that nobody awaits is accepted or has failed."""
        await self._unawaited.ended()

    def _report_failure(self, failed: MessagesFailed) -> None:
        """Log a failure that may have no other reader."""
        error = error_of(failed.failure)
        reason, outcome = errors.line_of(error), failed.failure.outcome
        expired = isinstance(failed.failure.cause, TimedOut)
        event: LogName = "batch.expired" if expired else "batch.failed"
        partition = -1 if failed.partition is None else failed.partition
        self._context.events.emit(
            event,
            topic=failed.topic,
            partition=partition,
            records=failed.records,
            error=type(error).__name__,
            reason=reason,
            outcome=outcome,
        )
        self._context.summary.add(
            logging.ERROR,
            event,
            TopicPartition(failed.topic, partition),
            count=failed.records,
            outcome=outcome,
            reason=reason,
            error=type(error).__name__,
            next_step=_NEXT_STEPS[outcome],
        )

    def _emit_acked(self, acked: BatchAcked) -> None:
        self._context.events.emit(
            "batch.acked",
            topic=acked.topic,
            partition=acked.partition,
            records=acked.records,
            size_bytes=acked.size_bytes,
            base_offset=acked.base_offset,
            attempts=acked.attempts,
            age_ms=acked.age_s * 1000,
        )
