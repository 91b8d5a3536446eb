"""The outbox: keeps the partitions of one producer flowing, and decides for those that are held.

Between batch and request on the data's way. Rust sends the batches of a routed partition and asks nobody; this module
gives the routes (topic metadata, connection to the leader, producer identity) and ends the holds. It runs on the
engine thread only; the decisions themselves are in `verdict`, which is pure.

References: KIP-98, KIP-360, KIP-480, KIP-951; Java: Sender, RecordAccumulator, TransactionManager.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.metadata import leads
from ottla.observe.log import ClientLog
from ottla.observe.summary import Summary
from ottla.producer.hold_events import tell_hold
from ottla.producer.hold_log import lines_of
from ottla.producer.identity import NO_IDENTITY, Identities, ProducerIdentity
from ottla.producer.rack import Rack
from ottla.producer.room_log import RoomLog
from ottla.producer.topics import Topics, set_trouble, topic_error
from ottla.producer.verdict import Held, Verdict, judge, let_fail
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

_PATIENCE = 2
"""So often in a row a leader may be out of reach before it is a warning: most have moved by then."""


_ALL = 1_000_000
"""More than any producer has partitions."""


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
        self._told_identity = False
        """Whether the log says that there is no producer id."""
        self._log = ClientLog("outbox", config.who)
        rack = Rack(config.client_rack if config.partitioner_rack_aware else None, self._log)
        self._topics = Topics(cluster, flow, config, rack, self._log, self._spawn, engine.clock)
        self._routes: dict[tuple[str, int], tuple[int, int]] = {}
        """(topic, partition) -> (node id, leader epoch) that it was routed by."""
        self._attached: dict[int, int] = {}
        """node id -> id of the connection that the flow owns."""
        self._addresses: dict[int, str] = {}
        """node id -> where it was reached last."""
        self._anew: set[tuple[str, int]] = set()
        """Partitions that are held once more, to begin under the producer id that was waited for."""
        self._waiting: set[str] = set()
        """Partitions without a leader that can be reached, as the log names them."""
        self._routing: set[tuple[str, int]] = set()
        """Partitions for which a task is finding a route right now."""
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._tasks: set[asyncio.Task[Any]] = set()
        """What looks for topics and routes right now."""
        self._summary = Summary(
            self._log, lambda s, call: asyncio.get_running_loop().call_later(s, call)
        )
        self._room = RoomLog(
            flow,
            ClientLog("accumulator", config.who),
            config.max_block_ms,
            lambda s, call: asyncio.get_running_loop().call_later(s, call),
            engine.clock.now,
        )
        self._closed = False

    # ---- events ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve the flow's events."""
        self._cluster.listen(self._metadata_changed)
        self._engine.add_drain(self.drain)
        # What was told before: its bell has rung, and where no broker can be reached nothing else rings.
        self.drain()

    def stop(self) -> None:
        """Serve what is still there; no event is served from here, and nothing is looked for any more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self.drain()
        self._reports.call_settled()
        self._summary.stop()
        self._room.stop()
        self._flow.detach()
        self._engine.remove_drain(self.drain)
        self._cluster.unlisten(self._metadata_changed)

    def drain(self) -> None:
        """Serve what the flow has told since the last time; what cannot be served loses nothing else."""
        for event in self._flow.drain():
            try:
                self._serve(event)
            except Exception:
                self._log.exception("a bug: the event %r could not be served", event[0])

    def _serve(self, event: tuple[Any, ...]) -> None:
        kind = event[0]
        if self._closed and kind in ("topic", "wanted", "held"):
            return  # Nothing begins any more, and what waited has its outcome.
        if kind == "topic":
            self._topics.want(event[1])
        elif kind == "wanted":
            self._route_soon(event[1], event[2])
        elif kind == "held":
            held = Held(*event[1:])
            self._spawn(self._end_hold(held), f"release of {held.topic}-{held.partition}")
        elif kind == "failed":
            self._report_failure(*event[1:])
        elif kind == "callbacks":
            self._reports.call_soon(event[1])
        elif kind == "unawaited":
            self._tell_unawaited(event[1])
        elif kind == "outcomes":
            self._reports.tell_soon()
        elif kind == "acked":
            self._tell_acked(*event[1:])
        elif kind == "lacking":
            self._room.lacking(event[1])
        elif kind in ("full", "free"):
            self._events.tell(
                "buffer.full" if kind == "full" else "buffer.free",
                used_bytes=event[1],
                capacity_bytes=self._config.buffer_memory,
            )
        elif kind == "throttled":
            self._tell_throttled(event[1], event[2])

    def _tell_unawaited(self, sends: Sequence[tuple[str, str, int]]) -> None:
        """Sends of an event loop were dropped before anybody awaited them: (method, topic, count)."""
        for method, topic, count in sends:
            self._summary.add(
                logging.WARNING,
                f"{{count:call}} of {method}() never awaited ({{places}}): their messages are lost, since what is not accepted at "
                f"the call is accepted by its await only. Write `await producer.{method}(...)`",
                topic or "several topics",
                count,
            )

    # ---- identity --------------------------------------------------------------------------------------------------

    def identity_given(self, producer_id: int, epoch: int) -> None:
        """The broker gave this producer its id: the flow may drain."""
        self._identities.given(producer_id, epoch)
        self._flow.set_identity(producer_id, epoch)
        trouble = self._health.report().get("identity")
        self._health.recovered("identity")
        self._summary.over(self._without_identity)
        if trouble is not None and self._told_identity:
            passed = self._engine.clock.now() - trouble.since
            self._log.info("the producer has its id, after %.1f s: what waits goes", passed)
        self._told_identity = False
        self._events.tell("identity.given", producer_id=producer_id, epoch=epoch)
        self._topics.trouble(None)

    def no_identity(self, why: errors.Error, *, aloud: bool) -> None:
        """There is no producer id, so nothing can be sent: messages that expire meanwhile say so.

        aloud: Whether the log has no line about it yet. Where no broker can be reached at all, the cluster says that.
        """
        aloud = aloud and "cluster" not in self._health.report()
        text = f"no producer id: {errors.line_of(why)}"
        self._told_identity |= aloud
        self._health.trouble("identity", text, self._engine.clock.now())
        self._topics.trouble(why, text)
        self._summary.add(
            logging.WARNING if aloud else logging.DEBUG,
            f"{text}. With enable_idempotence nothing is sent without one: it is asked for again until there is one",
            "identity",
            still=self._without_identity,
        )

    def _without_identity(self) -> tuple[str, ...]:
        return tuple(part for part in self._health.report() if part == "identity")

    # ---- routes ----------------------------------------------------------------------------------------------------

    def _metadata_changed(
        self, old: MetadataSnapshot, new: MetadataSnapshot, _changes: object
    ) -> None:
        """Follow leaders: a partition that flows to a node that no longer leads it is held, and released to the new one."""
        self._topics.changed(new)
        for (topic, partition), (node_id, epoch) in list(self._routes.items()):
            known = new.partition(topic, partition)
            if known is None or known.leader < 0:
                continue
            if known.leader != node_id and known.leader_epoch >= epoch:
                del self._routes[(topic, partition)]
                self._tell_moved(topic, partition, known.leader, known.leader_epoch)
                self._flow.hold(topic, partition)

    def _route_soon(self, topic: str, partition: int) -> None:
        key = (topic, partition)
        if key not in self._routing and not self._closed:
            self._routing.add(key)
            self._spawn(self._route(topic, partition), f"route of {topic}-{partition}")

    async def _route(self, topic: str, partition: int) -> None:
        """Give the partition its route, also past a bug: the flow asks for one only once, and waits for it."""
        attempts = 0
        try:
            while not self._closed:
                try:
                    await self._route_once(topic, partition)
                    return
                except Exception:
                    attempts += 1
                    self._log.exception(
                        "a bug: no route to %s-%d (attempt %d): it is looked for again",
                        topic,
                        partition,
                        attempts,
                    )
                    await asyncio.sleep(self._backoff.delay(attempts))
        finally:
            self._routing.discard((topic, partition))

    async def _route_once(self, topic: str, partition: int) -> None:
        connection, node_id, epoch = await self._leader_connection(topic, partition)
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

    async def _leader_connection(self, topic: str, partition: int) -> tuple[Connection, int, int]:
        """The produce connection to the partition's leader, however long that takes: the flow expires what waits."""
        attempts = 0
        told = False
        while True:
            known = self._cluster.snapshot.partition(topic, partition)
            if known is None or known.leader < 0:
                why, text = self._without_leader(topic, partition)
            else:
                try:
                    connection = await self._cluster.connection_while(
                        known.leader, Role.PRODUCE, leads(topic, partition, known.leader)
                    )
                    self._attach(known.leader, connection)
                    self._has_leader(f"{topic}-{partition}", known.leader, told)
                    return connection, known.leader, known.leader_epoch
                except errors.Error as error:
                    why = error
                    text = f"no connection to node {known.leader}: {errors.line_of(error)}"
            set_trouble(self._flow, topic, why, partition, text=text)
            told |= self._tell_waiting(topic, partition, text, attempts)
            # What a failure of it means the cluster tells; here the leader is looked for again in any case.
            with contextlib.suppress(errors.Error):
                await self._cluster.refresh(f"no leader of {topic}-{partition} can be reached")
            attempts += 1
            await asyncio.sleep(self._backoff.delay(attempts))

    def _without_leader(self, topic: str, partition: int) -> tuple[errors.Error | None, str]:
        """Why a partition has no leader, as an exception where there is one, and in words."""
        snapshot = self._cluster.snapshot
        there = snapshot.topic(topic)
        if there is None:
            refusal = topic_error(snapshot, topic)
            return refusal, errors.line_of(refusal)
        if partition not in there.partitions:
            # It was made anew with fewer.
            return None, f"partition {partition} of {len(there.partitions)} does not exist"
        return None, f"partition {partition} has no leader"

    def _tell_waiting(self, topic: str, partition: int, text: str, attempts: int) -> bool:
        """A partition has no leader that can be reached; returns whether the log has it as a warning.

        Where no broker can be reached at all, the cluster says that, and it is not said of each partition once more.
        """
        aloud = attempts >= _PATIENCE and "cluster" not in self._health.report()
        self._waiting.add(f"{topic}-{partition}")
        self._summary.add(
            logging.WARNING if aloud else logging.DEBUG,
            f"{{places}}: {text}. What is sent there waits; the leader is looked for again, and each message fails once "
            f"delivery_timeout_ms ({self._config.delivery_timeout_ms:g}) have passed",
            f"{topic}-{partition}",
            still=self._places_waiting,
        )
        return aloud

    def _has_leader(self, place: str, node_id: int, told: bool) -> None:
        """A partition's leader is connected to. told: Whether the log says that it was not."""
        if place in self._waiting:
            self._waiting.discard(place)
            self._summary.over(self._places_waiting)
        if told:
            self._summary.add(logging.INFO, f"{{places}}: goes to {self._node(node_id)} now", place)

    def _places_waiting(self) -> Collection[str]:
        return self._waiting

    def _node(self, node_id: int) -> str:
        """A node for people."""
        address = self._addresses.get(node_id)
        if address is None:
            return f"node {node_id}" if node_id >= 0 else "the broker"
        return f"node {node_id} at {address}"

    def _attach(self, node_id: int, connection: Connection) -> None:
        """Hand the connection to the flow, once."""
        self._addresses[node_id] = connection.address
        if self._attached.get(node_id) != connection.id:
            self._attached[node_id] = connection.id
            version = connection.version_for(ProduceRequest)
            self._flow.attach(connection.id, version, node_id, connection.address)

    # ---- holds -----------------------------------------------------------------------------------------------------

    async def _end_hold(self, held: Held) -> None:
        """Decide about a held partition and let it flow again. It gets its route after the backoff; the hold ends at once, so
        that what failed is known.

        The flow tells of a hold once and waits for its end. So whatever raises on the way there, which is a bug, the hold ends:
        its messages fail with the outcome that their attempts leave, and what is behind them goes on.
        """
        place = (held.topic, held.partition)
        asked, _ = self._routes.pop(place, (-1, -1))
        self._routing.add(place)
        released = False
        try:
            verdict = self._judge(held, asked)
            pause = self._follow(held, verdict, asked)
            renew = verdict.bump and self._following(held.identity) is None
            bumped = self._bump(held) if verdict.bump and not renew else None
            self._flow.release(*place, verdict.decisions, None, bumped)
            released = True
            if renew:
                await self._renew(held)
            elif pause:
                await asyncio.sleep(pause)
        except Exception as error:
            if self._closed:
                return
            self._log.exception(
                "a bug: the hold of %s-%d (%s) did not end as it should: %s",
                *place,
                held.reason,
                "it goes on" if released else "what it holds fails, what is behind goes on",
            )
            if not released:
                await self._fail_held(held, error)
        finally:
            self._routing.discard(place)
        if not self._closed and place not in self._anew:
            self._route_soon(*place)

    def _judge(self, held: Held, asked: int) -> Verdict:
        """Decide, and tell listeners and the log. asked: The node that answered, -1 where it was none."""
        place = (held.topic, held.partition)
        idempotent, gapless = self._config.enable_idempotence, self._config.gapless
        verdict = judge(held, idempotent=idempotent)
        if place in self._anew:
            self._anew.discard(place)
            verdict = verdict._replace(bump=True)
        if self._events:
            tell_hold(self._events, held, verdict, gapless=gapless)
        node = self._node(asked)
        for told in lines_of(held, verdict, node, idempotent=idempotent, gapless=gapless):
            still = self._places_refused if told.lasts else None
            name = f"{held.topic}-{held.partition}"
            self._summary.add(told.level, told.line, name, told.many, still)
        return verdict

    def _places_refused(self) -> Collection[str]:
        """The partitions whose messages something keeps from going on."""
        holders = self._flow.budget(_ALL)["holders"]
        return {f"{one['topic']}-{one['partition']}" for one in holders if not one["moving"]}

    def _follow(self, held: Held, verdict: Verdict, asked: int) -> float:
        """Follow the leader that the broker named, or have it looked for; returns the seconds to wait before sending again."""
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
            self._cluster.refresh_soon(f"{topic}-{partition} is held: {held.reason}")
        if not (backoff and held.batches):
            return 0.0
        return self._backoff.delay(max(batch["attempts"] for batch in held.batches))

    async def _fail_held(self, held: Held, error: Exception) -> None:
        """End a hold about which nothing could be decided: what it holds fails, since nothing is known to be right to send."""
        decisions = let_fail(held, f"a bug of the client: {errors.line_of(error)}")
        attempts = 0
        while not self._closed:
            try:
                self._flow.release(held.topic, held.partition, decisions, None, None)
                return
            except Exception:
                attempts += 1
                self._log.exception("a bug: %s-%d stays held", held.topic, held.partition)
                await asyncio.sleep(self._backoff.delay(attempts))

    async def _renew(self, held: Held) -> None:
        """The epochs are used up: the partition, whose hold has ended, is held again once there is a new producer id.

        It gets no route meanwhile, so nothing goes under the identity that is given up.
        """
        place = (held.topic, held.partition)
        producer_id, epoch = await self._acquire_identity()
        if self._closed:
            return
        self.identity_given(producer_id, epoch)
        self._flow.hold(*place)
        self._anew.add(place)

    def _following(self, used: tuple[int, int] | None) -> ProducerIdentity | None:
        current = ProducerIdentity(*used) if used is not None else NO_IDENTITY
        return self._identities.after(current)

    def _identity_after(self, used: tuple[int, int] | None) -> tuple[int, int, int]:
        """The identity under which a partition starts anew: the next epoch, or the new producer id after the last one."""
        following = self._following(used) or self._identities.base
        return (following.producer_id, following.epoch, 0)

    def _bump(self, held: Held) -> tuple[int, int, int]:
        identity = self._identity_after(held.identity)
        self._events.tell(
            "identity.bumped",
            topic=held.topic,
            partition=held.partition,
            producer_id=identity[0],
            epoch=identity[1],
        )
        return identity

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
        cause: tuple[str, int, str] | None,
    ) -> None:
        """A failure that nobody may be looking at is at least in the log."""
        error = errors.from_native(kind, code, message, cause=cause)
        text = errors.line_of(error)
        self._events.tell(
            "batch.expired" if kind == "delivery_timeout" else "batch.failed",
            topic=topic,
            partition=partition,
            records=records,
            error=type(error).__name__,
            reason=text,
            outcome=outcome,
        )
        self._summary.add(
            logging.ERROR,
            f"{{count:message}} to {{places}} failed (outcome {outcome}): {text}",
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
            self._summary.add(
                logging.INFO,
                "over its quota, so nothing is sent: {places}",
                f"to {self._node(node_id)} for {throttle_ms} ms",
            )

    def _spawn(self, coroutine: Any, name: str) -> None:
        task = self._engine.spawn(coroutine, f"{self._config.who}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
