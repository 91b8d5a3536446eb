"""Connections: every address in turn, versions agreed, one end for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ottla.engine.clock import settle
from ottla.errors import (
    ConnectionLost,
    DecodeError,
    NoBrokersAvailable,
    Timeout,
    UnsupportedVersion,
)
from ottla.protocol.api_keys import ApiKey
from ottla.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.protocol.messages.metadata import MetadataRequest
from ottla.protocol.messages.sync_group import SyncGroupRequest
from ottla.wire.connection import Connection, Role
from tests.unit.doubles import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.reactor.cancel_tasks()


def opened(world: World, host: str = "10.0.0.1", port: int = 9001) -> Any:
    return Connection.open(world.reactor, (host, port), Role.CONTROL, world.config)


async def test_versions_are_agreed_and_the_newest_common_one_is_used(world: World) -> None:
    connection = await opened(world)
    assert connection.version_for(MetadataRequest) == 12
    response = await connection.request(MetadataRequest(topics=[]))
    assert response.cluster_id == "cluster-a"
    version, hello = world.node.seen[0]
    assert (version, hello.client_software_name) == (4, "ottla")
    assert "open" in repr(connection)


async def test_a_broker_that_lacks_the_first_version_is_asked_in_its_own(world: World) -> None:
    world.node.versions[ApiKey.API_VERSIONS] = (0, 2)
    await opened(world)
    assert [version for version, _ in world.node.seen] == [4, 2]


async def test_a_broker_that_speaks_none_of_our_versions_is_named_with_both_ranges(
    world: World,
) -> None:
    world.node.versions[ApiKey.METADATA] = (90, 95)
    connection = await opened(world)
    with pytest.raises(UnsupportedVersion, match=r"90-95.*0-13") as caught:
        await connection.request(MetadataRequest())
    assert caught.value.code == 35
    with pytest.raises(UnsupportedVersion, match="does not support SyncGroupRequest"):
        connection.version_for(SyncGroupRequest)


async def test_every_address_is_tried_and_each_keeps_its_reason(world: World) -> None:
    world.names["kafka"] = ["10.9.9.1", "10.9.9.2", "10.0.0.1"]
    connection = await opened(world, "kafka")
    assert connection.address == "kafka:9001 (10.0.0.1)"
    world.names["kafka"] = ["10.9.9.1", "10.9.9.2"]
    with pytest.raises(NoBrokersAvailable) as caught:
        await opened(world, "kafka")
    assert caught.value.attempts == (
        ("kafka:9001 (10.9.9.1)", "connection refused"),
        ("kafka:9001 (10.9.9.2)", "connection refused"),
    )


async def test_an_unresolved_name_is_reported(world: World) -> None:
    world.names["nowhere"] = OSError(-2, "Name or service not known")
    with pytest.raises(NoBrokersAvailable, match="cannot be resolved: Name or service not known"):
        await opened(world, "nowhere")


async def test_a_peer_that_closes_instead_of_answering_gets_a_hint(world: World) -> None:
    def hang_up(_request: Any, _version: int) -> None:
        asyncio.get_running_loop().call_soon(world.io.lose, 1)

    world.node.answers[ApiKey.API_VERSIONS] = hang_up
    with pytest.raises(NoBrokersAvailable, match="TLS or SASL"):
        await opened(world)


async def test_one_cause_reaches_every_waiter_once(world: World) -> None:
    connection = await opened(world)
    world.node.answers[ApiKey.METADATA] = lambda _request, _version: None
    waiting = [
        asyncio.ensure_future(connection.request(MetadataRequest(topics=[]))) for _ in range(3)
    ]
    await settle()
    world.io.lose(connection.id, "eof", "closed by the broker")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    for error in results:
        assert isinstance(error, ConnectionLost)
        assert (error.kind, error.outcome) == ("eof", "unknown")
        assert "closed by the broker" in str(error)
    assert connection.lost.result().kind == "eof"
    connection.close()
    assert connection.lost.result().kind == "eof"
    with pytest.raises(ConnectionLost) as caught:
        await connection.request(MetadataRequest())
    assert caught.value.outcome == "not_written"


async def test_closing_ends_every_wait(world: World) -> None:
    connection = await opened(world)
    world.node.answers[ApiKey.METADATA] = lambda _request, _version: None
    waiting = asyncio.ensure_future(connection.request(MetadataRequest()))
    await settle()
    connection.close()
    with pytest.raises(ConnectionLost, match="closed by this client"):
        await waiting
    await settle()
    assert world.io.open == {}


async def test_a_cancelled_wait_drops_the_late_answer(world: World) -> None:
    connection = await opened(world)
    world.node.answers[ApiKey.METADATA] = lambda _request, _version: None
    waiting = asyncio.ensure_future(connection.request(MetadataRequest()))
    await settle()
    waiting.cancel()
    await settle()
    assert connection.pending() == 0
    world.io.respond(connection.id, b"late")
    world.node.answers[ApiKey.METADATA] = world.cluster.metadata
    assert (await connection.request(MetadataRequest())).cluster_id == "cluster-a"


async def test_a_cancelled_dial_closes_its_connection(world: World) -> None:
    world.node.answers[ApiKey.API_VERSIONS] = lambda _request, _version: None
    dial = asyncio.ensure_future(opened(world))
    await settle()
    assert len(world.io.open) == 1
    dial.cancel()
    await settle()
    assert world.io.open == {}


async def test_requests_wait_while_the_broker_throttles(world: World) -> None:
    connection = await opened(world)
    world.node.answers[ApiKey.HEARTBEAT] = lambda _request, _version: HeartbeatResponse(
        throttle_time_ms=2_000
    )
    await connection.request(HeartbeatRequest())
    second = asyncio.ensure_future(connection.request(HeartbeatRequest()))
    await world.clock.advance(1.9)
    assert len(world.node.asked(ApiKey.HEARTBEAT)) == 1
    await world.clock.advance(0.2)
    await second
    assert len(world.node.asked(ApiKey.HEARTBEAT)) == 2


async def test_throttling_longer_than_the_request_may_take_ends_it_unsent(world: World) -> None:
    connection = await opened(world)
    connection.throttled(3_600)
    waiting = asyncio.ensure_future(connection.request(HeartbeatRequest(), timeout=5))
    await world.clock.advance(5)
    with pytest.raises(Timeout) as caught:
        await waiting
    assert caught.value.outcome == "not_written"
    assert world.node.asked(ApiKey.HEARTBEAT) == []


async def test_no_throttling_lasts_longer_than_a_request_may_take(world: World) -> None:
    connection = await opened(world)
    world.node.answers[ApiKey.HEARTBEAT] = lambda _request, _version: HeartbeatResponse()
    connection.throttled(2**31 / 1000)
    waiting = asyncio.ensure_future(connection.request(HeartbeatRequest(), timeout=60))
    await world.clock.advance(30.1)
    await waiting
    assert len(world.node.asked(ApiKey.HEARTBEAT)) == 1


async def test_old_versions_do_not_throttle_since_the_broker_has_waited(world: World) -> None:
    world.node.versions[ApiKey.HEARTBEAT] = (0, 1)
    connection = await opened(world)
    world.node.answers[ApiKey.HEARTBEAT] = lambda _request, _version: HeartbeatResponse(
        throttle_time_ms=2_000
    )
    await connection.request(HeartbeatRequest())
    await connection.request(HeartbeatRequest())


async def test_an_answer_that_cannot_be_read_closes_the_connection(world: World) -> None:
    connection = await opened(world)
    world.node.answers[ApiKey.HEARTBEAT] = lambda _request, _version: b"\0\0\0\0junk of some kind"
    with pytest.raises(DecodeError):
        await connection.request(HeartbeatRequest())
    assert connection.lost.result().kind == "closed"
