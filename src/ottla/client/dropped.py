"""Finalizers of public objects that the application dropped without `close`: they warn, and the engine closes the client.

The collector may run a finalizer in any thread and between any two steps, also while that thread holds a lock of ours. So a
finalizer takes no lock, calls no code of the application and waits for nothing: it hands over to the engine
(`Engine.from_finalizer`) and warns, as CPython does for a file.

Invariant: the engine's side has no strong reference to an object of the application, else a cycle through a callback would never
be collected (`docs/adr/0021-the-engine-closes-dropped-clients.md`).
"""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Owner = TypeVar("Owner")
T = TypeVar("T")

_FINDS_INSTANCES = sys.version_info >= (3, 12)
"""Whether `tracemalloc` finds the creation of any object; before Python 3.12 not that of one with a dictionary."""


class Made:
    """An object created with the client: `tracemalloc` finds the place by it where it does not by the public object."""

    __slots__ = ()


class Client(Protocol):
    """The engine side of a public object."""

    config: Any
    made: Made

    @property
    def is_closing(self) -> bool:
        """Whether closing has begun."""

    @property
    def is_forked(self) -> bool:
        """Whether it belongs to a parent process."""


def dropped(
    owner: Any,
    hand_over: Callable[[], None],
    _warn: Callable[..., None] = warnings.warn,
    _is_finalizing: Callable[[], bool] = sys.is_finalizing,
) -> None:
    """End a public object: its `__del__` calls this.

    The warning points to the line that dropped it, and with `tracemalloc` to the one that made it.

    Args:
        owner: The object.
        hand_over: Hands the client over to the engine; not called if `__init__` has raised, nor in the child of a fork.
    """
    # Not by attribute, which may be code of the application.
    client: Client | None = owner.__dict__.get("_client")
    if client is None or client.is_forked:
        return
    unclosed = not client.is_closing
    # First: a filter may make the warning an exception.
    hand_over()
    if unclosed:
        follows = (
            "it ends with the interpreter" if _is_finalizing() else "it is closed in the background"
        )
        block = "an async with" if hasattr(type(owner), "__aenter__") else "a with"
        text = (
            f"unclosed {type(owner).__name__} {client.config.client_id!r}: {follows}; "
            f"call close() or use {block} block"
        )
        source = owner if _FINDS_INSTANCES else client.made
        _warn(text, ResourceWarning, stacklevel=3, source=source)


def weakly(owner: Owner, method: Callable[[Owner], T], gone: T) -> Callable[[], T]:
    """The method of an object, through a weak reference; it returns `gone` once the object is collected."""
    reference = weakref.ref(owner)

    def call() -> T:
        alive = reference()
        return gone if alive is None else method(alive)

    return call
