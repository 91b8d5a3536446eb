"""Tickets: threads and event loops wait by them for operations on the engine thread.

A ticket is created in the caller's thread and settled on the engine thread. Any number of threads and loops may wait for
it, with any time-out: the end of a wait does not end the operation. Threads: any.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from ottla.arguments import seconds
from ottla.errors import Closed, ForkedClient, Timeout, line_of
from ottla.observe.log import ClientLog, ProcessLog

T = TypeVar("T")

GRACE_S = 1.0
"""Seconds that the caller of a query waits beyond its limit: the engine ends it at the limit, with the cause in the error."""


class Ticket(Generic[T]):
    """The outcome of one operation on the engine thread.

    Args:
        name: The call, for errors and the log.
        cancel: Ends the operation.
        is_forked: Whether this process is a fork of the engine's.
        who: The client, for the log.
        is_query: Whether the operation only asks: the end of the wait ends it, and a failure without a reader is not logged.
    """

    def __init__(
        self,
        name: str,
        cancel: Callable[[], None] | None = None,
        is_forked: Callable[[], bool] | None = None,
        who: str | None = None,
        *,
        is_query: bool = False,
    ) -> None:
        self.name = name
        self.is_query = is_query
        self._who = who
        self._cancel = cancel
        self._is_forked = is_forked
        self._lock = threading.Lock()
        self._done = False  # written once, under _lock
        self._result: T | None = None
        self._error: BaseException | None = None
        self._was_read = False
        self._wakers: list[Callable[[], None]] = []  # guarded by _lock; each is called once

    # ---- settling (engine thread) ----------------------------------------------------------------------------------

    def settle(self, result: T) -> None:
        """Set the result; only the first outcome counts."""
        self._settle(result, None)

    def fail(self, error: BaseException) -> None:
        """Set the failure; only the first outcome counts."""
        self._settle(None, error)

    def _settle(self, result: T | None, error: BaseException | None) -> None:
        with self._lock:
            if self._done:
                return
            self._result = result
            self._error = error
            self._done = True
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    # ---- reading and waiting (any thread or loop) ------------------------------------------------------------------

    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._done

    def result(self) -> T:
        """The outcome, at once.

        Raises:
            Timeout: There is none yet.
            Exception: The failure of the operation.
        """
        if not self._done:
            raise Timeout(f"{self.name}: no outcome yet")
        return self._outcome()

    def exception(self) -> BaseException | None:
        """The failure; None while there is no outcome, and after a success."""
        self._was_read = True
        return self._error

    def wait(self, timeout: float | None = None) -> T:
        """Wait for the outcome in this thread; Ctrl-C ends the wait at once.

        Args:
            timeout: Seconds; None: no limit of its own (the operation has one).

        Raises:
            Timeout: The time ran out; the operation continues.
            TypeError, ValueError: `timeout` is not a number of seconds; the operation continues.
            RuntimeError: It would wait on the engine's own thread, where a handler of the client's log ran: no outcome could
                come. The operation continues.
            Exception: The failure of the operation.

        Threads: any; on the engine's own it never waits.
        """
        limit = seconds(timeout)
        if not self._done:
            self._refuse_forked()
            if limit != 0:
                _refuse_engine()
            woken = threading.Lock()
            woken.acquire()
            if self._add_waker(woken.release):
                try:
                    in_time = woken.acquire(timeout=-1 if limit is None else limit)
                finally:
                    self._remove_waker(woken.release)
                    self._end_query()
                if not in_time and not self._done:
                    raise Timeout(f"{self.name}: no outcome within {timeout} s")
        return self._outcome()

    async def wait_async(self, timeout: float | None = None) -> T:
        """Wait for the outcome in the running event loop, whichever that is.

        Args:
            timeout: Seconds; None: no limit of its own (the operation has one).

        Raises:
            Timeout: The time ran out; the operation continues.
            TypeError, ValueError: `timeout` is not a number of seconds; the operation continues.
            Exception: The failure of the operation.

        Cancellation: Ends the wait only; see `cancel`.
        """
        limit = seconds(timeout)
        if not self._done:
            self._refuse_forked()
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()

            def wake() -> None:
                _call_soon(loop, _resolve, future)

            if self._add_waker(wake):
                try:
                    async with asyncio.timeout(limit):
                        await future
                except TimeoutError:
                    if not self._done:
                        raise Timeout(f"{self.name}: no outcome within {timeout} s") from None
                finally:
                    self._remove_waker(wake)
                    self._end_query()
        return self._outcome()

    def __await__(self) -> Generator[Any, None, T]:
        return self.wait_async().__await__()

    def cancel(self) -> None:
        """Ask the engine to cancel the operation; waiting callers get `Closed` unless it ends before."""
        if self._cancel is not None and not self._done:
            self._cancel()

    def _end_query(self) -> None:
        """End a query whose caller no longer waits."""
        if self.is_query:
            self.cancel()

    def _outcome(self) -> T:
        self._was_read = True
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set together with _done

    def _refuse_forked(self) -> None:
        if self._is_forked is not None and self._is_forked():
            raise forked(self._who)

    def _add_waker(self, wake: Callable[[], None]) -> bool:
        """Register `wake` to be called at the outcome; False where there is one already."""
        with self._lock:
            if self._done:
                return False
            self._wakers.append(wake)
            return True

    def _remove_waker(self, wake: Callable[[], None]) -> None:
        with self._lock:
            if wake in self._wakers:
                self._wakers.remove(wake)

    def __repr__(self) -> str:
        who = f" of {self._who}" if self._who else ""
        if not self._done:
            state = "pending: wait() or await it"
        elif self._error is not None:
            state = f"failed: {line_of(self._error)}"
        else:
            state = f"done: {self._result!r}"
        return f"<Ticket {self.name}{who}, {state}>"

    def __del__(self) -> None:
        expected = self._was_read or self.is_query or isinstance(self._error, Closed)
        if self._error is not None and not expected:
            log = ClientLog("engine", self._who) if self._who else ProcessLog("engine")
            log.error("call.failed", call=self.name, reason=self._error)


def forked(who: str | None) -> ForkedClient:
    """The exception of a call in the child of a fork. who: The client."""
    return ForkedClient(
        f"{who or 'this client'} was made before a fork; make a new one in the child"
    )


def _refuse_engine() -> None:
    """Raise on an engine thread: it settles the tickets, and cannot while it is blocked. A task of its loop that waits does not
    block it.
    """
    # Not at the top: tickets without a waiting thread work without the extension.
    from ottla._native import check_may_wait

    check_may_wait()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Call it in the loop's thread; a loop that has been closed has no waiting task."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
