"""Handlers that cannot work are refused before anything is joined; claims that do not return are named, and the caller learns it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import ottla
from ottla.testing import Broker
from tests.fixtures.logged import Logged

pytestmark = pytest.mark.embedded_only


class Misspelt(ottla.ConsumerGroupHandler):
    def consume_claims(self, session: Any, claim: Any) -> None: ...


class Nothing(ottla.ConsumerGroupHandler):
    pass


class Plain:
    """No base class, and no consume_claim."""

    def setup(self, session: Any) -> None: ...

    def cleanup(self, session: Any) -> None: ...


class Coroutine(ottla.ConsumerGroupHandler):
    async def consume_claim(self, session: Any, claim: Any) -> None:  # type: ignore[override]
        ...


class AsyncMisspelt(ottla.AsyncConsumerGroupHandler):
    async def consume_claims(self, session: Any, claim: Any) -> None: ...


class Blocking(ottla.AsyncConsumerGroupHandler):
    def consume_claim(self, session: Any, claim: Any) -> None:  # type: ignore[override]
        ...


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (
            Misspelt(),
            r"Misspelt has no consume_claim\(session, claim\) of its own; rename its consume_claims",
        ),
        (Nothing(), r"Nothing has no consume_claim"),
        (Plain(), r"Plain has no consume_claim"),
        (Coroutine(), "plain function .* not the coroutine function"),
        (AsyncMisspelt(), r"has no consume_claim\(session, claim\) of its own|coroutine function"),
    ],
)
@pytest.mark.parametrize("call", ["run", "consume"])
def test_a_handler_that_processes_nothing_is_refused(
    cluster: Broker, topic: str, unique_name: str, handler: Any, text: str, call: str
) -> None:
    cluster.append(topic, b"unread")
    group_id = f"g-{unique_name}"
    with ottla.ConsumerGroup(
        cluster.bootstrap, group_id, auto_offset_reset="earliest", enable_auto_commit=False
    ) as group:
        with pytest.raises(TypeError, match=text):
            getattr(group, call)([topic], handler)
        assert cluster.count("JoinGroup") == 0
    assert cluster.committed(group_id) == {}


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (
            AsyncMisspelt(),
            r"AsyncMisspelt has no consume_claim\(session, claim\) of its own; rename its consume_claims",
        ),
        (Blocking(), r"expected a coroutine function \(async def\)"),
        (Misspelt(), "expected a coroutine function"),
    ],
)
async def test_an_asynchronous_group_refuses_them_too(
    cluster: Broker, topic: str, unique_name: str, handler: Any, text: str
) -> None:
    async with ottla.AsyncConsumerGroup(cluster.bootstrap, f"g-{unique_name}") as group:
        with pytest.raises(TypeError, match=text):
            await group.consume([topic], handler)
    assert cluster.count("JoinGroup") == 0


class Stuck(ottla.ConsumerGroupHandler):
    """Marks each record, and then does not return until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.entered = threading.Event()

    def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
        for record in claim:
            session.mark(record)
            self.entered.set()
            self.released.wait(30)


def stop_after(entered: threading.Event, stop: threading.Event) -> None:
    entered.wait(30)
    stop.set()


def test_a_claim_that_does_not_return_is_named_and_the_caller_learns_it(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    cluster.append(topic, b"1")
    group_id = f"g-{unique_name}"
    handler, stop = Stuck(), threading.Event()
    with ottla.ConsumerGroup(
        cluster.bootstrap, group_id, auto_offset_reset="earliest", enable_auto_commit=False
    ) as group:
        threading.Thread(target=stop_after, args=(handler.entered, stop)).start()
        begun = time.monotonic()
        with pytest.raises(ottla.Timeout, match=f"claim {topic}-0 did not return within"):
            group.consume([topic], handler, stop=stop, timeout=4.5)
        assert time.monotonic() - begun < 10
        (line,) = logged("claim.stuck")
        assert line.__dict__["claims"] == [f"claim {topic}-0"]
        assert 3 <= line.__dict__["elapsed_s"] < 4
        assert logged("claim.abandoned")
    handler.released.set()
    assert cluster.committed(group_id) == {ottla.TopicPartition(topic, 0): 1}
    assert cluster.members(group_id) == []


def test_the_default_end_is_below_the_grace_of_kubernetes() -> None:
    import inspect

    for method in (
        ottla.ConsumerGroup.run,
        ottla.ConsumerGroup.consume,
        ottla.ConsumerGroup.close,
        ottla.Consumer.close,
    ):
        assert inspect.signature(method).parameters["timeout"].default <= 27


async def test_a_task_that_does_not_return_is_named_too(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    class Shielded(ottla.AsyncConsumerGroupHandler):
        async def consume_claim(
            self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
        ) -> None:
            async for record in claim:
                session.mark(record)
                stop.set()
                await asyncio.sleep(30)

    cluster.append(topic, b"1")
    stop = asyncio.Event()
    async with ottla.AsyncConsumerGroup(
        cluster.bootstrap, f"g-{unique_name}", auto_offset_reset="earliest"
    ) as group:
        with pytest.raises(ottla.Timeout, match="did not return within"):
            await group.consume([topic], Shielded(), stop=stop, timeout=4.5)
    assert logged("claim.stuck")
