"""Signals that stop a group: installed for the length of a `run`, put back afterwards.

The first one asks for an orderly end. The second of its kind means what it meant before `run`: Ctrl-C twice interrupts
an end that hangs in the user's code.
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

    def put_back(number: signal.Signals) -> None:
        if loop.remove_signal_handler(number) and before[number] is not None:
            signal.signal(number, before[number])

    def handle(number: signal.Signals) -> None:
        put_back(number)
        stop()

    for number in _STOPPING:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in _STOPPING:
            put_back(number)


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop()`; only the main thread can have it so."""
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
