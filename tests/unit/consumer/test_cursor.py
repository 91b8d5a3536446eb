"""The cursors: the consequence of each hold, against a flow and a cluster in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, NamedTuple, cast

import pytest

from ottla import errors
from ottla.config.consumer import consumer_config
from ottla.consumer.cursor import Cursors
from ottla.consumer.list_offsets import EARLIEST, FoundOffset, OffsetReceiver
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.events import Event, Events
from ottla.observe.health import Health
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.connections import Loss
from ottla.seam.fetching import (
    Divergence,
    FetchEvent,
    FetchHeld,
    FetchHoldCause,
    FetchThrottled,
    Follower,
)
from tests.fixtures.logged import Logged
from tests.unit.doubles import LoopTime

TP = TopicPartition("t", 0)
LEADER, FOLLOWER = 1, 2


class Part(NamedTuple):
    leader: int
    leader_epoch: int


class Topic(NamedTuple):
    topic_id: bytes


class Snapshot:
    def __init__(self) -> None:
        self.parts = {TP: Part(LEADER, 5)}
        self.topic_id = b"a" * 16
        self.errors: dict[str, int] = {}

    def partition(self, topic: str, partition: int) -> Part | None:
        return self.parts.get(TopicPartition(topic, partition))

    def topic(self, name: str) -> Topic | None:
        return Topic(self.topic_id) if any(tp.topic == name for tp in self.parts) else None

    def topic_error(self, name: str) -> int:
        return self.errors.get(name, 0)


class Connection(NamedTuple):
    id: int
    address: str = "b:9092"
    node_id: int = LEADER

    def version_for(self, _request: object) -> int:
        return 17


class FakeCluster:
    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.emitted: list[Event] = []
        self.events = Events()
        self.events.listen(self.emitted.append)
        self.health = Health()
        self.unreachable: set[int] = set()
        self.refreshes = 0
        self.listeners: list[Callable[..., None]] = []

    def listen(self, callback: Callable[..., None]) -> None:
        self.listeners.append(callback)

    def unlisten(self, callback: Callable[..., None]) -> None:
        self.listeners.remove(callback)

    def want_topics(self, owner: object, names: Iterable[str], *, create: bool = False) -> None:
        pass

    async def refresh(self, _reason: str) -> None:
        self.refreshes += 1
        await asyncio.sleep(0)

    def refresh_soon(self, _reason: str) -> None:
        self.refreshes += 1

    async def connection_while(self, node_id: int, _role: object, _wanted: object) -> Connection:
        if node_id in self.unreachable:
            raise errors.ConnectionLost(f"node {node_id} cannot be reached")
        return Connection(100 + node_id)


class FakeFlow:
    def __init__(self) -> None:
        self.events: list[FetchEvent] = []
        self.routes: list[int] = []
        self.positions: list[tuple[int, int]] = []
        self.failures: list[BaseException] = []
        self.ids: list[bytes] = []

    def assign(self, _topic: str, topic_id: bytes, _partition: int) -> None:
        self.ids.append(topic_id)

    def attach(self, _connection: int, _version: int, _node: int, _address: str) -> None:
        pass

    def position(self, _topic: str, _partition: int, offset: int, epoch: int) -> None:
        self.positions.append((offset, epoch))

    def route(self, _topic: str, _partition: int, connection: int, _epoch: int) -> None:
        self.routes.append(connection - 100)

    def hold(self, topic: str, partition: int) -> None:
        self.events.append(FetchHeld(topic, partition, "asked", 0, 0, None))

    def withdraw_error(self, _topic: str, _partition: int) -> None:
        pass

    def fail(self, _topic: str, _partition: int, error: BaseException) -> None:
        self.failures.append(error)

    def drain(self) -> list[FetchEvent]:
        events, self.events = self.events, []
        return events


class FakeFinder:
    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.asked: list[Mapping[TopicPartition, int]] = []
        self.failures: list[Exception] = []
        self.gate: asyncio.Event | None = None

    async def search(self, times: Mapping[TopicPartition, int], receiver: OffsetReceiver) -> None:
        """Search like the real one: failed attempts are reported and repeated, refusals end the search."""
        failures = 0
        times = dict(times)
        while times := {tp: when for tp, when in times.items() if receiver.wants(tp)}:
            try:
                found = await self.find(
                    {tp: times[tp] for tp in times if tp in self.snapshot.parts}
                )
            except errors.Error as error:
                if error.permanent:
                    refused = [tp for tp in times if error.topic in (None, tp.topic)]
                    receiver.refused(refused, error)
                    continue
                failures += 1
                for tp in times:
                    receiver.failed(tp, errors.line_of(error), failures)
                await asyncio.sleep(0)
                continue
            for tp in list(times):
                code = self.snapshot.topic_error(tp.topic)
                refusal = errors.for_code(code, topic=tp.topic)
                if code and refusal.permanent:
                    receiver.refused([tp], refusal)
                elif tp not in found:
                    receiver.failed(tp, "it does not exist", failures + 1)
                elif receiver.wants(tp):
                    receiver.found(tp, found[tp])
                    del times[tp]
            failures += 1
            await asyncio.sleep(0)

    async def find(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, FoundOffset]:
        self.asked.append(times)
        if self.failures:
            raise self.failures.pop(0)
        if self.gate is not None:
            await self.gate.wait()
        return {
            tp: FoundOffset(7 if when == EARLIEST else 70, -1, -1) for tp, when in times.items()
        }


class FakeEngine:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = LoopTime()
        self.tasks: list[asyncio.Task[Any]] = []

    def add_drain(self, _drain: object) -> None:
        pass

    def remove_drain(self, _drain: object) -> None:
        pass

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        self.tasks.append(self.loop.create_task(work, name=name))
        return self.tasks[-1]


class Bench:
    def __init__(self, **config: Any) -> None:
        options = {"auto_offset_reset": "earliest", "retry_backoff_ms": 1, **config}
        self.engine, self.cluster, self.flow = FakeEngine(), FakeCluster(), FakeFlow()
        self.finder = FakeFinder(self.cluster.snapshot)
        self.cursors = Cursors(
            cast("Any", self.engine),
            cast("Any", self.cluster),
            cast("Any", self.flow),
            consumer_config("localhost:9092", options),
            None,
            cast("Any", self.finder),
        )
        self.cursors.start()

    async def assigned(self) -> None:
        await self.cursors.assign([TP])
        await self.until(lambda: self.flow.routes == [LEADER], "the partition flows")

    def held(self, cause: FetchHoldCause, code: int = 0, position: int = 50) -> None:
        self.flow.events.append(FetchHeld(*TP, cause, code, position, None))
        self.cursors.drain()

    async def until(self, condition: Callable[[], bool], purpose: str) -> None:
        async def drain_until() -> None:
            while not condition():
                self.cursors.drain()
                await asyncio.sleep(0)

        try:
            await asyncio.wait_for(drain_until(), 5)
        except TimeoutError:
            pytest.fail(f"not so: {purpose}; {vars(self.flow)}")

    def stop(self) -> None:
        self.cursors.stop()
        for task in self.engine.tasks:
            task.cancel()


async def test_a_follower_that_the_leader_names_is_fetched_from() -> None:
    bench = Bench(client_rack="here")
    await bench.assigned()
    bench.held(Follower(FOLLOWER))
    await bench.until(lambda: bench.flow.routes == [LEADER, FOLLOWER], "routed to the follower")
    assert bench.cluster.refreshes == 0
    assert bench.flow.positions == [(7, -1)], "the position stays"
    bench.stop()


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        ("answer", ErrorCode.OFFSET_OUT_OF_RANGE),
        ("answer", ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (Loss("closed", "by the peer"), 0),
        (Divergence(3, 10, 4), 0),
    ],
)
async def test_after_a_refusal_of_the_follower_the_leader_is_fetched_from(
    cause: FetchHoldCause, code: int
) -> None:
    bench = Bench()
    await bench.assigned()
    bench.held(Follower(FOLLOWER))
    await bench.until(lambda: bench.flow.routes[-1] == FOLLOWER, "routed to the follower")
    bench.held(cause, code)
    await bench.until(lambda: bench.flow.routes == [LEADER, FOLLOWER, LEADER], "routed back")
    assert bench.flow.positions == [(7, -1)], "only the leader resets a position"
    bench.stop()


async def test_instead_of_an_unreachable_follower_the_leader_is_fetched_from() -> None:
    bench = Bench()
    await bench.assigned()
    bench.cluster.unreachable.add(FOLLOWER)
    bench.held(Follower(FOLLOWER))
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "routed back to the leader")
    bench.stop()


async def test_the_leader_is_asked_again_when_the_lease_of_a_follower_ends() -> None:
    bench = Bench(metadata_max_age_ms=1)
    await bench.assigned()
    bench.held(Follower(FOLLOWER))
    await bench.until(
        lambda: bench.flow.routes == [LEADER, FOLLOWER, LEADER], "the leader is asked again"
    )
    bench.stop()


async def test_truncation_continues_where_the_logs_part_and_is_logged(logged: Logged) -> None:
    bench = Bench()
    await bench.assigned()
    bench.held(Divergence(4, 30, 5), position=50)
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "flows again")
    assert bench.flow.positions == [(7, -1), (30, 4)]
    assert logged("position.truncated", topic="t", partition=0, offset=30, position=50)
    (event,) = (event for event in bench.cluster.emitted if event.name == "position.truncated")
    assert (event.fields["offset"], event.fields["position"]) == (30, 50)
    bench.stop()


async def test_a_log_without_the_epoch_that_was_read_never_moves_a_position_ahead() -> None:
    bench = Bench()
    await bench.assigned()
    bench.held(Divergence(4, 200, 5), position=50)
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "flows again")
    assert bench.flow.positions == [(7, -1), (50, 4)]
    bench.stop()


async def test_records_that_nobody_has_read_are_dropped_without_another_position(
    logged: Logged,
) -> None:
    bench = Bench()
    await bench.assigned()
    bench.held(Divergence(4, 30, 4), position=30)
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "flows again")
    assert bench.flow.positions == [(7, -1)]
    assert logged("position.diverged", topic="t", partition=0, position=30, epoch=4, offset=30)
    assert not logged("position.truncated")
    bench.stop()


async def test_an_epoch_that_the_log_may_never_have_had_is_no_truncation(logged: Logged) -> None:
    bench = Bench(auto_offset_reset="none")
    await bench.cursors.assign([TP])
    await bench.cursors.seek(TP, OffsetAndMetadata(50, 5))
    await bench.until(lambda: bench.flow.routes == [LEADER], "flows from the seek on")
    bench.held(Divergence(4, 60, 5), position=50)
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "flows again")
    assert bench.flow.positions == [(50, 5), (50, 4)]
    assert not bench.flow.failures
    bench.stop()


async def test_truncation_is_raised_without_a_reset_policy() -> None:
    bench = Bench(auto_offset_reset="none")
    await bench.cursors.assign([TP])
    await bench.cursors.seek(TP, OffsetAndMetadata(50))
    await bench.until(lambda: bench.flow.routes == [LEADER], "flows from the seek on")
    bench.held(Divergence(4, 30, 5), position=50)
    (error,) = bench.flow.failures
    assert isinstance(error, errors.LogTruncated)
    assert (error.topic, error.partition) == TP
    assert (error.offset, error.position) == (30, 50)
    await bench.cursors.seek(TP, OffsetAndMetadata(30))
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "flows again after the seek")
    bench.stop()


async def test_a_missing_position_is_requested_until_it_arrives() -> None:
    bench = Bench()
    bench.finder.failures = [errors.Timeout("no leader"), errors.ConnectionLost("gone")]
    await bench.assigned()
    assert bench.flow.positions == [(7, -1)]
    assert not bench.flow.failures, "a temporary error is not raised"
    bench.stop()


async def test_a_reset_that_comes_after_a_seek_is_dropped() -> None:
    bench = Bench()
    await bench.assigned()
    bench.finder.gate = asyncio.Event()
    bench.held("answer", ErrorCode.OFFSET_OUT_OF_RANGE)
    await bench.until(lambda: len(bench.finder.asked) == 2, "the reset asks for the offset")
    await bench.cursors.seek(TP, OffsetAndMetadata(33))
    bench.finder.gate.set()
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "flows from the seek on")
    assert bench.flow.positions == [(7, -1), (33, -1)]
    bench.stop()


async def test_a_missing_topic_delays_no_other(
    logged: Logged,
) -> None:
    bench = Bench()
    missing = TopicPartition("later", 0)
    bench.cluster.snapshot.errors["later"] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    await bench.cursors.assign([TP, missing])
    await bench.until(lambda: bench.flow.routes == [LEADER], "the existing one flows")
    await bench.until(
        lambda: bool(logged("position.unknown", topic="later", partition=0)), "it is logged"
    )
    del bench.cluster.snapshot.errors["later"]
    bench.cluster.snapshot.parts[missing] = Part(LEADER, 0)
    await bench.until(lambda: len(bench.flow.routes) == 2, "the other flows once it exists")
    bench.stop()


async def test_a_topic_that_may_not_be_seen_is_raised() -> None:
    bench = Bench()
    bench.cluster.snapshot.errors["secret"] = ErrorCode.TOPIC_AUTHORIZATION_FAILED
    await bench.cursors.assign([TopicPartition("secret", 0)])
    await bench.until(lambda: bool(bench.flow.failures), "it is raised")
    error = bench.flow.failures[0]
    assert isinstance(error, errors.KafkaError)
    assert error.code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    bench.stop()


async def test_a_recreated_topic_is_reset_and_logged(
    logged: Logged,
) -> None:
    bench = Bench()
    await bench.assigned()
    bench.cluster.snapshot.topic_id = b"b" * 16
    bench.held("answer", ErrorCode.UNKNOWN_TOPIC_ID)
    await bench.until(lambda: bench.flow.routes == [LEADER, LEADER], "flows again")
    assert bench.flow.ids[-1] == b"b" * 16
    assert bench.flow.positions == [(7, -1), (7, -1)]
    assert logged("position.reset", topic="t", partition=0, offset=7)
    bench.stop()


async def test_an_event_that_cannot_be_served_loses_no_other(
    logged: Logged,
) -> None:
    bench = Bench()
    other = TopicPartition("t", 1)
    bench.cluster.snapshot.parts[other] = Part(LEADER, 5)
    await bench.cursors.assign([TP, other])
    await bench.until(lambda: bench.flow.routes == [LEADER] * 2, "both flow")
    bench.flow.events.append(FetchHeld(*TP, "answer", 6, 0, cast("Any", "no hint")))
    bench.flow.hold(*other)
    bench.cursors.drain()
    await bench.until(lambda: bench.flow.routes == [LEADER] * 4, "both have a route again")
    assert logged("internal_error.event", kind="FetchHeld")
    bench.stop()


async def test_a_throttled_fetch_is_reported(logged: Logged) -> None:
    bench = Bench()
    await bench.assigned()
    bench.flow.events.append(FetchThrottled(100 + LEADER, 500))
    bench.cursors.drain()
    bench.stop()
    (event,) = [event for event in bench.cluster.emitted if event.name != "partition.routed"]
    assert event.name == "connection.throttled"
    assert event.fields == {"node": LEADER, "throttle_ms": 500}
    assert logged("connection.throttled", node=LEADER, address="b:9092", count=500)


async def test_a_refused_fetch_is_raised_once_and_ends_until_a_seek(
    logged: Logged,
) -> None:
    bench = Bench()
    await bench.assigned()
    bench.held("answer", ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    await asyncio.sleep(0.1)
    assert bench.flow.routes == [LEADER], "it is not fetched again"
    (error,) = bench.flow.failures
    assert isinstance(error, errors.KafkaError)
    assert error.code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    (refused,) = logged(level=logging.WARNING)
    assert refused in logged("partition.refused", topic="t", error="TopicAuthorizationFailed")
    await bench.cursors.seek(TP, OffsetAndMetadata(50))
    await bench.until(lambda: bench.flow.routes == [LEADER] * 2, "a seek tries again")
    bench.held("answer", ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    await bench.cursors.assign([TP])
    await bench.until(lambda: bench.flow.routes == [LEADER] * 3, "another assign tries again")
    assert len(bench.flow.failures) == 2
    bench.stop()


async def test_a_reset_that_is_refused_is_raised_once(logged: Logged) -> None:
    bench = Bench()
    await bench.assigned()
    refused = errors.for_code(ErrorCode.TOPIC_AUTHORIZATION_FAILED, topic="t", partition=0)
    bench.finder.failures = [refused] * 5
    bench.held("answer", ErrorCode.OFFSET_OUT_OF_RANGE)
    await asyncio.sleep(0.1)
    assert bench.flow.failures == [refused]
    assert len(bench.finder.failures) == 4, "it is not asked again"
    assert logged.events() == ["partition.refused"]
    bench.stop()


async def test_a_start_that_is_refused_is_raised_once_and_delays_no_other(
    logged: Logged,
) -> None:
    bench = Bench()
    secret = TopicPartition("secret", 0)
    bench.cluster.snapshot.parts[secret] = Part(LEADER, 5)
    refused = errors.for_code(ErrorCode.TOPIC_AUTHORIZATION_FAILED, topic="secret", partition=0)
    bench.finder.failures = [refused]
    await bench.cursors.assign([TP, secret])
    await bench.until(lambda: bench.flow.routes == [LEADER], "the other one flows")
    await asyncio.sleep(0.1)
    assert bench.flow.failures == [refused]
    assert logged.events(logging.ERROR) == ["partition.refused"]
    with pytest.raises(errors.KafkaError) as raised:
        await bench.cursors.wait_positioned([secret], 5)
    assert raised.value is refused
    bench.stop()


async def test_a_start_that_fails_by_a_bug_is_tried_again(
    logged: Logged,
) -> None:
    bench = Bench()
    bench.finder.failures = [LookupError("a bug")]
    await bench.assigned()
    assert logged("internal_error.position", error="LookupError")
    bench.finder.failures = [LookupError("a bug")]
    bench.held("answer", ErrorCode.OFFSET_OUT_OF_RANGE)
    await bench.until(lambda: bench.flow.routes == [LEADER] * 2, "the reset is tried again")
    bench.stop()


async def test_metadata_that_has_not_arrived_is_no_warning(
    logged: Logged,
) -> None:
    bench = Bench()
    bench.cluster.snapshot.parts.clear()
    await bench.cursors.assign([TP])
    await bench.cursors.seek(TP, OffsetAndMetadata(3))
    await asyncio.sleep(0.05)
    bench.cluster.snapshot.parts[TP] = Part(LEADER, 5)
    await bench.until(lambda: bench.flow.routes == [LEADER], "it flows once metadata is there")
    bench.stop()
    assert logged(level=logging.INFO) == []
