"""The outbox: keeps the partitions of one producer flowing, and decides for those that are held.

Between batch and request on the data's way. Rust sends the batches of a routed partition and asks nobody; this module
gives the routes (topic metadata, connection to the leader, producer identity) and ends the holds. It runs on the
engine thread only; the decisions themselves are in `verdict`, which is pure.

References: KIP-98, KIP-360, KIP-480, KIP-951; Java: Sender, RecordAccumulator, TransactionManager.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.metadata import leads
from ottla.observe.log import logger
from ottla.observe.summary import Summary
from ottla.producer.hold_events import tell_hold
from ottla.producer.identity import NO_IDENTITY, Identities, ProducerIdentity
from ottla.producer.rack import Rack
from ottla.producer.verdict import Held, Verdict, judge
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.produce import ProduceRequest
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla._native import ProduceFlow
    from ottla.cluster.cluster import Cluster
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.config.producer import ProducerConfig
    from ottla.engine.thread import Engine
    from ottla.producer.reports import Reports
    from ottla.wire.connection import Connection

_log = logger("outbox")

_HOPELESS_TOPIC = frozenset(
    {ErrorCode.INVALID_TOPIC_EXCEPTION, ErrorCode.TOPIC_AUTHORIZATION_FAILED}
)
"""Answers about a topic that no waiting mends: what waits for it fails at once."""


class Outbox:
    """Routes and holds of one producer. Engine thread only."""

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        flow: ProduceFlow,
        config: ProducerConfig,
        acquire_identity: Callable[[], Any],
        reports: Reports,
    ) -> None:
        self._events = cluster.events
        self._health = cluster.health
        self._engine = engine
        self._cluster = cluster
        self._flow = flow
        self._config = config
        self._acquire_identity = acquire_identity
        self._reports = reports
        self._identities = Identities()
        self._rack = Rack(config.client_rack if config.partitioner_rack_aware else None)
        self._wanted_topics: set[str] = set()
        self._routes: dict[tuple[str, int], tuple[int, int]] = {}
        """(topic, partition) -> (node id, leader epoch) that it was routed by."""
        self._attached: dict[int, int] = {}
        """node id -> id of the connection that the flow owns."""
        self._anew: set[tuple[str, int]] = set()
        """Partitions that are held once more, to begin under the producer id that was waited for."""
        self._routing: set[tuple[str, int]] = set()
        """Partitions for which a task is finding a route right now."""
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._tasks: set[asyncio.Task[Any]] = set()
        """What looks for topics and routes right now."""
        self._summary = Summary(
            _log, lambda s, call: asyncio.get_running_loop().call_later(s, call)
        )
        self._closed = False

    # ---- events ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve the flow's events."""
        self._cluster.listen(self._metadata_changed)
        self._engine.add_drain(self.drain)

    def stop(self) -> None:
        """Serve what is still there; no event is served from here, and nothing is looked for any more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self.drain()
        self._summary.stop()
        self._flow.detach()
        self._engine.remove_drain(self.drain)
        self._cluster.unlisten(self._metadata_changed)

    def drain(self) -> None:
        """Serve what the flow has told since the last time."""
        for event in self._flow.drain():
            kind = event[0]
            if kind == "topic":
                self._want_topic(event[1])
            elif kind == "wanted":
                self._route_soon(event[1], event[2])
            elif kind == "held":
                self._held(Held(*event[1:]))
            elif kind == "failed":
                self._report_failure(*event[1:])
            elif kind == "callbacks":
                self._reports.call_soon(event[1])
            elif kind == "outcomes":
                self._reports.tell_soon()
            elif kind == "acked":
                self._tell_acked(*event[1:])
            elif kind in ("full", "free"):
                self._events.tell(
                    "buffer.full" if kind == "full" else "buffer.free",
                    used_bytes=event[1],
                    capacity_bytes=self._config.buffer_memory,
                )
            elif kind == "throttled":
                self._tell_throttled(event[1], event[2])
                _log.info("connection %d is throttled by the broker for %d ms", event[1], event[2])

    def identity_given(self, producer_id: int, epoch: int) -> None:
        """The broker gave this producer its id: the flow may drain."""
        self._identities.given(producer_id, epoch)
        self._flow.set_identity(producer_id, epoch)
        self._health.recovered("identity")
        self._events.tell("identity.given", producer_id=producer_id, epoch=epoch)
        for topic in self._wanted_topics:
            self._flow.set_trouble(topic, None)

    def trouble(self, reason: str) -> None:
        """Nothing can be sent, for this reason: messages that expire meanwhile say so."""
        self._health.trouble("identity", reason, self._engine.clock.now())
        for topic in self._wanted_topics:
            self._flow.set_trouble(topic, reason)

    # ---- topics ----------------------------------------------------------------------------------------------------

    def _want_topic(self, topic: str) -> None:
        self._wanted_topics.add(topic)
        if not self._tell_topic(self._cluster.snapshot, topic):
            self._cluster.want_topics([topic])
            self._spawn(self._await_topic(topic), f"topic {topic}")

    async def _await_topic(self, topic: str) -> None:
        """Ask until the topic's metadata is there or can never come; the flow itself expires what waits too long."""
        attempts = 0
        while not self._closed and not self._tell_topic(self._cluster.snapshot, topic):
            try:
                await self._cluster.refresh(f"topic {topic} is not known yet")
            except errors.Error as error:
                _log.debug("metadata of topic %s could not be had: %s", topic, error)
                self._flow.set_trouble(topic, str(error))
            else:
                if self._tell_topic(self._cluster.snapshot, topic):
                    break
                code = self._cluster.snapshot.topic_error(topic)
                self._flow.set_trouble(topic, str(errors.for_code(code)) if code else None)
            attempts += 1
            await asyncio.sleep(self._backoff.delay(attempts))
        # What keeps the producer from its identity is told again with each attempt.
        self._flow.set_trouble(topic, None)

    def _tell_topic(self, snapshot: MetadataSnapshot, topic: str) -> bool:
        """Give the flow the topic's partitions; True where nothing more is to be waited for."""
        known = snapshot.topic(topic)
        if known is not None and known.partitions:
            parts = known.partitions.values()
            available = [part.partition for part in parts if part.leader >= 0]
            near = self._rack.near(snapshot, parts)
            self._flow.set_topic(topic, known.topic_id, len(known.partitions), available, near)
            return True
        code = snapshot.topic_error(topic)
        if code in _HOPELESS_TOPIC:
            self._wanted_topics.discard(topic)
            count = self._flow.fail_topic(topic, "broker", int(code), f"topic {topic!r}")
            _log.error("%d messages to topic %s failed: %s", count, topic, ErrorCode(code).name)
            return True
        return False

    def _metadata_changed(
        self, old: MetadataSnapshot, new: MetadataSnapshot, _changes: object
    ) -> None:
        """Follow leaders: a partition that flows to a node that no longer leads it is held, and released to the new one."""
        self._rack.check(new)
        for topic in self._wanted_topics:
            if new.topic(topic) is not None:
                self._tell_topic(new, topic)
        for (topic, partition), (node_id, epoch) in list(self._routes.items()):
            known = new.partition(topic, partition)
            if known is None or known.leader < 0:
                continue
            if known.leader != node_id and known.leader_epoch >= epoch:
                del self._routes[(topic, partition)]
                self._tell_moved(topic, partition, known.leader, known.leader_epoch)
                self._flow.hold(topic, partition)

    # ---- routes ----------------------------------------------------------------------------------------------------

    def _route_soon(self, topic: str, partition: int) -> None:
        key = (topic, partition)
        if key not in self._routing and not self._closed:
            self._routing.add(key)
            self._spawn(self._route(topic, partition), f"route of {topic}-{partition}")

    async def _route(self, topic: str, partition: int) -> None:
        try:
            connection, node_id, epoch = await self._sure_leader_connection(topic, partition)
            if self._closed:
                return
            self._routes[(topic, partition)] = (node_id, epoch)
            self._flow.route(topic, partition, connection.id)
            self._events.tell(
                "partition.routed",
                topic=topic,
                partition=partition,
                node_id=node_id,
                leader_epoch=epoch,
            )
        finally:
            self._routing.discard((topic, partition))

    async def _sure_leader_connection(
        self, topic: str, partition: int
    ) -> tuple[Connection, int, int]:
        """As `_leader_connection`, also past a bug: the flow asks for a route only once, and waits for it."""
        attempts = 0
        while True:
            try:
                return await self._leader_connection(topic, partition)
            except Exception:
                attempts += 1
                _log.exception(
                    "no route to %s-%d (attempt %d): it is looked for again",
                    topic,
                    partition,
                    attempts,
                )
                await asyncio.sleep(self._backoff.delay(attempts))

    async def _leader_connection(self, topic: str, partition: int) -> tuple[Connection, int, int]:
        """The produce connection to the partition's leader, however long that takes: the flow expires what waits."""
        attempts = 0
        while True:
            known = self._cluster.snapshot.partition(topic, partition)
            if known is not None and known.leader >= 0:
                try:
                    connection = await self._cluster.connection_while(
                        known.leader, Role.PRODUCE, leads(topic, partition, known.leader)
                    )
                    self._attach(known.leader, connection)
                    return connection, known.leader, known.leader_epoch
                except errors.Error as error:
                    self._summary.add(
                        logging.DEBUG if attempts else logging.WARNING,
                        f"no connection to node {known.leader}, the leader of {{places}}: {error}; it is tried again",
                        f"{topic}-{partition}",
                    )
                    trouble = f"no connection to node {known.leader}: {error}"
                    self._flow.set_trouble(topic, trouble, partition)
            elif known is not None:
                self._flow.set_trouble(topic, f"partition {partition} has no leader", partition)
            elif (there := self._cluster.snapshot.topic(topic)) is not None:
                # It was made anew with fewer.
                count = len(there.partitions)
                trouble = f"partition {partition} of {count} does not exist"
                self._flow.set_trouble(topic, trouble, partition)
            try:
                await self._cluster.refresh(
                    f"{topic}-{partition} has no leader that can be reached"
                )
            except errors.Error as error:
                _log.debug("metadata could not be had: %s", error)
            attempts += 1
            await asyncio.sleep(self._backoff.delay(attempts))

    def _attach(self, node_id: int, connection: Connection) -> None:
        """Hand the connection to the flow, once."""
        if self._attached.get(node_id) != connection.id:
            self._attached[node_id] = connection.id
            version = connection.version_for(ProduceRequest)
            self._flow.attach(connection.id, version, node_id, connection.address)

    # ---- holds -----------------------------------------------------------------------------------------------------

    def _held(self, held: Held) -> None:
        asked, _ = self._routes.pop((held.topic, held.partition), (-1, -1))
        verdict = judge(held, idempotent=self._config.enable_idempotence)
        if (held.topic, held.partition) in self._anew:
            self._anew.discard((held.topic, held.partition))
            verdict = verdict._replace(bump=True)
        if self._events:
            tell_hold(self._events, held, verdict, gapless=self._config.gapless)
        for note in verdict.notes:
            _log.warning("%s-%d: %s", held.topic, held.partition, note)
        if held.cause.startswith("lost") and held.batches:
            go_again = (
                "under their sequences"
                if self._config.enable_idempotence
                else "and may be there twice, since the producer is not idempotent"
            )
            self._summary.add(
                logging.WARNING,
                f"connection {held.cause} with {{count}} batches of {{places}} in flight; they go again {go_again}",
                f"{held.topic}-{held.partition}",
                len(held.batches),
            )
        self._spawn(
            self._release(held, verdict, asked), f"release of {held.topic}-{held.partition}"
        )

    async def _release(self, held: Held, verdict: Verdict, asked: int) -> None:
        """End the hold at once, so that what failed is known; the partition gets its route after the backoff.

        asked: The node that answered, -1 where it was none.
        """
        topic, partition = held.topic, held.partition
        backoff = verdict.backoff
        if verdict.leader is not None:
            node_id, epoch = verdict.leader
            self._tell_moved(topic, partition, node_id, epoch)
            self._cluster.apply_leader_hint(topic, partition, node_id, epoch, verdict.node)
            known = self._cluster.snapshot.partition(topic, partition)
            # Two nodes that name each other while a leader is elected are not asked in turn without a pause.
            backoff = known is None or known.leader in (-1, asked)
        elif verdict.refresh:
            self._cluster.refresh_soon(f"{topic}-{partition} is held: {held.cause}")
        if verdict.bump and self._following(held.identity) is None:
            await self._release_and_renew(held, verdict)
            return
        identity = self._identity_after(held.identity) if verdict.bump else None
        if identity is not None:
            self._events.tell(
                "identity.bumped",
                topic=topic,
                partition=partition,
                producer_id=identity[0],
                epoch=identity[1],
            )
        self._routing.add((topic, partition))
        try:
            self._flow.release(topic, partition, verdict.decisions, None, identity)
            if backoff and held.batches:
                attempts = max(batch["attempts"] for batch in held.batches)
                await asyncio.sleep(self._backoff.delay(attempts))
        except BaseException:
            self._routing.discard((topic, partition))
            raise
        await self._route(topic, partition)

    async def _release_and_renew(self, held: Held, verdict: Verdict) -> None:
        """End the hold at once where the epochs are used up; the partition is held again when there is a new producer id.

        It gets no route meanwhile, so nothing goes under the identity that is given up.
        """
        place = (held.topic, held.partition)
        self._routing.add(place)
        try:
            self._flow.release(*place, verdict.decisions, None, None)
            producer_id, epoch = await self._acquire_identity()
            if self._closed:
                return
            self.identity_given(producer_id, epoch)
            self._anew.add(place)
            self._flow.hold(*place)
        finally:
            self._routing.discard(place)

    def _following(self, used: tuple[int, int] | None) -> ProducerIdentity | None:
        current = ProducerIdentity(*used) if used is not None else NO_IDENTITY
        return self._identities.after(current)

    def _identity_after(self, used: tuple[int, int] | None) -> tuple[int, int, int]:
        """The identity under which a partition starts anew: the next epoch, or the new producer id after the last one."""
        following = self._following(used) or self._identities.base
        return (following.producer_id, following.epoch, 0)

    # ---- the rest --------------------------------------------------------------------------------------------------

    def _report_failure(
        self,
        topic: str,
        partition: int,
        records: int,
        kind: str,
        code: int,
        message: str,
        outcome: str,
    ) -> None:
        """A failure that nobody may be looking at is at least in the log."""
        error = errors.from_native(kind, code, message)
        self._events.tell(
            "batch.expired" if kind == "delivery_timeout" else "batch.failed",
            topic=topic,
            partition=partition,
            records=records,
            error=type(error).__name__,
            reason=str(error),
            outcome=outcome,
        )
        self._summary.add(
            logging.ERROR,
            f"{{count}} messages to {{places}} failed ({outcome}): {error}",
            topic if partition < 0 else f"{topic}-{partition}",
            records,
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
        self._events.tell(
            "batch.acked",
            topic=topic,
            partition=partition,
            records=records,
            size_bytes=size_bytes,
            base_offset=base_offset,
            attempts=attempts,
            age_ms=age_s * 1000,
        )

    def _tell_moved(self, topic: str, partition: int, node_id: int, epoch: int) -> None:
        self._events.tell(
            "partition.moved",
            topic=topic,
            partition=partition,
            node_id=node_id,
            leader_epoch=epoch,
        )

    def _tell_throttled(self, connection_id: int, throttle_ms: int) -> None:
        nodes = [node for node, attached in self._attached.items() if attached == connection_id]
        for node_id in nodes:
            self._events.tell("connection.throttled", node_id=node_id, throttle_ms=throttle_ms)

    def _spawn(self, coroutine: Any, name: str) -> None:
        task = self._engine.spawn(coroutine, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
