"""Functions and objects that the application gives a producer to call, and the references to them.

The engine's side lives as long as there are messages to deliver, and may not hold strong references to objects of the
application: an `on_delivery` that is a method of the producer's owner would keep both alive for ever. So the public producer owns its
callbacks, where the collector sees a cycle through them. The engine's side has a `CallbackRef`: weak while the producer
lives, strong after its finalizer ran, until the last outcome is reported.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.engine.dispatcher import dispatch
from ottla.observe.events import call
from ottla.observe.log import ClientLog

if TYPE_CHECKING:
    from ottla._native import Delivery
    from ottla.observe.events import Event, Events, Listener
    from ottla.producer.interceptors import Interceptors


class Callbacks:
    """The functions and objects of the application, for one producer.

    Args:
        on_delivery: Called with each delivery that has its outcome, after the interceptors; None: there is none.
        interceptors: None: there are none.
    """

    def __init__(
        self,
        on_delivery: Callable[[Delivery], object] | None = None,
        interceptors: Interceptors | None = None,
    ) -> None:
        self.on_delivery = on_delivery
        self.interceptors = interceptors
        self.listeners: tuple[Listener, ...] = ()


class CallbackRef:
    """The engine side's reference to the callbacks: weak while the producer lives, strong after its finalizer ran.

    Args:
        callbacks: The callbacks; referenced strongly until `give_to_owner`.
        who: The client, for the log.
    """

    def __init__(self, callbacks: Callbacks, who: str = "producer") -> None:
        self._log = ClientLog("client", who)
        self._weak = weakref.ref(callbacks)
        self._strong: Callbacks | None = callbacks
        self._lock = threading.Lock()
        self._waiting: deque[Event] = deque()
        """Events that no listener has received yet."""

    def give_to_owner(self) -> Callbacks:
        """The callbacks, for the producer that owns them from here; this reference becomes weak."""
        callbacks = self.get()
        assert callbacks is not None, "called once, before the owner can be collected"
        self._strong = None
        return callbacks

    def get(self) -> Callbacks | None:
        """The callbacks; None while their owner is being collected, before `retain`."""
        return self._strong or self._weak()

    def retain(self, callbacks: Callbacks) -> None:
        """Make the reference strong, since the owner is collected. For a finalizer: one store."""
        self._strong = callbacks

    # ---- events ----------------------------------------------------------------------------------------------------

    def listen(self, events: Events, listener: Listener) -> None:
        """Have `listener` called for every event from now on. Threads: any, with the owner alive."""
        with self._lock:
            if (callbacks := self.get()) is not None:
                callbacks.listeners = (*callbacks.listeners, listener)
                if len(callbacks.listeners) == 1:
                    events.listen(self._receive)

    def unlisten(self, events: Events, listener: Listener) -> None:
        """No longer have it called. Threads: as `listen`."""
        with self._lock:
            if (callbacks := self.get()) is not None:
                left = tuple(known for known in callbacks.listeners if known != listener)
                callbacks.listeners = left
                if not left:
                    events.unlisten(self._receive)

    def emit_waiting(self) -> None:
        """Call the listeners for events that came while the owner was being collected. Engine thread."""
        if self._waiting:
            dispatch(self._call_listeners)

    def _receive(self, event: Event) -> None:
        self._waiting.append(event)
        self._call_listeners()

    def _call_listeners(self) -> None:
        callbacks = self.get()
        while callbacks is not None and self._waiting:
            event = self._waiting.popleft()
            for listener in callbacks.listeners:
                call(self._log, listener, event)
