"""The engine: the one Python thread of the control plane, with its event loop.

It starts with the first client of the process and ends with the last. Everything else in `cluster`, `wire`, `producer`
and `consumer` runs on it; callers reach it by `call`, which returns a ticket. The child of a fork has no engine: clients
that were created before raise `ForkedClient` there. At interpreter exit it is stopped within a second, and a warning counts
undelivered messages.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ottla.engine import dispatcher
from ottla.engine.bridge import Ticket, forked
from ottla.engine.clock import LoopClock
from ottla.engine.port import Io
from ottla.engine.reactor import Reactor
from ottla.engine.stuck import StuckCallbacks
from ottla.errors import Closed, Error, ForkedClient, Timeout
from ottla.observe.log import ClientLog, ProcessLog
from ottla.observe.running import running
from ottla.seam.connections import IoStatistics
from ottla.virtual_time import ClockLoop, SystemClock, follow, jump, monotonic, unfollow

T = TypeVar("T")

_log = ProcessLog("engine")

EXIT_TIMEOUT_S = 0.4
LEAVE_AT_EXIT_S = 1.0
"""Seconds that members of groups have at interpreter exit, in all, to commit finished records and to leave."""
"""Maximum wait of interpreter exit for the callbacks, and then for the engine thread, in seconds each."""
IO_SHUTDOWN_S = 0.3
"""Maximum wait for the I/O thread at the end of the engine, in seconds."""


class Engine(Reactor):
    """The engine thread. Created by `Engine.acquire`; each acquire has one `release`."""

    def __init__(self, io: Io) -> None:
        self.loop = ClockLoop(SystemClock())
        super().__init__(io, LoopClock(self.loop.clock))
        self.forked = False
        self._users = 0  # guarded by _lock
        self._stopping = False  # guarded by _lock
        self._exit_counts: dict[object, Callable[[], int]] = {}
        self._exit_leaves: dict[object, Callable[[], Ticket[None]]] = {}
        self._open: set[Ticket[Any]] = set()  # guarded by _open_lock: not settled yet
        self._ended = False  # guarded by _open_lock
        self._stopped = (
            False  # engine thread only: a task that is spawned from now on would never run
        )
        self._open_lock = threading.Lock()
        self._callbacks = StuckCallbacks(self.loop.call_later, dispatcher.is_busy)
        self._thread = threading.Thread(target=self._run, name="ottla-engine", daemon=True)

    # ---- life ------------------------------------------------------------------------------------------------------

    @classmethod
    def acquire(cls) -> Engine:
        """The process's engine, started if there is none. Threads: any."""
        global _current
        with _lock:
            if _current is None:
                _current = cls(_start_io())
                _alive.add(_current)
                _current._thread.start()
                follow(_current)
            _current._users += 1
            return _current

    def release(self) -> None:
        """A client has ended; the thread ends with the last one. Threads: any, the engine's own too."""
        global _current
        if self.forked:
            return
        with _lock:
            self._users -= 1
            if self._users > 0:
                return
            if _current is self:
                _current = None
        self._stop_soon()

    def _stop_soon(self) -> None:
        """Stop the loop, once: a second stop would end the loop again while it ends its tasks."""
        with _lock:
            if self._stopping:
                return
            self._stopping = True
        try:
            self.loop.call_soon_threadsafe(self.loop.stop)
        except RuntimeError:
            return  # the loop is closed: the thread has ended already

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread after the last release; False when the time ran out."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        _mark_thread()
        asyncio.set_event_loop(self.loop)
        self.loop.add_reader(self.io.fileno(), self.on_bell)
        if dispatcher.is_busy():
            self._callbacks.begin()
        try:
            self.loop.run_forever()
            self._stopped = True
            self.loop.run_until_complete(self.cancel_tasks())
            # Events of the connections that were closed last are still undelivered. Flows are not drained any more: no
            # decision is taken for a flow that is still open.
            self.port.dispatch()
        except Exception as error:
            _log.error("internal_error.engine", exc_info=error, reason=error)
        finally:
            self.loop.remove_reader(self.io.fileno())
            if not self.io.shutdown(IO_SHUTDOWN_S):
                _log.warning("thread.not_ended", what="I/O thread", timeout_s=IO_SHUTDOWN_S)
            self.loop.close()
            self._fail_open()
            unfollow(self)
            _alive.discard(self)

    # ---- calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        function: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        name: str | None = None,
        who: str | None = None,
        is_query: bool = False,
    ) -> Ticket[T]:
        """Run `function(*args)` as a task of the engine thread.

        Args:
            function: A coroutine function.
            args: Its arguments.
            name: The call of the public API, for errors and the log; None: the function's own name.
            who: The client, for the log.
            is_query: Whether the operation only asks, see `Ticket`.

        Returns:
            Ticket: settles with the result or exception of the coroutine; its `cancel` cancels the task.

        Raises:
            ForkedClient: This process is a fork of the one that the engine lives in.
            Closed: The engine has ended.

        Threads: any.
        """
        self.refuse_forked(who)
        name = name or str(getattr(function, "__qualname__", repr(function)))
        running: list[asyncio.Task[None]] = []

        def cancel() -> None:
            self._call_soon(lambda: [task.cancel() for task in running])

        ticket: Ticket[T] = Ticket(name, cancel, lambda: self.forked, who, is_query=is_query)

        def begin() -> None:
            if self._stopped:
                # The other tasks have ended, and no code would end this one.
                ticket.fail(Closed("the engine has ended"))
                return
            task = self.spawn(_settle(ticket, function, args), name)
            task.add_done_callback(lambda _: self._forget(ticket))
            running.append(task)

        with self._open_lock:
            if self._ended:
                raise Closed("the engine has ended")
            self._open.add(ticket)
        self._call_soon(begin)
        return ticket

    def refuse_forked(self, who: str | None = None) -> None:
        """Raise `ForkedClient` in the child of a fork; it names the client."""
        if self.forked:
            raise forked(who)

    def from_finalizer(self, function: Callable[[], None]) -> None:
        """Run it on the engine thread, soon; not while the engine ends, because its clients have ended then.

        The collector may run a finalizer in a thread that holds any lock of this package. So this takes no lock: asyncio
        appends the call to a deque and writes to a non-blocking socket.

        Threads: any, at any moment.
        """

        def unless_ended() -> None:
            if not self._stopped:
                function()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(unless_ended)

    def _forget(self, ticket: Ticket[Any]) -> None:
        """The task of the ticket has ended; a task that was cancelled before its first step has settled nothing."""
        ticket.fail(Closed(f"{ticket.name} was given up"))
        with self._open_lock:
            self._open.discard(ticket)

    def _fail_open(self) -> None:
        """The loop runs no task any more: fail every open ticket."""
        with self._open_lock:
            self._ended = True
            tickets = list(self._open)
            self._open.clear()
        for ticket in tickets:
            ticket.fail(Closed(f"{ticket.name}: the engine has ended"))

    def _call_soon(self, function: Callable[[], object]) -> None:
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            raise Closed("the engine has ended") from None

    def on_engine_thread(self) -> bool:
        """Whether the caller is the engine thread."""
        return threading.current_thread() is self._thread

    # ---- time ------------------------------------------------------------------------------------------------------

    def jump(self, seconds: float) -> int:
        """Move the clocks of the I/O thread and of this thread, and return once the timers that became due have started.

        Returns:
            int: A different number than before if a connection was opened or lost, or bytes were sent or received.

        Raises:
            RuntimeError: Called from this thread, which cannot wait for itself.

        Threads: any other.
        """
        if self.on_engine_thread():
            raise RuntimeError("the engine's thread cannot wait until its own time has passed")
        if self is not _current:
            return 0  # it is ending; the I/O threads' clock is the process's, and jumps once
        with contextlib.suppress(Closed, ForkedClient):
            self.io.skip(seconds)
            self.call(jump, self.loop.clock, seconds, name="advance_time").wait()
            counts: IoStatistics = self.io.statistics()
            # These change with every byte to or from a broker.
            return counts.connections + counts.lost + counts.bytes_read + counts.bytes_written
        return 0

    # ---- exit ------------------------------------------------------------------------------------------------------

    def watch_exit(self, owner: object, undelivered: Callable[[], int]) -> None:
        """At interpreter exit without `unwatch_exit`, warn with the number of messages that `undelivered` returns."""
        self._exit_counts[owner] = undelivered

    def unwatch_exit(self, owner: object) -> None:
        """The owner was closed: it has no undelivered messages."""
        self._exit_counts.pop(owner, None)

    def leave_at_exit(self, owner: object, leave: Callable[[], Ticket[None]]) -> None:
        """At interpreter exit without `unwatch_leave`, call `leave` and wait for its ticket, within a bounded time."""
        self._exit_leaves[owner] = leave

    def unwatch_leave(self, owner: object) -> None:
        """The owner was closed: it has left."""
        self._exit_leaves.pop(owner, None)

    def _leave_groups(self) -> None:
        """Members leave, so that their partitions do not wait for the end of their sessions."""
        tickets: list[Ticket[None]] = []
        for leave in list(self._exit_leaves.values()):
            with contextlib.suppress(Closed):
                tickets.append(leave())
        until = monotonic() + LEAVE_AT_EXIT_S
        for ticket in tickets:
            with contextlib.suppress(Error):
                ticket.wait(max(0.0, until - monotonic()))

    def end_with_interpreter(self) -> None:
        """Log the number of undelivered messages, leave the groups, and end the thread within a bounded time."""
        for owner, undelivered in list(self._exit_counts.items()):
            if count := undelivered():
                ClientLog("engine", repr(owner)).warning("client.not_closed", count=count)
        self._leave_groups()
        self._stop_soon()
        if not self.join(EXIT_TIMEOUT_S):
            _log.warning("thread.not_ended", what="engine thread", timeout_s=EXIT_TIMEOUT_S)


