"""The loop side of the engine thread: the port to the I/O thread, drains, tasks and the clock.

`Engine` adds the thread to it; tests run a reactor in a loop of their own, with a double of the I/O thread and a
manual clock. Engine thread only.
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
        """The I/O thread's handle, for the native flows."""
        self.port = Port(io)
        self.clock: Clock = clock
        self.resolve: Callable[[str], Coroutine[Any, Any, list[str]]] = resolve
        """Resolves a host name to addresses."""
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
        """The bell has rung: serve the connections, then call every drain. An exception in one is logged and stops no other.

        The order matters: `Io.drain` silences the bell, so a flow that queues an event after its own drain ran rings
        again, and no event stays unserved.
        """
        self.port.dispatch()
        for drain in tuple(self._drains):
            try:
                drain()
            except Exception as error:
                _log.error("internal_error.drain", exc_info=error, reason=error)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run it as a task, with a strong reference; a failure is logged where no caller awaits it."""
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
        """Cancel every spawned task except the calling one."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
