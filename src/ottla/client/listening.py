"""The listeners of rebalances while they run: the operations that a listener may call, and those that it may not.

A listener runs inside of a poll, so a call that polls, or that changes the subscription, would wait for itself. Such a call
raises an error that names it. References: KIP-1306.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from ottla.errors import StateError


class _Call:
    """One listener that runs, or ran. A task that it started may outlive it, and keeps this in its context."""

    __slots__ = ("is_running", "name", "owner")

    def __init__(self, owner: object, name: str) -> None:
        self.owner = owner
        self.name = name
        self.is_running = True


class _Frame(NamedTuple):
    call: _Call
    outer: _Frame | None


_innermost: ContextVar[_Frame | None] = ContextVar("ottla_listener", default=None)


@contextmanager
def listening(owner: object, name: str) -> Iterator[None]:
    """The listener of this name runs in the block, for the consumer `owner`."""
    call = _Call(owner, name)
    token = _innermost.set(_Frame(call, _innermost.get()))
    try:
        yield
    finally:
        call.is_running = False
        _innermost.reset(token)


def running_listener(owner: object) -> str | None:
    """Name of the listener of `owner` that makes the current call; None: no listener makes it."""
    frame = _innermost.get()
    while frame is not None:
        if frame.call.owner is owner and frame.call.is_running:
            return frame.call.name
        frame = frame.outer
    return None


def refuse_in_listener(owner: object, call: str) -> None:
    """Raise an error if a listener of `owner` makes this call."""
    name = running_listener(owner)
    if name is not None:
        raise StateError(
            f"{call}() was called in {name}: a listener may commit, seek, pause, resume and look up offsets; "
            f"call {call}() after the poll"
        )
