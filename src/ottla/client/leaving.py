"""How long the end of a client, of a `with` block above all, may take. The caller's thread or event loop."""

from __future__ import annotations

import asyncio

from ottla.arguments import DEFAULT_TIMEOUT, TimeoutArgument

CLOSE_S = 30.0
CALLBACK_S = 30.0
"""Limit of one callback in `flush` and `close` without a `timeout`: one that takes longer may never return."""
INTERRUPTED_CLOSE_S = 1.0


def close_timeout(error: BaseException | None) -> float:
    """Seconds for the close of a consumer at the end of a block that `error` has ended."""
    return INTERRUPTED_CLOSE_S if _is_interrupt(error) else CLOSE_S


def producer_close_timeout(error: BaseException | None) -> TimeoutArgument:
    """`timeout` of the close of a producer at the end of a block that `error` has ended."""
    return INTERRUPTED_CLOSE_S if _is_interrupt(error) else DEFAULT_TIMEOUT


def _is_interrupt(error: BaseException | None) -> bool:
    """Who presses Ctrl-C or cancels a task wants it to end, and in an outage a close takes all the time it gets.

    A second is enough for a broker that answers; what has no outcome by then gets one, and the log says how many those are.
    """
    return isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
