"""What the application has given its producer to call, and who keeps it.

The engine's side lives as long as there is something to deliver, and may not keep the application's objects: an
`on_delivery` that is a method of whoever has the producer would keep both for ever. So the public producer owns its
callbacks, where the collector sees a cycle through them, and lends them: weakly while it lives, and from its finalizer
on for as long as there is something to tell.
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
        on_delivery: Called with each delivery that has its outcome, after the interceptors; None: nobody asks.
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


class Lent:
    """The engine side's reference to the callbacks: strong until they are claimed, and again once they are kept.

    Args:
        callbacks: What is lent.
        who: The client, for the log.
    """

    def __init__(self, callbacks: Callbacks, who: str = "producer") -> None:
        self._log = ClientLog("client", who)
        self._claimed = weakref.ref(callbacks)
        self._kept: Callbacks | None = callbacks
        self._lock = threading.Lock()
        self._untold: deque[Event] = deque()

    def claim(self) -> Callbacks:
        """The callbacks, for the producer that owns them from here."""
        callbacks = self.get()
        assert callbacks is not None, "they are claimed once, before their owner can be collected"
        self._kept = None
        return callbacks

    def get(self) -> Callbacks | None:
        """The callbacks; None at the moment at which their owner is collected, before `keep`."""
        return self._kept or self._claimed()

    def keep(self, callbacks: Callbacks) -> None:
        """Their owner goes, and what is left to tell is told all the same. For a finalizer: one store."""
        self._kept = callbacks

    # ---- events ----------------------------------------------------------------------------------------------------

    def listen(self, events: Events, listener: Listener) -> None:
        """Have `listener` called for every event from now on. Threads: any, with the owner alive."""
        with self._lock:
            if (callbacks := self.get()) is not None:
                callbacks.listeners = (*callbacks.listeners, listener)
                if len(callbacks.listeners) == 1:
                    events.listen(self._tell)

    def unlisten(self, events: Events, listener: Listener) -> None:
        """No longer have it called. Threads: as `listen`."""
        with self._lock:
            if (callbacks := self.get()) is not None:
                left = tuple(known for known in callbacks.listeners if known != listener)
                callbacks.listeners = left
                if not left:
                    events.unlisten(self._tell)

    def kept(self) -> None:
        """Tell the events that came while the owner was being collected. Engine thread."""
        if self._untold:
            dispatch(self._tell_untold)

    def _tell(self, event: Event) -> None:
        self._untold.append(event)
        self._tell_untold()

    def _tell_untold(self) -> None:
        callbacks = self.get()
        while callbacks is not None and self._untold:
            event = self._untold.popleft()
            for listener in callbacks.listeners:
                call(self._log, listener, event)
