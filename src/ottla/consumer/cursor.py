"""The cursors: where each assigned partition stands, and what lets it flow or holds it.

Between inbox and record on the data's way. Rust fetches a routed partition from its position and asks nobody; this
module gives positions (committed offset, reset policy, seek) and routes (the connection to the leader), and decides
about partitions that were held. A position is a concrete offset from assignment on; it is reset only on the current
leader's own word that it is out of range, and never in silence; a follower that the leader named (KIP-392) is believed
as long as it has records. Engine thread only.

References: KIP-79, KIP-227, KIP-320, KIP-392, KIP-951, KIP-1106; Java: SubscriptionState, OffsetsRequestManager.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.cluster.metadata import leads
from ottla.consumer.group.link import UNREACHABLE
from ottla.consumer.list_offsets import EARLIEST, LATEST, OffsetFinder
from ottla.consumer.reset import ResetPolicy
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.log import ClientLog
from ottla.observe.summary import Summary
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.fetch import FetchRequest
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla._native import FetchFlow
    from ottla.cluster.cluster import Cluster
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.offsets import GroupOffsets
    from ottla.engine.thread import Engine
    from ottla.wire.connection import Connection


_UNKNOWN_ID = bytes(16)
_STEADY_S = 5.0
"""A partition that flowed this long starts its backoff over when it is held."""
_REPLICA = "replica:"


class Cursor:
    """One assigned partition."""

    __slots__ = (
        "attempts",
        "positioned",
        "refused",
        "replica",
        "route",
        "routed_at",
        "routing",
        "seeks",
        "topic_id",
        "tp",
    )

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.topic_id = _UNKNOWN_ID
        """Of the topic that its position is in; a topic of the same name that was made anew has another one."""
        self.positioned = False
        self.seeks = 0
        """Counts the positions that were set: an answer to a question from before the last one is dropped."""
        self.refused = False
        """It got no position because the user wants an error instead: only a seek gives it one."""
        self.route: tuple[int, int] | None = None
        """(leader's node id, leader epoch) it was routed by."""
        self.replica: int | None = None
        """Node id of the follower that the leader named to fetch from."""
        self.routing = False
        self.routed_at = 0.0
        self.attempts = 0
        """Holds in a row with little time between them, for the backoff."""

    def __repr__(self) -> str:
        return f"<Cursor {self.tp.topic}-{self.tp.partition} positioned={self.positioned} route={self.route}>"


class Cursors:
    """All assigned partitions of one consumer."""

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        flow: FetchFlow,
        config: ConsumerConfig,
        offsets: GroupOffsets | None,
        finder: OffsetFinder,
    ) -> None:
        self._engine = engine
        self._log = ClientLog("cursor", config.who)
        self._summary = Summary(self._log, lambda s, call: engine.loop.call_later(s, call))
        self._cluster = cluster
        self._flow = flow
        self._offsets = offsets
        self._finder = finder
        self._reset_policy = ResetPolicy.parse(config.auto_offset_reset)
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._cursors: dict[TopicPartition, Cursor] = {}
        self._attached: dict[int, int] = {}
        self._positioned: list[tuple[set[TopicPartition], asyncio.Future[None]]] = []
        self._closed = False
        self._replica_lease_s = config.metadata_max_age_ms / 1000

    def start(self) -> None:
        """Begin to serve the flow's events."""
        self._cluster.listen(self._metadata_changed)
        self._engine.add_drain(self.drain)

    def stop(self) -> None:
        """No event is served from here."""
        self._closed = True
        self._summary.stop()
        self._engine.remove_drain(self.drain)
        self._cluster.unlisten(self._metadata_changed)
        self._cursors.clear()
        self._wake_positioned()

    @property
    def assigned(self) -> set[TopicPartition]:
        """What is assigned now."""
        return set(self._cursors)

    # ---- assignment ----------------------------------------------------------------------------------------------------

    async def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Take these partitions in addition; they flow as soon as their positions are known."""
        added = [tp for tp in partitions if tp not in self._cursors]
        for tp in added:
            self._cursors[tp] = Cursor(tp)
            # At once, so that a pause right after this holds; the topic's id comes with its metadata.
            self._flow.assign(tp.topic, _UNKNOWN_ID, tp.partition)
        self._cluster.want_topics({tp.topic for tp in added})
        self._engine.spawn(
            self._begin([self._cursors[tp] for tp in added]), "start of assigned partitions"
        )

    def unassign(self, partitions: Iterable[TopicPartition]) -> None:
        """Give these partitions up: nothing of them is handed over from here."""
        for tp in partitions:
            if self._cursors.pop(tp, None) is not None:
                self._flow.unassign(*tp)
        self._wake_positioned()

    async def _begin(self, cursors: list[Cursor]) -> None:
        """Find where to start, again and again until each has a position; one that is not known keeps back no other."""
        attempts = 0
        while waiting := [
            c for c in cursors if self._current(c) and not c.positioned and not c.refused
        ]:
            if attempts:
                await asyncio.sleep(self._backoff.delay(attempts))
            attempts += 1
            if any(self._cluster.snapshot.partition(*c.tp) is None for c in waiting):
                await self._refresh("assigned partitions are not known yet")
            known = [c for c in waiting if self._cluster.snapshot.partition(*c.tp) is not None]
            self._tell_unknown([c for c in waiting if c not in known], attempts)
            if known:
                await self._start_at(known)

    async def _refresh(self, reason: str) -> None:
        try:
            await self._cluster.refresh(reason)
        except errors.Error as error:
            self._log.debug("metadata could not be had: %s", errors.line_of(error))

    def _tell_unknown(self, cursors: list[Cursor], attempts: int) -> None:
        """Say once that a topic is not there (it may come), and raise what is refused for good."""
        for cursor in cursors:
            topic, partition = cursor.tp
            code = self._cluster.snapshot.topic_error(topic)
            if attempts == 1:
                why = errors.line_of(errors.for_code(code)) if code else "no metadata of it yet"
                self._log.warning(
                    "%s-%d is assigned, and is not known to the cluster: %s. It is asked for again until it is there",
                    topic,
                    partition,
                    why,
                )
            if code and not errors.for_code(code).retriable:
                self._fail([cursor], errors.for_code(code, topic=topic, partition=partition))

    async def _start_at(self, cursors: list[Cursor]) -> None:
        """Set the positions: committed offsets, and for partitions without one what the reset policy says."""
        wanted = [cursor.tp for cursor in cursors]
        committed: Mapping[TopicPartition, OffsetAndMetadata | None] = dict.fromkeys(wanted)
        try:
            if self._offsets is not None:
                committed = await self._offsets.committed(wanted)
            self._take_starts(cursors, committed)
            without = [c for c in cursors if committed.get(c.tp) is None and not c.positioned]
            if without and self._reset_policy.raises:
                self._refuse(without, "no committed offset")
            elif without:
                time_ms = self._reset_policy.time_ms(time.time())
                found = await self._find([c.tp for c in without], time_ms)
                self._take_starts(
                    without, {tp: OffsetAndMetadata(offset, -1) for tp, offset in found.items()}
                )
        except errors.Error as error:
            if _may_pass(error):
                self._log.warning(
                    "no position for %d partitions yet, trying on: %s", len(cursors), error
                )
            else:
                self._fail([c for c in cursors if not c.positioned], error)

    def _take_starts(
        self, cursors: list[Cursor], starts: Mapping[TopicPartition, OffsetAndMetadata | None]
    ) -> None:
        for cursor in cursors:
            start = starts.get(cursor.tp)
            if start is not None and not cursor.positioned and self._current(cursor):
                self._set_position(cursor, start)

    def _refuse(self, cursors: list[Cursor], reason: str) -> None:
        """The user wants an error instead of a reset: raise it once and wait for a seek."""
        for cursor in cursors:
            cursor.refused = True
            topic, partition = cursor.tp
            error = errors.OffsetOutOfRange(
                f"{reason} and auto_offset_reset is none", topic=topic, partition=partition
            )
            self._fail([cursor], error)

    async def _find(
        self, partitions: list[TopicPartition], time_ms: int
    ) -> dict[TopicPartition, int]:
        """Offsets for a time; where no record is that young, the end."""
        found = await self._finder.find(dict.fromkeys(partitions, time_ms))
        none_yet = [tp for tp, answer in found.items() if answer.offset < 0]
        ends = await self._finder.find(dict.fromkeys(none_yet, LATEST)) if none_yet else {}
        return {tp: (ends.get(tp) or answer).offset for tp, answer in found.items()}

    # ---- positions -----------------------------------------------------------------------------------------------------

    def _set_position(self, cursor: Cursor, start: OffsetAndMetadata) -> None:
        cursor.positioned = True
        cursor.seeks += 1
        cursor.refused = False
        self._flow.position(*cursor.tp, start.offset, start.leader_epoch)
        self._log.debug("%s-%d starts at offset %d", *cursor.tp, start.offset)
        self._wake_positioned()
        self._route_soon(cursor)

    async def seek(self, tp: TopicPartition, position: OffsetAndMetadata) -> None:
        """Go on at this offset; what was fetched for the earlier position is not handed over."""
        self._set_position(self._require(tp), position)

    async def seek_to_time(self, partitions: Iterable[TopicPartition], time_ms: int) -> None:
        """Go on at the first record at or after a time (or at EARLIEST or LATEST)."""
        wanted = list(partitions)
        for tp in wanted:
            self._require(tp)
        for tp, offset in (await self._find(wanted, time_ms)).items():
            await self.seek(tp, OffsetAndMetadata(offset, -1))

    async def wait_positioned(self, partitions: Iterable[TopicPartition]) -> None:
        """Until each of them has a position or is no longer assigned."""
        missing = {
            tp for tp in partitions if (c := self._cursors.get(tp)) is not None and not c.positioned
        }
        if missing:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._positioned.append((missing, future))
            await future

    def _wake_positioned(self) -> None:
        still: list[tuple[set[TopicPartition], asyncio.Future[None]]] = []
        for missing, future in self._positioned:
            left = {
                tp
                for tp in missing
                if (c := self._cursors.get(tp)) is not None and not c.positioned
            }
            if left and not future.done():
                still.append((left, future))
            elif not future.done():
                future.set_result(None)
        self._positioned = still

    def _require(self, tp: TopicPartition) -> Cursor:
        cursor = self._cursors.get(tp)
        if cursor is None:
            raise errors.Error(f"{tp.topic}-{tp.partition} is not assigned to this consumer")
        return cursor

    def _current(self, cursor: Cursor) -> bool:
        return not self._closed and self._cursors.get(cursor.tp) is cursor

    def _fail(self, cursors: list[Cursor], error: BaseException) -> None:
        """The next take of the partition raises the error, once; a second one is not queued before that."""
        for cursor in cursors:
            if self._current(cursor):
                self._flow.fail(*cursor.tp, error)
                self._log.error("%s-%d: %s", *cursor.tp, error)

    # ---- routes --------------------------------------------------------------------------------------------------------

    def _route_soon(self, cursor: Cursor, delay: float = 0.0) -> None:
        if not cursor.routing and cursor.route is None:
            cursor.routing = True
            self._engine.spawn(
                self._route(cursor, delay), f"route of {cursor.tp.topic}-{cursor.tp.partition}"
            )

    async def _route(self, cursor: Cursor, delay: float) -> None:
        """Find the leader, connect, and let the partition flow; repeated until it does or is given up."""
        attempts = 0
        try:
            while self._current(cursor):
                if delay:
                    await asyncio.sleep(delay)
                if await self._try_route(cursor, quiet=attempts > 0):
                    return
                attempts += 1
                delay = self._backoff.delay(attempts)
                await self._refresh(
                    f"{cursor.tp.topic}-{cursor.tp.partition} has no leader to fetch from"
                )
        finally:
            cursor.routing = False

    async def _try_route(self, cursor: Cursor, *, quiet: bool) -> bool:
        """One attempt; True when there is nothing more to do."""
        level, name = logging.DEBUG if quiet else logging.WARNING, "{}-{}".format(*cursor.tp)
        known = self._cluster.snapshot.partition(*cursor.tp)
        if known is None or known.leader < 0:
            line = "{places} has no leader; asked again for it"
            self._summary.add(level, line, name, still=self._without_route)
            return False
        node_id = known.leader if cursor.replica is None else cursor.replica
        try:
            connection = await self._cluster.connection_while(
                node_id, Role.FETCH, leads(*cursor.tp, known.leader)
            )
        except errors.Error as error:
            line = f"no connection to node {node_id} to fetch {{places}} from: {error}; it is tried again"
            self._summary.add(level, line, name, still=self._without_route)
            cursor.replica = None
            return False
        if self._current(cursor) and self._is_same_topic(cursor):
            self._attach(node_id, connection)
            cursor.route = (known.leader, known.leader_epoch)
            cursor.routed_at = self._engine.loop.time()
            self._flow.route(*cursor.tp, connection.id, known.leader_epoch)
        return True

    def _without_route(self) -> Collection[str]:
        """The partitions that are not fetched, as the log names them."""
        return {"{}-{}".format(*tp) for tp, cursor in self._cursors.items() if cursor.route is None}

    def _is_same_topic(self, cursor: Cursor) -> bool:
        """Tells the flow the topic's id. False where the topic was made anew: its position means nothing there."""
        topic, partition = cursor.tp
        info = self._cluster.snapshot.topic(topic)
        if info is None or info.topic_id in (_UNKNOWN_ID, cursor.topic_id):
            return True
        before, cursor.topic_id = cursor.topic_id, info.topic_id
        self._flow.assign(topic, info.topic_id, partition)
        if before == _UNKNOWN_ID:
            return True
        cursor.positioned = False
        self._engine.spawn(
            self._reset(cursor, f"topic {topic} was deleted and made anew"),
            f"reset of {topic}-{partition}",
        )
        return False

    def _attach(self, node_id: int, connection: Connection) -> None:
        if self._attached.get(node_id) != connection.id:
            self._attached[node_id] = connection.id
            self._flow.attach(connection.id, connection.version_for(FetchRequest))

    def _metadata_changed(
        self, _old: MetadataSnapshot, new: MetadataSnapshot, _changes: object
    ) -> None:
        for cursor in self._cursors.values():
            known = new.partition(*cursor.tp)
            if cursor.route is None or known is None or known.leader < 0:
                continue
            if known.leader != cursor.route[0] and known.leader_epoch >= cursor.route[1]:
                self._flow.hold(*cursor.tp)

    # ---- holds ---------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Serve what the flow has told since the last time."""
        for event in self._flow.drain():
            if event[0] == "held":
                self._held(*event[1:])

    def _held(
        self,
        topic: str,
        partition: int,
        cause: str,
        code: int,
        fetch_offset: int,
        leader: tuple[int, int] | None,
        node: tuple[str, int] | None,
        diverging: tuple[int, int] | None,
    ) -> None:
        cursor = self._cursors.get(TopicPartition(topic, partition))
        if cursor is None:
            return
        cursor.route = None
        if cause == "asked":
            self._route_soon(cursor)
        elif cause.startswith(_REPLICA):
            self._follow(cursor, int(cause.removeprefix(_REPLICA)))
        elif cursor.replica is not None:
            self._log.info("%s-%d: back to its leader: %s", topic, partition, _why(cause, code))
            cursor.replica = None
            self._cluster.refresh_soon(f"a follower refused {topic}-{partition}")
            self._route_soon(cursor, self._pause_after_hold(cursor))
        elif code == ErrorCode.OFFSET_OUT_OF_RANGE:
            reason = f"offset {fetch_offset} of {topic}-{partition} is out of range"
            self._engine.spawn(self._reset(cursor, reason), f"reset of {topic}-{partition}")
        elif diverging is not None:
            self._truncated(cursor, fetch_offset, diverging)
        elif leader is not None and leader[0] >= 0:
            self._cluster.apply_leader_hint(topic, partition, leader[0], leader[1], node)
            pause = self._pause_after_hold(cursor)
            self._route_soon(cursor, pause if cursor.attempts > 1 else 0.0)
        else:
            self._held_by_fault(cursor, cause, code)

    def _held_by_fault(self, cursor: Cursor, cause: str, code: int) -> None:
        """An error code or a lost connection: flow again after a pause, by what the metadata says then."""
        topic, partition = cursor.tp
        if code:
            error = errors.for_code(code, "fetch", topic=topic, partition=partition)
            if not error.retriable:
                self._fail([cursor], error)
        line = f"fetching {{places}} is held: {_why(cause, code)}; it goes on by what the metadata says then"
        self._summary.add(logging.INFO, line, f"{topic}-{partition}", still=self._without_route)
        self._cluster.refresh_soon(f"{topic}-{partition} is held: {cause}")
        self._route_soon(cursor, self._pause_after_hold(cursor))

    def _pause_after_hold(self, cursor: Cursor) -> float:
        """Longer each time for a partition that is held over and over."""
        if self._engine.loop.time() - cursor.routed_at > _STEADY_S:
            cursor.attempts = 0
        cursor.attempts += 1
        return self._backoff.delay(cursor.attempts)

    def _follow(self, cursor: Cursor, replica: int) -> None:
        """Fetch from the follower that the leader names, until it refuses or the lease ends; then the leader is asked again."""
        pause = self._pause_after_hold(cursor)
        again = cursor.attempts > 1
        cursor.replica = replica
        self._engine.loop.call_later(self._replica_lease_s, self._lease_over, cursor, replica)
        self._log.debug("%s-%d is fetched from node %d", *cursor.tp, replica)
        self._route_soon(cursor, pause if again else 0.0)

    def _lease_over(self, cursor: Cursor, replica: int) -> None:
        if self._current(cursor) and cursor.replica == replica:
            cursor.replica = None
            self._flow.hold(*cursor.tp)

    def _truncated(self, cursor: Cursor, fetch_offset: int, diverging: tuple[int, int]) -> None:
        """The leader's log parts from what was read before the position: records that were read are gone (KIP-320)."""
        epoch, end_offset = diverging
        topic, partition = cursor.tp
        reason = f"{topic}-{partition} was truncated: epoch {epoch} ends at {end_offset}, before the position {fetch_offset}"
        if self._reset_policy.raises:
            self._refuse([cursor], reason)
        elif end_offset < 0:
            self._engine.spawn(self._reset(cursor, reason), f"reset of {topic}-{partition}")
        else:
            self._log.warning("%s: going on there", reason)
            self._set_position(cursor, OffsetAndMetadata(end_offset, epoch))

    async def _reset(self, cursor: Cursor, reason: str) -> None:
        """There is nothing at the position: start over as the policy says, loudly, or raise."""
        if self._reset_policy.raises:
            self._refuse([cursor], reason)
            return
        seeks, attempts = cursor.seeks, 0
        found: dict[TopicPartition, int] = {}
        while not found and self._current(cursor) and cursor.seeks == seeks:
            try:
                found = await self._find([cursor.tp], self._reset_policy.time_ms(time.time()))
            except errors.Error as error:
                if not _may_pass(error):
                    self._fail([cursor], error)
                self._log.warning(
                    "%s, and no offset to reset to could be had yet: %s", reason, error
                )
                attempts += 1
                await asyncio.sleep(self._backoff.delay(attempts))
        if not self._current(cursor) or cursor.seeks != seeks:
            return
        offset = found[cursor.tp]
        self._log.warning(
            "%s: reset to %d (auto_offset_reset=%s)", reason, offset, self._reset_policy.name
        )
        self._set_position(cursor, OffsetAndMetadata(offset, -1))


def _may_pass(error: errors.Error) -> bool:
    """Whether asking again may bring another answer."""
    return isinstance(error, UNREACHABLE) or (
        isinstance(error, errors.KafkaError) and error.retriable
    )


def _why(cause: str, code: int) -> str:
    return f"{cause}, {errors.for_code(code)}" if code else cause


__all__ = ["EARLIEST", "LATEST", "Cursor", "Cursors"]
