"""What runs on the engine thread's loop: the port to the I/O thread, the drains, tasks and time.

`Engine` adds the thread to it; tests run a reactor in a loop of their own, with a double of the I/O thread and a clock
that they turn. Engine thread only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ottla.engine.clock import Clock
from ottla.engine.port import Io, Port
from ottla.engine.resolve import resolve
from ottla.observe.log import ProcessLog

T = TypeVar("T")

_log = ProcessLog("engine")


class Reactor:
    """The engine's loop side."""

    def __init__(self, io: Io, clock: Clock) -> None:
        self.io: Any = io
        """The I/O thread's handle, as the native flows want it."""
        self.port = Port(io)
        self.clock: Clock = clock
        self.resolve: Callable[[str], Coroutine[Any, Any, list[str]]] = resolve
        """Host name to addresses."""
        self._drains: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def add_drain(self, drain: Callable[[], None]) -> None:
        """Call `drain` each time the bell has rung, after the connections' own events."""
        if drain not in self._drains:
            self._drains.append(drain)

    def remove_drain(self, drain: Callable[[], None]) -> None:
        """No longer call it."""
        if drain in self._drains:
            self._drains.remove(drain)

    def on_bell(self) -> None:
        """The bell has rung: serve the connections, then every drain. What one raises is logged and stops no other.

        The order is the seam's: `Io.drain` silences the bell, so a flow that queues an event after its own drain ran
        rings again, and nothing is left lying.
        """
        self.port.dispatch()
        for drain in tuple(self._drains):
            try:
                drain()
            except Exception as error:
                _log.error("internal_error.drain", exc_info=error, reason=error)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run it as a task that is kept alive; a failure that nobody awaits is logged."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"ottla: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("internal_error.task", exc_info=error, what=task.get_name(), reason=error)

    async def sleep(self, seconds: float) -> None:
        """Wait by the engine's clock."""
        await self.clock.sleep(seconds)

    async def cancel_tasks(self) -> None:
        """End every spawned task but the one that asks."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
