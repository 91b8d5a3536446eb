"""The differences between event loops and threads: pairs of functions, `x_async` for event loops and `x` for threads.

The public asyncio modules call the first of each pair; `codegen/unasync.py` replaces it by the second. The modules do
not differ otherwise.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ottla import arguments

if TYPE_CHECKING:
    from ottla._native import FetchFlow, Records
    from ottla.engine.bridge import Ticket

T = TypeVar("T")

_EVENT_CHECK_S = 0.2
"""Interval at which a thread that waits for an event checks whether the wait has ended anyway, in seconds."""


class Bell(Protocol):
    """A source of wake-ups."""

    def wait(self, timeout: float | None = None) -> None:
        """Block until it rings."""

    async def wait_async(self) -> None:
        """Wait in a task until it rings."""


AsyncEvent = asyncio.Event
ThreadEvent = threading.Event

_background: set[asyncio.Task[Any]] = set()
"""Strong references to running tasks: the loop has only weak ones."""


async def wait_async(ticket: Ticket[T], timeout: float | None = None) -> T:
    """The ticket's result, awaited; cancelling ends the wait only."""
    return await ticket.wait_async(timeout)


def wait(ticket: Ticket[T], timeout: float | None = None) -> T:
    """The ticket's result, waited for by this thread; Ctrl-C ends the wait at once."""
    return ticket.wait(timeout)


def in_background_async(function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
    """Run it as a task of the running loop."""
    task = asyncio.get_running_loop().create_task(function(*args))
    _background.add(task)
    task.add_done_callback(_background.discard)


def in_background(function: Callable[..., Any], *args: Any) -> None:
    """Run it in a thread of its own, which does not keep the process alive."""
    threading.Thread(target=function, args=args, name="ottla-background", daemon=True).start()


async def take_async(
    flow: FetchFlow, limit: int, timeout: float | None, only: tuple[str, int] | None = None
) -> Records | None:
    """Records of the inbox, awaited."""
    records: Records | None = await flow.take_async(limit, timeout, only)
    return records


def take(
    flow: FetchFlow, limit: int, timeout: float | None, only: tuple[str, int] | None = None
) -> Records | None:
    """Records of the inbox, waited for by this thread."""
    return flow.take(limit, timeout, only)


async def notify_async(callback: Callable[..., Any], *args: Any) -> None:
    """Call the user's callback, plain or a coroutine function, in this task."""
    result = callback(*args)
    if inspect.isawaitable(result):
        await result


def notify(callback: Callable[..., Any], *args: Any) -> None:
    """Call the user's callback in this thread."""
    callback(*args)


class ShieldedCalls:
    """Runs one coroutine function after the other; cancelling a call ends the wait for it only."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None

    async def run(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run it, after one whose call was cancelled."""
        await self.wait()
        self._task = asyncio.get_running_loop().create_task(function(*args))
        await self.wait()

    async def wait(self) -> bool:
        """Wait for the one that runs, and raise its exception; False: none runs."""
        task = self._task
        if task is None:
            return False
        try:
            await asyncio.shield(task)
        finally:
            if task.done() and self._task is task:
                self._task = None
        return True


class PlainCalls:
    """Runs functions in this thread, where a call is not cancelled."""

    def run(self, function: Callable[..., Any], *args: Any) -> None:
        """Run it."""
        function(*args)

    def wait(self) -> bool:
        """None runs."""
        return False


def check_callback_async(name: str, given: Any, form: str) -> None:
    """Raise TypeError unless `notify_async` can call it like `form`: a function or a coroutine function."""
    arguments.function(name, given, form, coroutines=True)


def check_callback(name: str, given: Any, form: str) -> None:
    """Raise TypeError unless `notify` can call it like `form`: not a coroutine function, which no caller would await."""
    arguments.function(name, given, form)


def check_claim_method_async(name: str, given: Any, form: str) -> None:
    """Raise TypeError unless it is a coroutine function like `form`: a task of the event loop runs it."""
    arguments.coroutine_function(name, given, form)


def check_claim_method(name: str, given: Any, form: str) -> None:
    """Raise TypeError unless it is a plain function like `form`: a thread runs it."""
    arguments.function(name, given, form)


def check_event_async(name: str, given: Any) -> None:
    """Raise TypeError unless it is an event of asyncio."""
    if not inspect.iscoroutinefunction(getattr(given, "wait", None)):
        raise TypeError(f"{name} must be an asyncio.Event, not {arguments.shown(given)}")


def check_event(name: str, given: Any) -> None:
    """Raise TypeError unless it is an event of threading."""
    wait_for = getattr(given, "wait", None)
    if not callable(wait_for) or inspect.iscoroutinefunction(wait_for):
        raise TypeError(f"{name} must be a threading.Event, not {arguments.shown(given)}")


async def next_ring_async(calls: Bell) -> None:
    """Wait until the bell rings."""
    await calls.wait_async()


def next_ring(calls: Bell) -> None:
    """Block this thread until the bell rings."""
    calls.wait()


async def watch_event_async(
    event: asyncio.Event, fire: Callable[[], None], has_ended: Callable[[], bool]
) -> None:
    """Call `fire()` once the event is set, unless `has_ended()` by then."""
    await event.wait()
    if not has_ended():
        fire()


def watch_event(
    event: threading.Event, fire: Callable[[], None], has_ended: Callable[[], bool]
) -> None:
    """Call `fire()` once the event is set, unless `has_ended()` by then."""
    while not has_ended():
        if event.wait(_EVENT_CHECK_S):
            fire()
            return
