"""What the application's own functions do wrong, in the log: the first with its traceback, those that follow counted. Leaf; any thread.

A callback that raises most often raises for every message. The same function with the same type of exception is told together
once per `EVERY_S`, and nothing is left out of the counts. The dispatcher's thread, which runs the callbacks, tells what is due before
it ends; the end of a client and of the process tell the rest at once.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from ottla.observe.log import ClientLog
from ottla.virtual_time import monotonic

EVERY_S = 1.0
FORGOTTEN_S = 60.0
"""After so long without another one the next has its traceback again."""

_Key = tuple[str, str, str, str]
"""The client, the words of the line, the function, the type of the exception."""


class _Repeats:
    """One function that raised, and how often since the last line."""

    __slots__ = ("count", "last", "log", "seen", "told")

    def __init__(self, log: ClientLog, now: float) -> None:
        self.log = log
        self.told = self.seen = now
        self.count = 0
        self.last = ""

    def is_forgotten(self, now: float) -> bool:
        return not self.count and now - self.seen > FORGOTTEN_S


class Raised:
    """Everything of the kind in this process.

    Args:
        now: The time, seconds.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._repeats: dict[_Key, _Repeats] = {}  # guarded by _lock

    def tell(self, log: ClientLog, what: str, function: object, more: str = "") -> None:
        """The exception that is being handled came out of a function of the application's; without one, `what` says it all.

        Args:
            log: Whose line it is.
            what: With {} for the function.
            function: What raised.
            more: What it was called with and what follows, for the first line; not part of what makes lines equal.
        """
        error = sys.exc_info()[1]
        key = (log.who, what, name_of(function), type(error).__qualname__)
        text = _text(error)
        now = self._now()
        with self._lock:
            known = self._repeats.get(key)
            first = known is None or known.is_forgotten(now)
            if known is None or first:
                self._repeats[key] = _Repeats(log, now)
            else:
                known.count += 1
                known.seen, known.last = now, text
        if first:
            log.error(what.replace("{}", "%r") + "%s", function, more, exc_info=error)
        else:
            self.tell_due()

    def forget(self) -> None:
        """In a forked child the lock may be held for ever, and what the parent counted is the parent's to tell."""
        self._lock = threading.Lock()
        self._repeats = {}

    def end(self, who: str | None = None) -> None:
        """Tell what was counted, due or not, and begin anew: of this client, or of each."""
        self._tell(lambda key: who in (None, key[0]), ends=True)

    def tell_due(self) -> bool:
        """Tell what was counted and is due; whether something is left to tell."""
        return self._tell(lambda key: True, ends=False)

    def _tell(self, wanted: Callable[[_Key], bool], *, ends: bool) -> bool:
        now = self._now()
        lines: list[tuple[ClientLog, str, int, str]] = []
        left = False
        with self._lock:
            for key, known in list(self._repeats.items()):
                if not wanted(key):
                    continue
                if known.count and (ends or now - known.told >= EVERY_S):
                    lines.append((known.log, key[1].format(key[2]), known.count, known.last))
                    known.count, known.told = 0, now
                elif known.count:
                    left = True
                if ends or known.is_forgotten(now):
                    del self._repeats[key]
        # Without the lock: a handler of the application's may raise in a callback of its own.
        for log, text, count, last in lines:
            log.error("%s: %d more %s%s", text, count, "time" if count == 1 else "times", last)
        return left


def _text(error: BaseException | None) -> str:
    if error is None:
        return ""
    try:
        return f", the last with {error!r}"
    except Exception:
        return f", the last with {type(error).__qualname__}"


def name_of(function: Any) -> str:
    """A function for people, the same one for each closure that one place makes."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


raised = Raised()
atexit.register(raised.end)
os.register_at_fork(after_in_child=raised.forget)
