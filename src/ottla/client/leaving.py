"""How long the end of a `with` block may take to close its client. The caller's thread or event loop."""

from __future__ import annotations

import asyncio

CLOSE_S = 30.0
INTERRUPTED_CLOSE_S = 1.0


def close_timeout(error: BaseException | None) -> float:
    """Seconds for the close at the end of a block that `error` has ended.

    Who presses Ctrl-C or cancels a task wants it to end, and in an outage a close takes all the time it gets. A second is
    enough for a broker that answers; what has no outcome by then gets one, and the log says how many those are.
    """
    interrupted = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
    return INTERRUPTED_CLOSE_S if interrupted else CLOSE_S
