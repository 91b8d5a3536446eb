"""Members of groups, for tests: a handler that counts, and a member that runs while the test does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import ottla
from ottla.engine.twins import AsyncEvent
from tests.integration.twins import RunningTask, sleep_async

PARTITIONS = 6
QUICK: dict[str, Any] = {"heartbeat_interval_ms": 100, "session_timeout_ms": 6000}


async def wait_for(condition: Callable[[], object], what: str, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        await sleep_async(0.005)


async def fill(bootstrap: str, topic: str, count: int, partitions: int = PARTITIONS) -> None:
    async with ottla.AsyncProducer(bootstrap) as producer:
        for number in range(count):
            await producer.send(topic, b"%d" % number, partition=number % partitions)


class Counting(ottla.AsyncConsumerGroupHandler):
    """Counts records, and notes its claims and the order of its calls."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()
        self.claims: list[int] = []
        self.order: list[str] = []
        self.member_id = ""

    async def setup(self, session: ottla.AsyncGroupSession) -> None:
        self.order.append("setup")
        self.claims = [tp.partition for tp in session.claims]
        self.member_id = session.member_id

    async def consume_claim(
        self, session: ottla.AsyncGroupSession, claim: ottla.AsyncClaim
    ) -> None:
        async for record in claim:
            self.seen[record.value or b""] += 1
            session.mark(record)

    async def cleanup(self, session: ottla.AsyncGroupSession) -> None:
        self.order.append("cleanup")
        self.claims = []


class Member:
    """A member of a group that consumes until `stop`."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topic: str,
        handler: ottla.AsyncConsumerGroupHandler,
        **config: Any,
    ) -> None:
        self.handler = handler
        self.error: BaseException | None = None
        self._stop = AsyncEvent()
        self._group = ottla.AsyncConsumerGroup(
            bootstrap, group, auto_offset_reset="earliest", enable_auto_commit=False, **config
        )
        self._running = RunningTask(self._run, topic)

    async def _run(self, topic: str) -> None:
        try:
            await self._group.consume([topic], self.handler, self._stop, timeout=5)
        except Exception as error:
            self.error = error
        finally:
            await self._group.close(5)

    async def stop(self) -> None:
        self._stop.set()
        await self._running.join(30)
