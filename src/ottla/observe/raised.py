"""Exceptions of the application's functions in the log: the first with its traceback, later ones counted. Leaf; any thread.

A callback that raises most often raises for every message. The same function with the same type of exception is summed up
once per `EVERY_S`, and no exception is left out of the counts. The dispatcher's thread, which runs the callbacks, writes the
sums that are due before it ends; the end of a client and of the process write the rest at once.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from ottla.errors import line_of
from ottla.observe.log import ClientLog
from ottla.virtual_time import monotonic

EVERY_S = 1.0
FORGOTTEN_S = 60.0
"""Time without an exception after which the next one has its traceback again."""

_Key = tuple[str, str, str, str]
"""Client, kind of function, function, type of the exception."""


class _Repeats:
    """One function that raised, and the number of exceptions since the last line."""

    __slots__ = ("count", "last", "log", "seen", "written")

    def __init__(self, log: ClientLog, now: float) -> None:
        self.log = log
        self.written = self.seen = now
        self.count = 0
        self.last = ""

    def is_forgotten(self, now: float) -> bool:
        return not self.count and now - self.seen > FORGOTTEN_S


class Raised:
    """The exceptions of all functions of the application in this process.

    Args:
        now: The time, seconds.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._repeats: dict[_Key, _Repeats] = {}  # guarded by _lock

    def report(
        self,
        log: ClientLog,
        kind: str,
        function: object,
        error: BaseException,
        *,
        argument: str = "",
        next_step: str = "later calls run",
    ) -> None:
        """Write that a function of the application raised, or count it.

        Args:
            log: Log of the client.
            kind: Role of the function: "callback", "listener", "on_send of".
            function: The function or object.
            error: The exception.
            argument: Argument of the call, for the first line.
            next_step: Next step of the client, for the first line.
        """
        key = (log.client, kind, name_of(function), type(error).__qualname__)
        now = self._now()
        with self._lock:
            known = self._repeats.get(key)
            first = known is None or known.is_forgotten(now)
            if known is None or first:
                self._repeats[key] = _Repeats(log, now)
            else:
                known.count += 1
                known.seen, known.last = now, _text(error)
        if first:
            log.error(
                "callback.raised",
                exc_info=error if error.__traceback__ is not None else None,
                kind=kind,
                function=repr(function),
                reason=_text(error),
                error=type(error).__name__,
                argument=argument,
                next_step=next_step,
            )
        else:
            self.write_due()

    def forget(self) -> None:
        """Drop everything, in a forked child: the lock may be held for ever there, and the counts are the parent's."""
        self._lock = threading.Lock()
        self._repeats = {}

    def end(self, client: str | None = None) -> None:
        """Write the sums, due or not, and forget them: of this client, or of all."""
        self._write(lambda key: client in (None, key[0]), ends=True)

    def write_due(self) -> bool:
        """Write the sums that are due. Returns whether others are left."""
        return self._write(lambda key: True, ends=False)

    def _write(self, wanted: Callable[[_Key], bool], *, ends: bool) -> bool:
        now = self._now()
        lines: list[tuple[_Key, ClientLog, int, str]] = []
        left = False
        with self._lock:
            for key, known in list(self._repeats.items()):
                if not wanted(key):
                    continue
                if known.count and (ends or now - known.written >= EVERY_S):
                    lines.append((key, known.log, known.count, known.last))
                    known.count, known.written = 0, now
                elif known.count:
                    left = True
                if ends or known.is_forgotten(now):
                    del self._repeats[key]
        # Without the lock: a handler of the application's log may raise in a callback of its own.
        for (_, kind, function, error), log, count, last in lines:
            log.error(
                "callback.raised_again",
                kind=kind,
                function=function,
                error=error,
                count=count,
                reason=last,
            )
        return left


def _text(error: BaseException) -> str:
    try:
        return line_of(error)
    except Exception:
        return type(error).__qualname__


def name_of(function: Any) -> str:
    """A function for people, the same one for each closure that one place makes."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


raised = Raised()
atexit.register(raised.end)
os.register_at_fork(after_in_child=raised.forget)
