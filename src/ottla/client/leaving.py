"""How long the end of a client, of a `with` block above all, may take. The caller's thread or event loop."""

from __future__ import annotations

import asyncio

CLOSE_S = 30.0
CALLBACK_S = 30.0
"""Who waits for callbacks without a limit waits no longer where none has begun or returned for so long: it may never."""
INTERRUPTED_CLOSE_S = 1.0


def close_timeout(error: BaseException | None) -> float:
    """Seconds for the close of a consumer at the end of a block that `error` has ended."""
    return INTERRUPTED_CLOSE_S if _is_interrupt(error) else CLOSE_S


def producer_close_timeout(error: BaseException | None) -> float | None:
    """Seconds for the close of a producer at the end of a block; None: what was accepted has the time that it lives."""
    return INTERRUPTED_CLOSE_S if _is_interrupt(error) else None


def _is_interrupt(error: BaseException | None) -> bool:
    """Who presses Ctrl-C or cancels a task wants it to end, and in an outage a close takes all the time it gets.

    A second is enough for a broker that answers; what has no outcome by then gets one, and the log says how many those are.
    """
    return isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