_lock = threading.Lock()
_current: Engine | None = None  # guarded by _lock
_alive: set[Engine] = set()
"""Engines whose thread has not ended: the current one, and those that are ending."""
_left_behind: set[Engine] = set()
"""Engines of the parent process: never collected in the child, because the descriptors of their loops and sockets are shared."""


async def _settle(
    ticket: Ticket[T], function: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...]
) -> None:
    """Run the operation and settle the ticket with its result."""
    try:
        ticket.settle(await function(*args))
    except asyncio.CancelledError:
        ticket.fail(Closed(f"{ticket.name} was given up"))
        raise
    except Timeout as error:
        ticket.fail(Timeout(f"{ticket.name}: {error.message}") if ticket.is_query else error)
    except BaseException as error:
        ticket.fail(error)
    finally:
        # The error's traceback holds this frame: without this it would hold the ticket, which holds the error.
        del ticket


def _start_io() -> Io:
    """Start the I/O thread. Imported here, so that engine and tests work without the extension."""
    from ottla._native import Io as NativeIo

    return NativeIo.start()


def _callbacks_begin() -> None:
    """The dispatcher thread has started. Threads: any, with any lock held."""
    engine = _current
    if engine is not None:
        with contextlib.suppress(RuntimeError):  # it has ended
            engine.loop.call_soon_threadsafe(engine._callbacks.begin)


def _mark_thread() -> None:
    """Mark the thread: handlers of the log run on it too, and a send in one of them must not wait for this thread."""
    from ottla._native import mark_thread

    mark_thread("engine")


def _before_fork() -> None:
    _lock.acquire()


def _after_fork_in_parent() -> None:
    _lock.release()


def _after_fork_in_child() -> None:
    """The threads are the parent's: touch no lock, socket or loop of theirs."""
    global _current, _lock
    _lock = threading.Lock()
    _current = None
    for engine in _alive:
        engine.forked = True
    _left_behind.update(_alive)
    _alive.clear()
    mark_forked = getattr(sys.modules.get("ottla._native"), "mark_forked", None)
    if mark_forked is not None:
        mark_forked()


def _at_exit() -> None:
    if not dispatcher.settle(EXIT_TIMEOUT_S):
        _log.warning("callback.running_at_exit", reason=running.blocker())
    for engine in list(_alive):
        engine.end_with_interpreter()


dispatcher.on_start(_callbacks_begin)
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
atexit.register(_at_exit)
