"""Routes to leaders: searched until there is one, followed when the leader moves, against a cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple, cast

import pytest

from ottla import errors
from ottla.cluster.leaders import LeaderRoutes, NoRoute
from ottla.cluster.metadata import MetadataSnapshot, PartitionInfo, TopicError, TopicInfo
from ottla.config.producer import producer_config
from ottla.engine.clock import ManualClock, settle
from ottla.message import TopicPartition
from ottla.observe.log import ClientLog
from ottla.protocol.messages.produce import ProduceRequest
from ottla.wire.connection import Role
from tests.fixtures.logged import Logged

T0 = TopicPartition("t", 0)
PAUSE_S = 0.13
"""More than the backoff with its jitter, less than twice as much."""


def known(leader: int, epoch: int = 0) -> MetadataSnapshot:
    info = TopicInfo("t", bytes(16), {0: PartitionInfo("t", 0, leader, epoch)})
    return MetadataSnapshot(topics={"t": info})


class Connection(NamedTuple):
    id: int
    address: str = "b:9092"

    def version_for(self, _request: object) -> int:
        return 9


class Cluster:
    def __init__(self) -> None:
        self.snapshot = MetadataSnapshot()
        self.unreachable: set[int] = set()
        self.refusal: errors.Error | None = None
        self.refreshes = 0
        self.listener: Callable[..., None] | None = None

    def listen(self, callback: Callable[..., None]) -> None:
        self.listener = callback

    def unlisten(self, _callback: object) -> None:
        self.listener = None

    def change(self, snapshot: MetadataSnapshot) -> None:
        old, self.snapshot = self.snapshot, snapshot
        assert self.listener is not None
        self.listener(old, snapshot, None)

    async def refresh(self, _reason: str) -> None:
        self.refreshes += 1

    async def connection_while(self, node_id: int, _role: object, _wanted: object) -> Connection:
        if self.refusal is not None:
            raise self.refusal
        if node_id in self.unreachable:
            raise errors.ConnectionLost(f"node {node_id} cannot be reached")
        return Connection(100 + node_id)


class Reactor:
    def __init__(self) -> None:
        self.clock = ManualClock()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, name=name)


class Target:
    role = Role.PRODUCE
    request = ProduceRequest
    log = ClientLog("outbox", "producer test")

    def __init__(self) -> None:
        self.attached: list[tuple[int, int]] = []
        self.routed: list[int] = []
        self.moved: list[int] = []
        self.failures: list[NoRoute] = []
        self.refusals: list[errors.Error] = []
        self.wanted = True
        self.bugs: list[Exception] = []

    def choose_node(self, _partition: TopicPartition, leader: int) -> int:
        if self.bugs:
            raise self.bugs.pop()
        return leader

    def accepts(self, _partition: TopicPartition) -> bool:
        return self.wanted

    def attach(self, node_id: int, _connection: object, version: int) -> None:
        self.attached.append((node_id, version))

    def route(self, _partition: object, _connection: object, leader: PartitionInfo) -> None:
        self.routed.append(leader.leader)

    def leader_moved(self, _partition: object, leader: PartitionInfo) -> None:
        self.moved.append(leader.leader)

    def report_no_route(self, failure: NoRoute) -> None:
        self.failures.append(failure)

    def refuse(self, _partition: object, error: errors.Error) -> None:
        self.refusals.append(error)


class Bench:
    def __init__(self) -> None:
        self.cluster, self.target, reactor = Cluster(), Target(), Reactor()
        self.clock = reactor.clock
        self.routes = LeaderRoutes(
            cast("Any", self.cluster),
            cast("Any", reactor),
            cast("Any", self.target),
            producer_config("b:9092", {"retry_backoff_ms": 100, "retry_backoff_max_ms": 100}),
        )
        self.routes.start()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.routes.stop()
    await settle()


async def test_a_search_continues_until_there_is_a_reachable_leader(bench: Bench) -> None:
    bench.routes.find(T0)
    await settle()
    assert bench.target.failures == [NoRoute(T0, None, None, 0)]
    bench.cluster.unreachable.add(1)
    bench.cluster.change(known(1))
    await bench.clock.advance(PAUSE_S)
    last = bench.target.failures[-1]
    assert isinstance(last.error, errors.ConnectionLost)
    assert (last.node_id, last.failures) == (1, 1)
    bench.cluster.unreachable.clear()
    await bench.clock.advance(PAUSE_S)
    assert bench.target.routed == [1]
    assert bench.cluster.refreshes == len(bench.target.failures) == 2


async def test_a_connection_is_given_to_the_flow_once(bench: Bench) -> None:
    bench.cluster.change(known(1))
    for _ in range(2):
        bench.routes.find(T0)
        await settle()
        bench.routes.withdraw(T0)
    assert bench.target.routed == [1, 1]
    assert bench.target.attached == [(1, 9)]
    assert bench.routes.nodes_of(101) == [1]
    assert bench.routes.broker_fields(1) == {"node": 1, "address": "b:9092"}
    assert bench.routes.broker_fields(2) == {"node": 2, "address": None}


async def test_a_partition_with_a_route_is_not_searched_again(bench: Bench) -> None:
    bench.cluster.change(known(1))
    bench.routes.find(T0)
    await settle()
    bench.routes.find(T0)
    await settle()
    assert bench.target.routed == [1]
    route = bench.routes.withdraw(T0)
    assert route is not None
    assert (route.node_id, route.leader, route.leader_epoch) == (1, 1, 0)
    assert bench.routes.withdraw(T0) is None


async def test_a_leader_that_moved_is_reported_once_and_only_with_a_newer_epoch(
    bench: Bench,
) -> None:
    bench.cluster.change(known(1, epoch=5))
    bench.routes.find(T0)
    await settle()
    bench.cluster.change(known(2, epoch=4))
    assert bench.target.moved == []
    bench.cluster.change(known(2, epoch=6))
    bench.cluster.change(known(3, epoch=7))
    assert bench.target.moved == [2]
    bench.routes.withdraw(T0)
    bench.routes.find(T0)
    await settle()
    assert bench.target.routed == [1, 3]


async def test_a_suspended_partition_gets_no_route_until_it_is_resumed(bench: Bench) -> None:
    bench.cluster.change(known(1))
    bench.routes.find(T0)
    bench.routes.suspend(T0)
    bench.routes.find(T0)
    await settle()
    assert bench.target.routed == []
    bench.routes.resume(T0)
    bench.routes.find(T0)
    await settle()
    assert bench.target.routed == [1]


async def test_a_partition_that_is_no_longer_wanted_gets_no_route(bench: Bench) -> None:
    bench.cluster.change(known(1))
    bench.target.wanted = False
    bench.routes.find(T0)
    await settle()
    assert bench.target.attached == []
    bench.target.wanted = True
    bench.routes.find(T0)
    bench.routes.forget(T0)
    await settle()
    assert bench.target.routed == []


async def test_a_permanent_error_ends_the_search_until_the_next_one(bench: Bench) -> None:
    bench.cluster.change(known(1))
    bench.cluster.refusal = errors.AuthenticationFailed("wrong password")
    bench.routes.find(T0)
    await bench.clock.advance(10)
    assert bench.target.refusals == [bench.cluster.refusal]
    assert len(bench.target.failures) == 1
    assert bench.cluster.refreshes == 0
    bench.cluster.refusal = None
    bench.routes.find(T0)
    await settle()
    assert bench.target.routed == [1]


async def test_a_refused_topic_ends_the_search(bench: Bench) -> None:
    refused = MetadataSnapshot(errors={"t": TopicError(29, 0.0)})
    bench.cluster.change(refused)
    bench.routes.find(T0)
    await bench.clock.advance(10)
    (error,) = bench.target.refusals
    assert isinstance(error, errors.KafkaError)
    assert error.code == 29


async def test_an_internal_error_ends_no_search(bench: Bench, logged: Logged) -> None:
    bench.target.bugs = [RuntimeError("a bug")]
    bench.cluster.change(known(1))
    bench.routes.find(T0)
    await settle()
    assert bench.target.routed == []
    await bench.clock.advance(PAUSE_S)
    assert bench.target.routed == [1]
    assert logged("internal_error.route", topic="t", partition=0)
