"""The dispatcher: the thread that runs the application's callbacks.

Callbacks never run on the engine or I/O thread, so a slow one delays neither. Calls run one after another in the order
of their arrival; an exception in one is logged and loses no other call. The thread starts with the first call and ends
`IDLE_S` after the last one.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from ottla.engine.bridge import Ticket
from ottla.observe.log import ProcessLog
from ottla.observe.raised import raised
from ottla.observe.running import running

_log = ProcessLog("dispatcher")

IDLE_S = 0.25
"""Seconds without a call after which the thread ends."""

_Call = tuple[Callable[..., object], tuple[Any, ...]]


class Dispatcher:
    """One queue, one thread."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None  # guarded by _lock

    def dispatch(self, function: Callable[..., object], *args: Any) -> None:
        """Queue `function(*args)` for the dispatcher thread. Threads: any."""
        self._queue.put((function, args))
        with self._lock:
            starts = self._thread is None
            if starts:
                self._thread = threading.Thread(
                    target=self._run, name="ottla-dispatcher", daemon=True
                )
                self._thread.start()
        if starts:
            _on_start()

    def _run(self) -> None:
        from ottla._native import mark_thread

        mark_thread("dispatcher")
        while True:
            try:
                function, args = self._queue.get(timeout=IDLE_S)
            except queue.Empty:
                if not raised.write_due() and self._ended():
                    return
                continue
            try:
                function(*args)
            except BaseException as error:
                _log.error(
                    "internal_error.dispatch",
                    exc_info=error,
                    function=repr(function),
                    reason=error,
                )
            # No object of a call may stay alive while the thread waits for the next one.
            del function, args

    def _ended(self) -> bool:
        """Whether the thread may end. The lock closes the gap between the check of the queue and a call that arrives then."""
        with self._lock:
            if not self._queue.empty():
                return False
            self._thread = None
            return True

    def settled(self) -> Ticket[None]:
        """A ticket that settles once every call queued so far has run. Threads: any."""
        ticket: Ticket[None] = Ticket("callbacks", is_forked=lambda: _dispatcher is not self)
        self.dispatch(ticket.settle, None)
        return ticket

    def is_busy(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None

    def is_current(self) -> bool:
        """Whether the caller is the dispatcher thread."""
        return threading.current_thread() is self._thread

    def settle(self, timeout: float) -> bool:
        """Wait until every call queued so far has run; False when the time ran out. Threads: any but its own."""
        if self._thread is None:
            return True
        reached = threading.Event()
        self.dispatch(reached.set)
        return reached.wait(timeout)


def _no_call() -> None:
    pass


_dispatcher = Dispatcher()
_on_start: Callable[[], None] = _no_call


def on_start(call: Callable[[], None]) -> None:
    """Call `call` each time the dispatcher thread starts, in the thread that starts it."""
    global _on_start
    _on_start = call


def is_busy() -> bool:
    """Whether the dispatcher thread runs: it calls a callback, or has called one within `IDLE_S`."""
    return _dispatcher.is_busy()


def dispatch(function: Callable[..., object], *args: Any) -> None:
    """Run `function(*args)` on the dispatcher thread, after everything dispatched before it. Threads: any."""
    _dispatcher.dispatch(function, *args)


def write_raised_soon() -> None:
    """Have the thread write the counts of exceptions of callbacks that are due. Threads: any."""
    _dispatcher.dispatch(raised.write_due)


def settled() -> Ticket[None]:
    """A ticket that settles once every callback dispatched so far has run. Threads: any."""
    return _dispatcher.settled()


def on_dispatcher() -> bool:
    """Whether the caller is a callback."""
    return _dispatcher.is_current()


def settle(timeout: float) -> bool:
    """Wait until every callback dispatched so far has run; False when the time ran out."""
    return _dispatcher.settle(timeout)


def _forget_parent() -> None:
    """In a forked child the thread does not exist, and only the parent runs the calls that it queued."""
    global _dispatcher
    _dispatcher = Dispatcher()
    running.end()


os.register_at_fork(after_in_child=_forget_parent)
