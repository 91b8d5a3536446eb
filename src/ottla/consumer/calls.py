"""Calls from the group to the application: made on the engine thread, served where the application runs.

A rebalance asks the application to let go of partitions and waits until it has. Who serves the call is the thread (or
task) that polls, or the one that runs the handler; the engine only waits. A call that is no longer wanted (the
partitions were lost meanwhile) is withdrawn.

The queue is a SimpleQueue: a signal handler may interrupt the very wait that it wants to end, and only its `put` may re-enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections import deque
from collections.abc import Callable, Sequence

from ottla.message import TopicPartition

ASSIGNED = "assigned"
REVOKED = "revoked"
LOST = "lost"


class Call:
    """One call: what happened to which partitions, and the engine's wait for its end."""

    __slots__ = ("_future", "_loop", "generation", "kind", "partitions", "since", "withdrawn")

    def __init__(
        self, kind: str, partitions: Sequence[TopicPartition], generation: int = -1
    ) -> None:
        self.kind = kind
        self.partitions = list(partitions)
        self.generation = generation
        self.withdrawn = False
        """Nobody is to serve it any more."""
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        """Time at which it was made, by the engine's clock."""
        self._future: asyncio.Future[None] = self._loop.create_future()

    def __repr__(self) -> str:
        return f"<Call {self.kind} {len(self.partitions)} partitions>"

    def served(self) -> None:
        """The application is done with it. From any thread."""
        self._loop.call_soon_threadsafe(self._end)

    def withdraw(self) -> None:
        """Nobody waits for it any more, and nobody is told of it. Engine thread."""
        self.withdrawn = True
        self._end()

    def _end(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Until the application has served it or it was withdrawn. Engine thread."""
        await self._future


class Calls:
    """The queue between the two, with a bell for who serves.

    The bell is a `SimpleQueue` because its `put` may be called by a signal handler that interrupts its own `get`.
    """

    def __init__(self) -> None:
        self._queue: deque[Call] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, ring: Callable[[], None]) -> None:
        """`ring()` is called after each post, on the thread that posts; it must not block."""
        self._listeners.append(ring)

    def post(self, call: Call) -> None:
        """Engine thread."""
        self._queue.append(call)
        self.ring()

    def ring(self) -> None:
        """Wake whoever waits, as after a post. From any thread and from signal handlers."""
        self._bell.put(None)
        for ring in self._listeners:
            ring()

    def take(self) -> Call | None:
        """The next call to serve, None where there is none. From any thread."""
        while True:
            try:
                call = self._queue.popleft()
            except IndexError:
                return None
            if not call.withdrawn:
                return call

    def wait(self, timeout: float | None = None) -> None:
        """Block this thread until the bell rings or the time is up. Ctrl-C ends it at once."""
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=timeout)

    async def wait_async(self) -> None:
        """The same for a task, without a thread."""
        loop = asyncio.get_running_loop()
        rung = asyncio.Event()

        def ring() -> None:
            with contextlib.suppress(
                RuntimeError
            ):  # the loop is closed: nobody waits in it any more
                loop.call_soon_threadsafe(rung.set)

        self._listeners.append(ring)
        try:
            if self._bell.empty():
                await rung.wait()
            with contextlib.suppress(queue.Empty):
                self._bell.get_nowait()
        finally:
            self._listeners.remove(ring)

    def __len__(self) -> int:
        return len(self._queue)
