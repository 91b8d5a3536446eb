"""Events: changes inside a client, for listeners that watch it live.

An event is a dotted name of `event_table` and its fields. Emitting one without a listener costs the check of an empty tuple.
With listeners it is queued, and the queue is handed over at once to another thread, so that a slow listener never delays the
emitter. The queue is bounded. Leaf.

Rust reports events of batches only while `watch` is set. Every event must be in `event_table`: a test compares the two.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ottla.observe.log import ClientLog
from ottla.observe.raised import raised
from ottla.observe.running import running

MOST = 10_000
"""Maximum number of events that wait for slow listeners; further ones are dropped and counted."""


class Event(NamedTuple):
    """A change inside a client: its name, time and fields.

    `docs/reference/events.md` has every name with its fields.
    """

    name: str
    """Dotted: `connection.lost`."""
    time: float
    """Seconds since the epoch."""
    fields: dict[str, Any]
    """Numbers, texts and lists of them."""


Listener = Callable[[Event], object]
"""Called with each event."""

HandOver = Callable[[Callable[[], None]], None]
"""Runs a function soon, on the thread of the listeners."""


def _at_once(call: Callable[[], None]) -> None:
    call()


class Events:
    """The events of one client.

    Args:
        hand_over: Runs listeners on their own thread; by default they run in the thread of the emitter.
        watched: Called with whether there are listeners, when that changes.
        who: The client, for the log.
    """

    def __init__(
        self,
        hand_over: HandOver = _at_once,
        watched: Callable[[bool], None] | None = None,
        who: str = "client",
    ) -> None:
        self._log = ClientLog("client", who)
        self._hand_over = hand_over
        self._watched = watched
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._waiting: deque[Event] = deque()  # guarded by _lock
        self._dropped = 0  # guarded by _lock
        self._handed = False  # guarded by _lock

    def __bool__(self) -> bool:
        """Whether there are listeners: fields that cost time are computed only then."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> None:
        """Call `listener` for every event from now on. Threads: any."""
        with self._lock:
            first = not self._listeners
            self._listeners = (*self._listeners, listener)
            if first and self._watched is not None:
                self._watched(True)

    def unlisten(self, listener: Listener) -> None:
        """No longer call it. Threads: any."""
        with self._lock:
            had = bool(self._listeners)
            self._listeners = tuple(known for known in self._listeners if known != listener)
            if had and not self._listeners and self._watched is not None:
                self._watched(False)

    def emit(self, name: str, **fields: Any) -> None:
        """Queue an event for every listener. Threads: any."""
        if not self._listeners:
            return
        with self._lock:
            if len(self._waiting) >= MOST:
                self._dropped += 1
                return
            self._waiting.append(Event(name, time.time(), fields))
            if self._handed:
                return
            self._handed = True
        self._hand_over(self._serve)

    def _serve(self) -> None:
        while True:
            with self._lock:
                events, self._waiting = self._waiting, deque()
                dropped, self._dropped = self._dropped, 0
                if not events:
                    self._handed = False
                    return
            if dropped:
                events.append(Event("events.dropped", time.time(), {"count": dropped}))
            for event in events:
                for listener in self._listeners:
                    call(self._log, listener, event)


def call(log: ClientLog, listener: Listener, event: Event) -> None:
    """Call a listener; an exception is logged."""
    running.begin(listener, log.client)
    try:
        listener(event)
    except Exception as error:
        raised.report(log, "listener", listener, error, argument=event.name)
    finally:
        running.end()
