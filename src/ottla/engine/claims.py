"""Runs the claims of a handler: a task for each in an event loop, a thread for each without one.

The asyncio modules use `ClaimTasks`, their synchronous twins `ClaimThreads`; both have the same methods.
A claim that does not stop in time is abandoned and logged as an error, so that it cannot block `close` for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from ottla.observe.log import ClientLog


class ClaimTasks:
    """Claims as tasks of the running loop."""

    def __init__(self, on_failure: Callable[[], None], log: ClientLog) -> None:
        self._on_failure = on_failure
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self.failure: BaseException | None = None
        """The exception of the first claim that failed."""

    def start(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        """Run `function(*args)` as a task."""
        self._tasks.append(
            asyncio.get_running_loop().create_task(self._run(function, args), name=name)
        )

    async def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            await function(*args)
        except Exception as error:
            self.failure = _first(self.failure, error, self._log)
            self._on_failure()

    async def join(self, timeout: float) -> list[str]:
        """Wait for all; returns the names of those that did not end within `timeout` seconds."""
        if not self._tasks:
            return []
        _, pending = await asyncio.wait(self._tasks, timeout=timeout)
        return [task.get_name() for task in pending]

    def abandon(self) -> None:
        """Stop waiting: running claims are cancelled."""
        for task in self._tasks:
            task.cancel()


class ClaimThreads:
    """Claims as threads, which do not keep the process alive."""

    def __init__(self, on_failure: Callable[[], None], log: ClientLog) -> None:
        self._on_failure = on_failure
        self._log = log
        self._threads: list[threading.Thread] = []
        self.failure: BaseException | None = None
        """The exception of the first claim that failed."""

    def start(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        """Run `function(*args)` in a thread."""
        thread = threading.Thread(target=self._run, args=(function, args), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except BaseException as error:  # a SystemExit too: it would end only this thread
            self.failure = _first(self.failure, error, self._log)
            self._on_failure()

    def join(self, timeout: float) -> list[str]:
        """Wait for all; returns the names of those that did not end within `timeout` seconds."""
        deadline = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def abandon(self) -> None:
        """Stop waiting: threads cannot be stopped, and these do not keep the process alive."""


def _first(before: BaseException | None, error: BaseException, log: ClientLog) -> BaseException:
    """The error to raise; one that is not the first is logged."""
    if before is None:
        return error
    log.error("claim.failed", exc_info=error, reason=error)
    return before
