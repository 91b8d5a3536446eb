"""Signals that stop a group: handlers are installed for the duration of a `run`, and the earlier ones restored afterwards.

The first signal requests an orderly end, and restores the earlier handler of its kind: a second Ctrl-C interrupts an end
that hangs in the code of the application.
"""

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
    before = {number: signal.getsignal(number) for number in _STOPPING}

    def restore(number: signal.Signals) -> None:
        if loop.remove_signal_handler(number) and before[number] is not None:
            signal.signal(number, before[number])

    def handle(number: signal.Signals) -> None:
        restore(number)
        stop()

    for number in _STOPPING:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in _STOPPING:
            restore(number)


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop()`. Only the main thread can install handlers."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "run() handles signals, so it must be called on the main thread; elsewhere use consume(stop=…)"
        )

    def handle(number: int, _frame: Any) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    before = {number: signal.getsignal(number) for number in _STOPPING}
    for number in _STOPPING:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
