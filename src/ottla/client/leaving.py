"""Time limits for the end of a client, above all of a `with` block. The caller's thread or event loop."""

from __future__ import annotations

import asyncio

from ottla.arguments import DEFAULT_TIMEOUT, TimeoutArgument

CLOSE_S = 25.0
"""Maximum seconds for the close of a consumer or a group without a `timeout`: below the 30 s that Kubernetes gives after SIGTERM."""
CALLBACK_S = 30.0
"""Limit of one callback in `flush` and `close` without a `timeout`: one that takes longer may never return."""
INTERRUPTED_CLOSE_S = 1.0
"""Maximum seconds for the close at the end of an interrupted block."""


def close_timeout(error: BaseException | None) -> float:
    """Seconds for the close of a consumer at the end of a block that `error` has ended."""
    return INTERRUPTED_CLOSE_S if _is_interrupt(error) else CLOSE_S


def producer_close_timeout(error: BaseException | None) -> TimeoutArgument:
    """`timeout` of the close of a producer at the end of a block that `error` has ended."""
    return INTERRUPTED_CLOSE_S if _is_interrupt(error) else DEFAULT_TIMEOUT


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C or a cancellation ended the block: then the program should end, and in an outage a close uses all its time.

    A second is enough for a broker that answers; messages without an outcome get one then, and the log counts them.
    """
    return isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
