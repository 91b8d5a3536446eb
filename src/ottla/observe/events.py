"""Events: what happened inside the client, for whoever wants to watch it live.

An event is a dotted name of the stations' vocabulary (`connection.opened`, `cluster.rebootstrapped`) and its fields.
Listeners run in the thread that tells the event, so they have to be quick; an exception in one is logged. Leaf.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.observe.log import logger

Listener = Callable[[str, dict[str, Any]], None]
"""Called with the event's name and its fields."""

_log = logger("client")


class Events:
    """The events of one client."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> None:
        """Call `listener` for every event from now on. Threads: any."""
        self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Listener) -> None:
        """No longer call it. Threads: any."""
        self._listeners = tuple(known for known in self._listeners if known != listener)

    def tell(self, name: str, **fields: Any) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            try:
                listener(name, fields)
            except Exception:
                _log.exception("a listener failed at %s", name)
