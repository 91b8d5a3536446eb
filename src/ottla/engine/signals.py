"""Signals that stop a group: installed for the length of a `run`, put back afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_signals_async(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop()` in the running loop, which must be the main thread's."""
    loop = asyncio.get_running_loop()
    for number in _STOPPING:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _STOPPING:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop()`; only the main thread can have it so."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "run() handles signals, so it must be called on the main thread; elsewhere use consume(stop=…)"
        )

    def handle(_number: int, _frame: Any) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
