"""Pairs for the tests that are generated: `x_async` for event loops and `x` for threads.

The tests of `_async` call the first of each pair; `codegen/unasync.py` puts the second in its place.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import ottla


class RunningTask:
    """A function that runs during the test, in a task of its event loop."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(function(*args))

    async def join(self, timeout: float) -> None:
        """Wait for its end; an error where it does not come in time or the function raised."""
        await asyncio.wait_for(asyncio.shield(self._task), timeout)


class RunningThread:
    """A function that runs during the test, in a thread."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, args), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except BaseException as error:
            self._error = error

    def join(self, timeout: float) -> None:
        """Wait for its end; an error where it does not come in time or the function raised."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"not within {timeout} s"
        if self._error is not None:
            raise self._error


async def poll_for_async(consumer: ottla.AsyncConsumer, timeout: float) -> ottla.Records:
    """A poll that is cancelled when the time is up."""
    try:
        return await asyncio.wait_for(consumer.poll(timeout=None), timeout)
    except TimeoutError:
        return ottla.Records()


def poll_for(consumer: ottla.Consumer, timeout: float) -> ottla.Records:
    """A poll that ends when the time is up."""
    return consumer.poll(timeout=timeout)


async def sleep_async(seconds: float) -> None:
    """Let the other tasks run."""
    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Let the other threads run."""
    time.sleep(seconds)


async def wait_set_async(event: asyncio.Event, timeout: float) -> None:
    """Wait until the event is set; an error where it does not come in time."""
    await asyncio.wait_for(event.wait(), timeout)


def wait_set(event: threading.Event, timeout: float) -> None:
    """Wait until the event is set; an error where it does not come in time."""
    assert event.wait(timeout), f"not within {timeout} s"
