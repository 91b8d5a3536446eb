"""What of the application's callbacks runs now, so that whoever waits for one can name it.

Written by the dispatcher thread, once per call; read by any. Leaf.
"""

from __future__ import annotations


class Running:
    """The callback that has begun and has not returned."""

    __slots__ = ("function", "number", "told", "who")

    def __init__(self) -> None:
        self.function: object = None
        """None: none runs."""
        self.who = ""
        """Whose it is, for the log."""
        self.number = 0
        """Of the call: another one for each."""
        self.told = 0
        """The number of the last call that the log has a line about."""

    def keeps(self) -> str:
        """What keeps outcomes that callbacks have not been told of. Of all clients one callback runs at a time."""
        function = self.function
        if function is None:
            return "their callbacks have not been called yet"
        return f"the callback {function!r} of {self.who} has not returned"

    def end(self) -> None:
        """None runs any more, and nothing of it is kept."""
        self.function = None


running = Running()
