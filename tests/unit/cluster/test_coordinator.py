"""Coordinators: found, asked for again while they move, kept, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.cluster.cluster import Cluster
from ottla.cluster.coordinator import Coordinators
from ottla.engine.clock import settle
from ottla.errors import KafkaError, Timeout
from ottla.protocol.api_keys import ApiKey
from tests.unit.doubles import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.reactor.cancel_tasks()


async def coordinators(world: World) -> Coordinators:
    cluster = Cluster(world.config, world.reactor)
    await cluster.refresh("start")
    return cluster.coordinators


@pytest.mark.parametrize("version", [0, 1, 3, 4])
async def test_it_is_found_in_every_layout_and_kept(world: World, version: int) -> None:
    world.node.versions[ApiKey.FIND_COORDINATOR] = (0, version)
    found = await coordinators(world)
    assert await found.find("group", "g") == 1
    assert await found.find("group", "g") == 1
    (asked,) = world.node.asked(ApiKey.FIND_COORDINATOR)
    assert (asked.coordinator_keys == ["g"]) if version == 4 else (asked.key == "g")


async def test_transactions_have_coordinators_of_their_own(world: World) -> None:
    found = await coordinators(world)
    await found.find("group", "name")
    assert await found.find("transaction", "name") == 1
    assert [asked.key_type for asked in world.node.asked(ApiKey.FIND_COORDINATOR)] == [0, 1]


async def test_many_callers_share_one_request(world: World) -> None:
    found = await coordinators(world)
    await asyncio.gather(*(found.find("group", "g") for _ in range(5)))
    assert len(world.node.asked(ApiKey.FIND_COORDINATOR)) == 1


@pytest.mark.parametrize("code", [14, 15, 16])
async def test_it_is_asked_for_again_while_it_is_not_there(world: World, code: int) -> None:
    found = await coordinators(world)
    world.cluster.coordinator = (code, 1)
    waiting = asyncio.ensure_future(found.find("group", "g"))
    await world.clock.advance(2)
    assert not waiting.done()
    assert len(world.node.asked(ApiKey.FIND_COORDINATOR)) > 2
    world.cluster.coordinator = (0, 1)
    assert await world.run(waiting) == 1


async def test_a_lost_connection_is_asked_around(world: World) -> None:
    found = await coordinators(world)
    world.node.answers[ApiKey.FIND_COORDINATOR] = lambda _request, _version: None
    waiting = asyncio.ensure_future(found.find("group", "g"))
    await settle()
    del world.node.answers[ApiKey.FIND_COORDINATOR]
    other = world.cluster.add_node(2)
    world.cluster.coordinator = (0, 2)
    world.node.answers[ApiKey.FIND_COORDINATOR] = other.answers[ApiKey.FIND_COORDINATOR]
    world.io.lose(next(iter(world.io.open)))
    assert await world.run(waiting) == 2


async def test_a_refusal_is_raised(world: World) -> None:
    found = await coordinators(world)
    world.cluster.coordinator = (30, 1)
    with pytest.raises(KafkaError, match="GROUP_AUTHORIZATION_FAILED"):
        await found.find("group", "g")


async def test_the_wait_is_bounded_and_names_the_last_error(world: World) -> None:
    found = await coordinators(world)
    world.cluster.coordinator = (15, 1)
    with pytest.raises(Timeout, match="COORDINATOR_NOT_AVAILABLE"):
        await world.run(found.find("group", "g", timeout=5))


async def test_a_forgotten_coordinator_is_asked_for_again_and_its_address_is_learnt(
    world: World,
) -> None:
    found = await coordinators(world)
    assert await found.find("transaction", "t") == 1
    world.cluster.add_node(3)
    world.cluster.coordinator = (0, 3)
    assert await found.find("transaction", "t") == 1
    found.invalidate("transaction", "t")
    assert await found.find("transaction", "t") == 3
