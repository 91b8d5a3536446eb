"""Records what crosses between a producer's flow and its outbox about holds, and replays it without a flow, a broker or a clock.

A recording has one value in each line, as Python writes the named types of the seam:

    settings(enable_idempotence=True, gapless=False)
    Held(topic='t', partition=0, cause='answer', batches=[...], identity=None)
    set_identity(ProducerIdentity(producer_id=1000, epoch=0))
    release('t', 0, ['retry'], behind=None, identity=None)

`Held` is an event of the flow, `set_identity` and `release` are calls of the outbox. The replay passes the events to the
decision code (`holds`, `verdict`, `identity`) in their order and returns the calls that this code makes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from ottla.cluster.backoff import Backoff
from ottla.cluster.leaders import LeaderRoutes
from ottla.engine.clock import ManualClock
from ottla.observe.events import Events
from ottla.observe.health import Health
from ottla.observe.log import ClientLog
from ottla.observe.summary import Summary
from ottla.producer.context import OutboxContext
from ottla.producer.holds import Holds
from ottla.producer.identity import IdentitySource
from ottla.protocol.messages.init_producer_id import InitProducerIdResponse
from ottla.seam import connections, failures, leaders, producing
from ottla.seam.producing import Held, ProducerIdentity

_NAMES = {
    name: value
    for module in (connections, failures, leaders, producing)
    for name, value in vars(module).items()
    if isinstance(value, type)
}


def call_text(name: str, *given: object, **named: object) -> str:
    """A call as a line of a recording."""
    fields = [repr(each) for each in given] + [f"{key}={each!r}" for key, each in named.items()]
    return f"{name}({', '.join(fields)})"


# ---- recording -------------------------------------------------------------------------------------------------------


class RecordedFlow:
    """A flow whose holds and decisions become lines; every other call goes to the flow alone."""

    def __init__(self, flow: Any, lines: list[str]) -> None:
        self._flow = flow
        self._lines = lines

    def __getattr__(self, name: str) -> Any:
        return getattr(self._flow, name)

    def drain(self) -> list[Any]:
        """Record the holds among the events."""
        events: list[Any] = self._flow.drain()
        self._lines += [repr(event) for event in events if isinstance(event, Held)]
        return events

    def set_identity(self, identity: ProducerIdentity) -> None:
        """Record it."""
        self._lines.append(call_text("set_identity", identity))
        self._flow.set_identity(identity)

    def release(
        self, topic: str, partition: int, decisions: list[Any], *, behind: Any, identity: Any = None
    ) -> None:
        """Record it."""
        end = {"behind": behind, "identity": identity}
        self._lines.append(call_text("release", topic, partition, decisions, **end))
        self._flow.release(topic, partition, decisions, **end)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Record the one producer that is created in this block: the lines."""
    lines: list[str] = []
    init = OutboxContext.__init__

    def record(context: OutboxContext, engine: Any, cluster: Any, flow: Any, config: Any) -> None:
        settings = {"enable_idempotence": config.enable_idempotence, "gapless": config.gapless}
        lines.append(call_text("settings", **settings))
        wrapped: Any = RecordedFlow(flow, lines)
        init(context, engine, cluster, wrapped, config)

    with patch.object(OutboxContext, "__init__", record):
        yield lines


# ---- replay ----------------------------------------------------------------------------------------------------------


class ReplayedFlow:
    """Notes the calls of the outbox as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def note(*given: object, **named: object) -> None:
            if name == "release":
                named = {"behind": None, "identity": None} | named
            if name in ("release", "set_identity"):
                self.lines.append(call_text(name, *given, **named))

        return note


class Replay:
    """The decision code of one producer, without anything that it talks to. Its pauses take no time."""

    def __init__(self, *, enable_idempotence: bool, gapless: bool) -> None:
        self.flow = ReplayedFlow()
        self._given: asyncio.Queue[ProducerIdentity] = asyncio.Queue()
        log = ClientLog("outbox", "replay")
        context: Any = SimpleNamespace(
            flow=self.flow,
            config=SimpleNamespace(enable_idempotence=enable_idempotence, gapless=gapless),
            engine=SimpleNamespace(clock=ManualClock()),
            cluster=SimpleNamespace(
                request=self._request,
                refresh_soon=lambda _: None,
                apply_leader_hint=lambda *_: None,
                snapshot=SimpleNamespace(partition=lambda *_: None),
            ),
            events=Events(),
            health=Health(),
            log=log,
            summary=Summary(log, lambda *_: None),
            backoff=Backoff(0, 0),
            closed=False,
            now=lambda: 0.0,
            spawn=self._spawn,
        )
        routes: Any = SimpleNamespace(
            **dict.fromkeys(("withdraw", "suspend", "resume", "find"), lambda _: None),
            broker_fields=lambda _: {"node": -1, "address": ""},
        )
        assert all(hasattr(LeaderRoutes, name) for name in vars(routes))
        self._identity = IdentitySource(context, lambda *_: None)
        self._holds = Holds(context, routes, self._identity)
        self._tasks: list[asyncio.Task[None]] = []

    def _spawn(self, coroutine: Any, _name: str) -> None:
        self._tasks.append(asyncio.ensure_future(coroutine))

    async def _request(self, _request: object) -> InitProducerIdResponse:
        identity = await self._given.get()
        return InitProducerIdResponse(
            producer_id=identity.producer_id, producer_epoch=identity.epoch
        )

    async def take(self, row: object) -> None:
        """One row of the recording: an event, or the answer that a call of the outbox has used."""
        if isinstance(row, Held):
            self._holds.end_soon(row)
        elif isinstance(row, ProducerIdentity):
            if not any(not task.done() for task in self._tasks):
                self._spawn(self._identity.renew(), "producer id")
            self._given.put_nowait(row)
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Raise the exceptions of its tasks."""
        for task in self._tasks:
            if task.done():
                task.result()
            task.cancel()


def calls_of(recording: Iterable[str]) -> list[str]:
    """The calls of the outbox in a recording."""
    return [line for line in recording if line.startswith(("release(", "set_identity("))]


def replay(recording: list[str]) -> list[str]:
    """The calls that the decision code makes for the events of a recording."""
    settings, *rows = recording
    names: dict[str, Any] = _NAMES | {
        "settings": dict,
        "set_identity": lambda identity: identity,
        "release": lambda *_, **__: None,
    }

    async def run() -> list[str]:
        replayed = Replay(**eval(settings, names))
        for row in rows:
            await replayed.take(eval(row, names))
        await replayed.end()
        return replayed.flow.lines

    return asyncio.run(run())
