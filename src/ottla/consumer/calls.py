"""Calls from the group to the application: posted on the engine thread, served where the application runs.

A rebalance asks the application to release partitions and waits until it has. The thread (or task) that polls serves the
call, or the one that runs the handler; the engine only waits. A call that is not needed any more (the partitions were lost
in the meantime) is withdrawn.

The queue is a SimpleQueue: a signal handler may interrupt the very wait that it wants to end, and only its `put` may re-enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

from ottla.message import TopicPartition

ASSIGNED = "assigned"
REVOKED = "revoked"
LOST = "lost"


class Call:
    """One call: a change of the assignment, its partitions, and the engine's wait until it is served."""

    __slots__ = (
        "_future",
        "_lock",
        "_loop",
        "generation",
        "is_served",
        "is_taken",
        "kind",
        "partitions",
        "reason",
        "since",
        "withdrawn",
    )

    def __init__(
        self,
        kind: str,
        partitions: Sequence[TopicPartition],
        generation: int = -1,
        reason: str = "",
    ) -> None:
        self.kind = kind
        self.partitions = list(partitions)
        self.generation = generation
        self.reason = reason
        """Why the partitions were lost."""
        self._lock = threading.Lock()
        self.is_taken = False
        """Whether the application has begun to serve it."""
        self.is_served = False
        """Whether the application has served it."""
        self.withdrawn = False
        """Whether it needs no service any more."""
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        """Time at which it was posted, by the engine's clock."""
        self._future: asyncio.Future[None] = self._loop.create_future()

    def __repr__(self) -> str:
        return f"<Call {self.kind} {len(self.partitions)} partitions>"

    def begin(self) -> bool:
        """The application begins to serve it; False: it was withdrawn. Threads: any."""
        with self._lock:
            self.is_taken = not self.withdrawn
            return self.is_taken

    def finish(self) -> None:
        """The application has served it. Threads: any."""
        self.is_served = True
        self._loop.call_soon_threadsafe(self._end)

    def withdraw(self) -> bool:
        """End the wait for it. Engine thread.

        Returns:
            bool: Whether the application never receives it; False: it has begun to serve it.
        """
        with self._lock:
            self.withdrawn = True
        self._end()
        return not self.is_taken

    def _end(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Wait until the application has served it or it was withdrawn. Engine thread."""
        await self._future


class Calls:
    """The queue of calls, with a bell for the application.

    The bell is a `SimpleQueue` because its `put` may run in a signal handler that interrupts its own `get`.
    """

    def __init__(self) -> None:
        self._queue: deque[Call] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, ring: Callable[[], None]) -> None:
        """Call `ring()` after each post, on the posting thread; it must not block."""
        self._listeners.append(ring)

    def post(self, call: Call) -> None:
        """Queue a call. Engine thread."""
        self._queue.append(call)
        self.ring()

    def ring(self) -> None:
        """Wake the application, as after a post. Threads: any, and signal handlers."""
        self._bell.put(None)
        for ring in self._listeners:
            ring()

    def take(self) -> Call | None:
        """The next call to serve; None: there is none. Threads: any."""
        while True:
            try:
                call = self._queue.popleft()
            except IndexError:
                return None
            if call.begin():
                return call

    def take_loss(self) -> Call | None:
        """The next loss to serve, ahead of other calls; None: there is none. Threads: any."""
        for call in list(self._queue):
            if call.kind == LOST:
                with contextlib.suppress(ValueError):  # another thread has taken it
                    self._queue.remove(call)
                    if call.begin():
                        return call
        return None

    def wait(self, timeout: float | None = None) -> None:
        """Block this thread until the bell rings or the time is up. Ctrl-C ends it at once."""
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=timeout)

    async def wait_async(self) -> None:
        """Wait for the bell in a task."""
        loop = asyncio.get_running_loop()
        rung = asyncio.Event()

        def ring() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so no task waits in it
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
