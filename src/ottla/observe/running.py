"""The callback of the application that runs now, so that errors about a wait for it can name it.

Written by the dispatcher thread, once per call; read by any. Leaf.
"""

from __future__ import annotations


class Running:
    """The callback that has begun and has not returned. Callbacks of all clients run one at a time."""

    __slots__ = ("client", "function", "number", "reported")

    def __init__(self) -> None:
        self.function: object = None
        """None: none runs."""
        self.client = ""
        """Its client, for the log."""
        self.number = 0
        """Number of the call: another one for each."""
        self.reported = 0
        """Number of the last call that the log has a line about."""

    def begin(self, function: object, client: str) -> None:
        """A call begins."""
        self.function, self.client = function, client
        self.number += 1

    def end(self) -> None:
        """No call runs; no reference to the last one is retained."""
        self.function = None

    def blocker(self) -> str:
        """Why callbacks that are due have not run yet, in words."""
        function = self.function
        if function is None:
            return "their callbacks have not been called yet"
        try:
            return f"the callback {function!r} of {self.client} has not returned"
        except Exception:  # its repr is the application's
            return "their callbacks have not returned"


running = Running()
