"""The cursors: where each assigned partition stands, and what lets it flow or holds it.

Between inbox and record on the data's way. Rust fetches a routed partition from its position and asks nobody; this
module gives positions (committed offset, reset policy, seek) and routes (the connection to the leader), and decides
about partitions that were held. A position is a concrete offset from assignment on; it is reset only on the current
leader's own word that it is out of range, and never in silence. Engine thread only.

References: KIP-79, KIP-227, KIP-320, KIP-951, KIP-1106; Java: SubscriptionState, OffsetsRequestManager.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ottla import errors
from ottla.cluster.backoff import Backoff
from ottla.consumer.list_offsets import EARLIEST, LATEST, OffsetFinder
from ottla.consumer.reset import ResetPolicy
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.log import logger
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.fetch import FetchRequest
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla._native import FetchFlow
    from ottla.cluster.cluster import Cluster
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.config import ConsumerConfig
    from ottla.consumer.offsets import GroupOffsets
    from ottla.engine.thread import Engine
    from ottla.wire.connection import Connection

_log = logger("cursor")

_UNKNOWN_ID = bytes(16)


class Cursor:
    """One assigned partition."""

    __slots__ = ("attempts", "number", "positioned", "route", "routing", "tp")

    def __init__(self, tp: TopicPartition, number: int) -> None:
        self.tp = tp
        self.number = number
        """Different for every assignment: work begun for an earlier one finds out that it came too late."""
        self.positioned = False
        self.route: tuple[int, int] | None = None
        """(node id, leader epoch) it was routed by."""
        self.routing = False
        self.attempts = 0
        """Holds in a row without a success in between, for the backoff."""

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
        self._cluster = cluster
        self._flow = flow
        self._offsets = offsets
        self._finder = finder
        self._reset_policy = ResetPolicy.parse(config.auto_offset_reset)
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._cursors: dict[TopicPartition, Cursor] = {}
        self._attached: dict[int, int] = {}
        self._numbers = itertools.count(1)
        self._positioned: list[tuple[set[TopicPartition], asyncio.Future[None]]] = []
        self._closed = False
        self.on_reset: Callable[[TopicPartition, int, str], None] | None = None
        """Told (partition, new offset, reason) after every reset."""

    def start(self) -> None:
        """Begin to serve the flow's events."""
        self._cluster.listen(self._metadata_changed)
        self._engine.add_drain(self.drain)

    def stop(self) -> None:
        """No event is served from here."""
        self._closed = True
        self._engine.remove_drain(self.drain)
        self._cluster.unlisten(self._metadata_changed)
        self._cursors.clear()

    @property
    def assigned(self) -> set[TopicPartition]:
        """What is assigned now."""
        return set(self._cursors)

    # ---- assignment ----------------------------------------------------------------------------------------------------

    async def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Take these partitions in addition; they flow as soon as their positions are known."""
        added = [tp for tp in partitions if tp not in self._cursors]
        for tp in added:
            self._cursors[tp] = Cursor(tp, next(self._numbers))
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
        """Make the partitions known to the flow once their topics are, then find where to start."""
        await self._await_topics(cursors)
        alive = [cursor for cursor in cursors if self._current(cursor)]
        for cursor in alive:
            known = self._cluster.snapshot.topic(cursor.tp.topic)
            if known is not None:
                self._flow.assign(cursor.tp.topic, known.topic_id, cursor.tp.partition)
        try:
            starts = await self._starting_points([c for c in alive if not c.positioned])
        except errors.Error as error:
            self._fail([c for c in alive if not c.positioned], error)
            return
        for cursor in alive:
            if not cursor.positioned and cursor.tp in starts:
                self._set_position(cursor, starts[cursor.tp])

    async def _await_topics(self, cursors: list[Cursor]) -> None:
        attempts = 0
        while any(
            self._current(c) and self._cluster.snapshot.partition(*c.tp) is None for c in cursors
        ):
            if attempts:
                await asyncio.sleep(self._backoff.delay(attempts))
            attempts += 1
            try:
                await self._cluster.refresh("assigned partitions are not known yet")
            except errors.Error as error:
                _log.debug("metadata could not be had: %s", error)

    async def _starting_points(
        self, cursors: list[Cursor]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed offsets, and for partitions without one what the reset policy says."""
        wanted = [cursor.tp for cursor in cursors]
        committed: Mapping[TopicPartition, OffsetAndMetadata | None] = dict.fromkeys(wanted)
        if self._offsets is not None:
            committed = await self._offsets.committed(wanted)
        starts = {tp: offset for tp, offset in committed.items() if offset is not None}
        without = [tp for tp in wanted if tp not in starts]
        if without and self._reset_policy.raises:
            raise errors.OffsetOutOfRange(
                f"no committed offset and auto_offset_reset is none: {', '.join(f'{t}-{p}' for t, p in without)}"
            )
        if without:
            time_ms = self._reset_policy.time_ms(time.time())
            found = await self._find(without, time_ms)
            starts.update({tp: OffsetAndMetadata(offset, -1) for tp, offset in found.items()})
        return starts

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
        self._flow.position(*cursor.tp, start.offset, start.leader_epoch)
        _log.debug("%s-%d starts at offset %d", *cursor.tp, start.offset)
        self._wake_positioned()
        self._route_soon(cursor)

    async def seek(self, tp: TopicPartition, position: OffsetAndMetadata) -> None:
        """Go on at this offset; what was fetched for the earlier position is not handed over."""
        cursor = self._require(tp)
        if self._cluster.snapshot.partition(*tp) is None:
            await self._await_topics([cursor])
        known = self._cluster.snapshot.topic(tp.topic)
        if not cursor.positioned and known is not None:
            self._flow.assign(tp.topic, known.topic_id, tp.partition)
        self._set_position(cursor, position)

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
        """The next take of the partition raises the error, once."""
        for cursor in cursors:
            if self._current(cursor):
                self._flow.fail(*cursor.tp, error)
                _log.error("%s-%d: %s", *cursor.tp, error)

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
                known = self._cluster.snapshot.partition(*cursor.tp)
                if known is not None and known.leader >= 0:
                    try:
                        connection = await self._cluster.connection(known.leader, Role.FETCH)
                    except errors.Error as error:
                        tell = _log.debug if attempts else _log.warning
                        tell("no connection to the leader of %s-%d: %s", *cursor.tp, error)
                    else:
                        if self._current(cursor):
                            self._attach(known.leader, connection)
                            cursor.route = (known.leader, known.leader_epoch)
                            self._flow.route(*cursor.tp, connection.id, known.leader_epoch)
                        return
                attempts += 1
                delay = self._backoff.delay(attempts)
                try:
                    await self._cluster.refresh(
                        f"{cursor.tp.topic}-{cursor.tp.partition} has no leader to fetch from"
                    )
                except errors.Error as error:
                    _log.debug("metadata could not be had: %s", error)
        finally:
            cursor.routing = False

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
        *_rest: Any,
    ) -> None:
        cursor = self._cursors.get(TopicPartition(topic, partition))
        if cursor is None:
            return
        cursor.route = None
        if code == ErrorCode.OFFSET_OUT_OF_RANGE:
            self._engine.spawn(
                self._out_of_range(cursor, fetch_offset), f"reset of {topic}-{partition}"
            )
            return
        if leader is not None and leader[0] >= 0:
            self._cluster.apply_leader_hint(topic, partition, leader[0], leader[1], node)
            self._route_soon(cursor)
            return
        if code:
            error = errors.for_code(code, "fetch", topic=topic, partition=partition)
            if not error.retriable:
                self._fail([cursor], error)
            _log.info("%s-%d is held: %s", topic, partition, error)
        elif cause != "asked":
            _log.info("%s-%d is held: %s", topic, partition, cause)
        if cause != "asked":
            self._cluster.refresh_soon(f"{topic}-{partition} is held: {cause}")
        cursor.attempts += 1
        self._route_soon(cursor, self._backoff.delay(1) if cause != "asked" else 0.0)

    async def _out_of_range(self, cursor: Cursor, fetch_offset: int) -> None:
        """The leader says that the position is not in its log: reset as the policy says, loudly, or raise."""
        topic, partition = cursor.tp
        reason = f"offset {fetch_offset} of {topic}-{partition} is out of range"
        if self._reset_policy.raises:
            self._fail([cursor], errors.OffsetOutOfRange(f"{reason} and auto_offset_reset is none"))
            return
        try:
            found = await self._find([cursor.tp], self._reset_policy.time_ms(time.time()))
        except errors.Error as error:
            self._fail([cursor], error)
            return
        if not self._current(cursor):
            return
        offset = found[cursor.tp]
        _log.warning(
            "%s: reset to %d (auto_offset_reset=%s)", reason, offset, self._reset_policy.name
        )
        if self.on_reset is not None:
            self.on_reset(cursor.tp, offset, reason)
        self._set_position(cursor, OffsetAndMetadata(offset, -1))


__all__ = ["EARLIEST", "LATEST", "Cursor", "Cursors"]
