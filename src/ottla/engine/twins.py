"""What the two worlds do differently: pairs of functions, `x_async` for event loops and `x` for threads.

The public asyncio modules call the first of each pair; `codegen/unasync.py` puts the second in its place. Nothing else
differs between them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ottla._native import Delivery
    from ottla.engine.bridge import Ticket
    from ottla.message import RecordMetadata

T = TypeVar("T")

_background: set[asyncio.Task[Any]] = set()
"""Tasks that nobody else refers to: the loop itself keeps only weak references."""


async def wait_async(ticket: Ticket[T], timeout: float | None = None) -> T:
    """The ticket's result, awaited; cancelling ends the wait only."""
    return await ticket.wait_async(timeout)


def wait(ticket: Ticket[T], timeout: float | None = None) -> T:
    """The ticket's result, waited for by this thread; Ctrl-C ends the wait at once."""
    return ticket.wait(timeout)


async def outcome_async(delivery: Delivery) -> RecordMetadata:
    """Where the message was written, awaited."""
    metadata: RecordMetadata = await delivery
    return metadata


def outcome(delivery: Delivery) -> RecordMetadata:
    """Where the message was written, waited for by this thread."""
    metadata: RecordMetadata = delivery.result()
    return metadata


def in_background_async(function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
    """Run it as a task of the running loop."""
    task = asyncio.get_running_loop().create_task(function(*args))
    _background.add(task)
    task.add_done_callback(_background.discard)


def in_background(function: Callable[..., Any], *args: Any) -> None:
    """Run it in a thread of its own, which does not keep the process alive."""
    threading.Thread(target=function, args=args, name="ottla-background", daemon=True).start()
