"""The cluster: found, kept fresh, followed when it moves, started over when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ottla.cluster.cluster import Cluster
from ottla.cluster.metadata import Changes, MetadataSnapshot
from ottla.engine.clock import settle
from ottla.errors import Closed, KafkaError, NoBrokersAvailable, Timeout
from ottla.message import TopicPartition
from ottla.protocol.api_keys import ApiKey
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.metadata import MetadataRequest
from ottla.wire.connection import Role
from tests.unit.doubles import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.reactor.cancel_tasks()


async def test_start_learns_the_cluster_and_keeps_the_bootstrap_connection_as_the_nodes(
    world: World,
) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    assert cluster.snapshot.cluster_id == "cluster-a"
    assert list(cluster.snapshot.brokers) == [1]
    connection = await cluster.connection(1, Role.CONTROL)
    assert connection.node_id == 1
    assert len(world.io.dialled) == 1
    await cluster.close()
    await settle()
    assert world.io.open == {}


async def test_every_bootstrap_address_is_tried_and_named_when_none_works() -> None:
    world = World(bootstrap_servers="10.0.0.1:9001,nowhere:1")
    world.node.up = False
    world.names["nowhere"] = OSError(-2, "Name or service not known")
    cluster = Cluster(world.config, world.reactor)
    with pytest.raises(NoBrokersAvailable) as caught:
        await world.run(cluster.refresh("start"))
    assert dict(caught.value.attempts) == {
        "10.0.0.1:9001": "connection refused",
        "nowhere:1": "the name cannot be resolved: Name or service not known",
    }
    assert list(cluster.health.report()) == ["cluster"]
    world.node.up = True
    await world.run(cluster.refresh("start"))
    assert cluster.health.report() == {}
    await cluster.close()


async def test_wanted_topics_are_asked_for_at_once_and_listeners_are_called(world: World) -> None:
    world.cluster.add_topic("orders", {0: (1, 5), 1: (1, 5)})
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    received: list[tuple[MetadataSnapshot, MetadataSnapshot, Changes]] = []
    cluster.listen(lambda *change: received.append(change))
    cluster.want_topics("test", ["orders", "missing"])
    await settle()
    assert cluster.snapshot.topic_error("missing") == 3
    partition = cluster.snapshot.partition("orders", 1)
    assert partition is not None
    assert (partition.leader, partition.leader_epoch) == (1, 5)
    assert received[-1][2].new_topics == {"orders"}
    asked = world.node.asked(ApiKey.METADATA)[-1]
    assert [topic.name for topic in asked.topics] == ["missing", "orders"]
    cluster.want_topics("test", ())
    assert cluster.snapshot.topics == {}
    assert cluster.snapshot.topic_error("missing") == 0
    await cluster.close()


async def test_topics_wanted_before_a_broker_is_found_are_in_the_first_request(
    world: World,
) -> None:
    world.io.silent.add((world.node.ip, world.node.port))
    cluster = Cluster(world.config, world.reactor)
    starting = asyncio.ensure_future(cluster.refresh("start"))
    reached = asyncio.ensure_future(cluster.reached())
    await settle()
    cluster.want_topics("test", ["orders"])
    waiting = asyncio.ensure_future(cluster.refresh("asked meanwhile"))
    await settle()
    assert not reached.done()
    world.io.accept()
    await world.run(asyncio.gather(starting, waiting, reached))
    await world.clock.advance(1.0)
    (request,) = world.node.asked(ApiKey.METADATA)
    assert [topic.name for topic in request.topics] == ["orders"]
    await cluster.close()


async def test_waiting_callers_fail_when_the_search_finds_no_broker(
    world: World,
) -> None:
    world.io.silent.add((world.node.ip, world.node.port))
    cluster = Cluster(world.config, world.reactor)
    first = asyncio.ensure_future(cluster.refresh("first"))
    await settle()
    second = asyncio.ensure_future(cluster.refresh("second"))
    await settle()
    world.io.accept(refuse=True)
    for waiting in (first, second):
        with pytest.raises(NoBrokersAvailable):
            await world.run(waiting)
    await cluster.close()


async def test_a_broker_is_reached_once_the_metadata_was_asked_for(world: World) -> None:
    world.node.answers[ApiKey.METADATA] = lambda _request, _version: None
    cluster = Cluster(world.config, world.reactor)
    starting = asyncio.ensure_future(cluster.refresh("start"))
    await world.run(cluster.reached())
    assert not starting.done()
    assert len(world.node.asked(ApiKey.METADATA)) == 1
    await cluster.close()
    with pytest.raises(Closed):
        await world.run(starting)


async def test_closing_during_the_search_for_a_broker_ends_every_wait(world: World) -> None:
    world.io.silent.add((world.node.ip, world.node.port))
    cluster = Cluster(world.config, world.reactor)
    waiting = asyncio.ensure_future(cluster.refresh("first"))
    await settle()
    await cluster.close()
    with pytest.raises(Closed):
        await world.run(waiting)


async def test_all_topics_are_asked_for_while_wanted(world: World) -> None:
    world.cluster.add_topic("orders", {0: (1, 5)})
    cluster = Cluster(world.config, world.reactor)
    cluster.want_all_topics(True)
    await cluster.refresh("start")
    assert list(cluster.snapshot.topics) == ["orders"]
    cluster.want_all_topics(False)
    assert cluster.snapshot.topics == {}
    await cluster.close()


async def test_refreshes_that_are_asked_for_together_share_one_request(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    before = len(world.node.asked(ApiKey.METADATA))
    await world.run(asyncio.gather(*(cluster.refresh("test") for _ in range(5))))
    assert len(world.node.asked(ApiKey.METADATA)) == before + 1
    await cluster.close()


async def test_a_caller_during_a_request_gets_the_answer_of_the_next(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    world.node.answers[ApiKey.METADATA] = lambda _request, _version: None
    first = asyncio.ensure_future(cluster.refresh("first"))
    await world.clock.advance(0.2)
    second = asyncio.ensure_future(cluster.refresh("second"))
    await settle()
    world.node.answers[ApiKey.METADATA] = world.cluster.metadata
    (conn,) = world.io.open
    late = world.cluster.metadata(MetadataRequest(), 12)
    from ottla.protocol.headers import encode_response

    world.io.respond(conn, encode_response(late, 12, 0))
    await settle()
    assert first.done()
    assert not second.done()
    await world.run(second)
    await cluster.close()


async def test_metadata_is_asked_for_again_at_its_age(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    before = len(world.node.asked(ApiKey.METADATA))
    await world.clock.advance(299)
    assert len(world.node.asked(ApiKey.METADATA)) == before
    await world.clock.advance(2)
    assert len(world.node.asked(ApiKey.METADATA)) == before + 1
    await cluster.close()


async def test_a_lost_connection_refreshes_and_the_node_is_dialled_again_after_its_backoff(
    world: World,
) -> None:
    other = world.cluster.add_node(2)
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    emitted: list[str] = []
    cluster.events.listen(lambda event: emitted.append(event.name))
    connection = await cluster.connection(2, Role.PRODUCE)
    before = len(world.node.asked(ApiKey.METADATA))
    world.io.lose(connection.id)
    await settle()
    assert "connection.lost" in emitted
    again = asyncio.ensure_future(cluster.connection(2, Role.PRODUCE))
    await settle()
    assert not again.done()
    connection = await world.run(again)
    assert connection.node_id == other.node_id
    await world.clock.advance(1)
    assert len(world.node.asked(ApiKey.METADATA)) > before
    await cluster.close()


async def test_roles_have_connections_of_their_own_and_many_askers_share_one_dial(
    world: World,
) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    same = await asyncio.gather(*(cluster.connection(1, Role.PRODUCE) for _ in range(4)))
    fetch = await cluster.connection(1, Role.FETCH)
    assert len({connection.id for connection in same}) == 1
    assert fetch.id != same[0].id
    assert len(world.io.dialled) == 3
    await cluster.close()


async def test_dials_of_a_node_that_is_down_back_off_and_get_longer_to_accept(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    world.cluster.add_node(2).up = False
    await world.run(cluster.refresh("test"))
    for _ in range(3):
        with pytest.raises(NoBrokersAvailable):
            await world.run(cluster.connection(2, Role.CONTROL))
    timeouts = [timeout for _, port, timeout in world.io.dialled if port == 9002]
    assert 8 <= timeouts[0] <= 12 < 16 <= timeouts[1] <= 24 <= timeouts[2] <= 36
    await cluster.close()


async def test_a_node_that_is_not_in_the_metadata_is_an_error(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    with pytest.raises(NoBrokersAvailable, match="node 7 is not in the metadata"):
        await world.run(cluster.connection(7, Role.CONTROL))
    await cluster.close()


async def test_the_bootstrap_list_is_tried_again_when_no_known_broker_is_usable(
    world: World,
) -> None:
    world.cluster.add_topic("orders", {0: (1, 5)})
    cluster = Cluster(world.config, world.reactor)
    cluster.want_topics("test", ["orders"])
    await cluster.refresh("start")
    # The cluster moves: the node that is known is gone for good, and the bootstrap address leads to another one.
    del world.cluster.nodes[1]
    moved = world.cluster.add_node(7, port=9001)
    world.cluster.add_topic("orders", {0: (7, 6)})
    emitted: list[str] = []
    cluster.events.listen(lambda event: emitted.append(event.name))
    moved.up = False
    world.io.lose(next(iter(world.io.open)))
    await world.clock.advance(3)
    assert "cluster.rebootstrapped" in emitted
    moved.up = True
    await world.run(cluster.refresh("test"))
    assert list(cluster.snapshot.brokers) == [7]
    partition = cluster.snapshot.partition("orders", 0)
    assert partition is not None
    assert partition.leader == 7
    await cluster.close()


async def test_without_recovery_the_known_brokers_are_kept() -> None:
    world = World(metadata_recovery_strategy="none")
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    world.io.take_down(world.node)
    with pytest.raises(NoBrokersAvailable, match="no known broker"):
        await world.run(cluster.refresh("test"))
    assert list(cluster.snapshot.brokers) == [1]
    await cluster.close()


async def test_a_broker_may_ask_to_start_over(world: World) -> None:
    world.node.versions[ApiKey.METADATA] = (0, 13)
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    emitted: list[str] = []
    cluster.events.listen(lambda event: emitted.append(event.name))
    world.cluster.metadata_error = 129
    with pytest.raises(KafkaError, match="REBOOTSTRAP_REQUIRED"):
        await world.run(cluster.refresh("test"))
    world.cluster.metadata_error = 0
    await world.run(cluster.refresh("test"))
    assert emitted.count("cluster.rebootstrapped") == 1
    await cluster.close()


async def test_a_leader_hint_is_taken_at_once_and_metadata_is_asked_for(world: World) -> None:
    world.cluster.add_topic("orders", {0: (1, 5)})
    cluster = Cluster(world.config, world.reactor)
    cluster.want_topics("test", ["orders"])
    await cluster.refresh("start")
    changes: list[Changes] = []
    cluster.listen(lambda _old, _new, change: changes.append(change))
    cluster.apply_leader_hint("orders", 0, 2, 6, ("10.0.0.1", 9002))
    partition = cluster.snapshot.partition("orders", 0)
    assert partition is not None
    assert (partition.leader, partition.leader_epoch) == (2, 6)
    assert changes[-1].moved == {TopicPartition("orders", 0)}
    cluster.apply_leader_hint("orders", 0, 1, 6, None)
    assert cluster.snapshot.partition("orders", 0) == partition
    before = len(world.node.asked(ApiKey.METADATA))
    await world.clock.advance(1)
    assert len(world.node.asked(ApiKey.METADATA)) > before
    # The broker that was asked lags behind: the hint's epoch stays.
    assert cluster.snapshot.partition("orders", 0) == partition
    await cluster.close()


async def test_a_refusal_is_not_asked_again_until_it_is_needed(world: World) -> None:
    world.node.versions[ApiKey.METADATA] = (0, 13)
    world.cluster.metadata_error = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    cluster = Cluster(world.config, world.reactor)
    with pytest.raises(KafkaError, match="CLUSTER_AUTHORIZATION_FAILED"):
        await world.run(cluster.refresh("start"))
    await world.clock.advance(60)
    assert len(world.node.asked(ApiKey.METADATA)) == 1
    world.cluster.metadata_error = 0
    await world.run(cluster.refresh("needed again"))
    assert len(world.node.asked(ApiKey.METADATA)) == 2
    assert cluster.health.report() == {}
    await cluster.close()


async def test_a_waiter_gives_up_at_its_timeout(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    world.node.answers[ApiKey.METADATA] = lambda _request, _version: None
    with pytest.raises(Timeout):
        await cluster.refresh("test", timeout=0.001)
    await cluster.close()


async def test_closing_ends_every_wait(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    world.node.answers[ApiKey.METADATA] = lambda _request, _version: None
    waiting: list[Any] = [asyncio.ensure_future(cluster.refresh("first"))]
    await world.clock.advance(1)
    waiting.append(asyncio.ensure_future(cluster.refresh("second")))
    await settle()
    await cluster.close()
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, Closed)
    with pytest.raises(Closed):
        await cluster.refresh("third")
    with pytest.raises(Closed):
        await cluster.any_connection()


async def test_requests_go_to_any_broker(world: World) -> None:
    cluster = Cluster(world.config, world.reactor)
    response = await cluster.request(MetadataRequest(topics=[]))
    assert [broker.node_id for broker in response.brokers] == [1]
    await cluster.close()
