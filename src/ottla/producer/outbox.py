"""The outbox: takes the events of one producer's flow and passes each to the part that serves it.

Between batch and request on the data's way. Rust sends the batches of a routed partition and asks nobody. Routes to
leaders come from `cluster.leaders`, topics from `topics`, producer ids from `identity`; `holds` ends holds as `verdict`
decides. Engine thread only.

References: KIP-98, KIP-360, KIP-480, KIP-951; Java: Sender, RecordAccumulator, TransactionManager.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ottla import errors
from ottla.cluster.leaders import LeaderRoutes
from ottla.message import TopicPartition
from ottla.observe.log import ClientLog
from ottla.producer.buffer_log import BufferLog
from ottla.producer.context import OutboxContext
from ottla.producer.holds import Holds
from ottla.producer.identity import IdentitySource
from ottla.producer.rack import Rack
from ottla.producer.routes import ProduceTarget
from ottla.producer.topics import Topics
from ottla.producer.verdict import Held

if TYPE_CHECKING:
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.observe.log_names import LogName
    from ottla.producer.reports import Reports


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
        rack = Rack(config.client_rack if config.partitioner_rack_aware else None, context.log)
        self._topics = Topics(context, rack)
        self._routes = LeaderRoutes(context.cluster, context.engine, ProduceTarget(context), config)
        self._identity = IdentitySource(context, self._topics.trouble)
        self._holds = Holds(context, self._routes, self._identity)
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
        # What was told before: its bell has rung, and where no broker can be reached nothing else rings.
        self.drain()

    def stop(self) -> None:
        """Serve what is still there; no event is served from here, and nothing is looked for any more."""
        self._context.close()
        self._routes.stop()
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
        self._topics.changed(new)

    async def partitions_of(self, topic: str, timeout: float) -> list[int]:
        """As `Cluster.partitions_of`; the topic's metadata is kept for the messages that are likely to follow."""
        return await self._topics.partitions_of(topic, timeout)

    # ---- events ----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Serve what the flow has told since the last time; what cannot be served loses nothing else."""
        for event in self._flow.drain():
            try:
                self._serve(event)
            except Exception as error:
                self._context.log.error(
                    "internal_error.event", exc_info=error, kind=event[0], reason=error
                )

    def _serve(self, event: tuple[Any, ...]) -> None:
        kind = event[0]
        if self._context.closed and kind in ("topic", "wanted", "held"):
            return  # Nothing begins any more, and what waited has its outcome.
        if kind == "topic":
            self._topics.want(event[1])
        elif kind == "wanted":
            self._find_route(TopicPartition(event[1], event[2]))
        elif kind == "held":
            self._holds.end_soon(Held(*event[1:]))
        elif kind == "failed":
            self._report_failure(*event[1:])
        elif kind == "callbacks":
            self._reports.call_soon(event[1])
        elif kind == "unawaited":
            self._tell_unawaited(event[1])
        elif kind == "outcomes":
            self._reports.report_soon()
        elif kind == "acked":
            self._tell_acked(*event[1:])
        elif kind == "lacking":
            self._buffer_log.begin(event[1])
        elif kind in ("full", "free"):
            self._context.events.emit(
                "buffer.full" if kind == "full" else "buffer.free",
                used_bytes=event[1],
                capacity_bytes=self._context.config.buffer_memory,
            )
        elif kind == "throttled":
            self._routes.report_throttled(event[1], event[2], self._context.summary)

    def _find_route(self, partition: TopicPartition) -> None:
        """The flow has batches and no route: none was given yet, or its connection was lost while nothing was in flight."""
        self._routes.withdraw(partition)
        if not self._holds.renew_soon(partition):
            self._routes.find(partition)

    def _tell_unawaited(self, sends: Sequence[tuple[str, str, int]]) -> None:
        """Sends of an event loop were dropped before anybody awaited them: (method, topic, count)."""
        for method, topic, count in sends:
            self._context.summary.add(
                logging.WARNING,
                "send.never_awaited",
                {"topic": topic or "several topics"},
                count=count,
                method=method,
            )

    def _report_failure(
        self,
        topic: str,
        partition: int,
        records: int,
        kind: str,
        code: int,
        message: str,
        outcome: str,
        cause: tuple[str, int, str] | None,
    ) -> None:
        """A failure that nobody may be looking at is at least in the log."""
        error = errors.from_native(kind, code, message, cause=cause)
        text = errors.line_of(error)
        event: LogName = "batch.expired" if kind == "delivery_timeout" else "batch.failed"
        self._context.events.emit(
            event,
            topic=topic,
            partition=partition,
            records=records,
            error=type(error).__name__,
            reason=text,
            outcome=outcome,
        )
        self._context.summary.add(
            logging.ERROR,
            event,
            TopicPartition(topic, partition),
            count=records,
            outcome=outcome,
            reason=text,
            error=type(error).__name__,
        )

    def _tell_acked(
        self,
        topic: str,
        partition: int,
        records: int,
        size_bytes: int,
        base_offset: int,
        attempts: int,
        age_s: float,
    ) -> None:
        self._context.events.emit(
            "batch.acked",
            topic=topic,
            partition=partition,
            records=records,
            size_bytes=size_bytes,
            base_offset=base_offset,
            attempts=attempts,
            age_ms=age_s * 1000,
        )
