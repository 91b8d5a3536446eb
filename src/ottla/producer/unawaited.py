"""Asynchronous sends that nobody awaits and whose message waits for buffer space or its topic: the client completes them.

Station: accumulator. The extension has the messages in their queues (`crates/native/src/send/unawaited.rs`) and asks for a call
when one has its turn; this module calls, and again when the time of one runs out. A partitioner function of the application
runs on the dispatcher thread, everything else on the engine thread. Why: `docs/adr/0032-an-unawaited-send-is-sent.md`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ottla.engine.dispatcher import dispatch

if TYPE_CHECKING:
    from ottla.producer.context import OutboxContext


class UnawaitedSends:
    """Completes them for one producer. Engine thread only."""

    def __init__(self, context: OutboxContext) -> None:
        self._context = context
        self._flow = context.flow
        self._due_at: float | None = None
        """Earliest time, by the engine's clock, at which a timer calls `advance`."""
        self._waiting: list[asyncio.Future[None]] = []
        """Futures of calls that wait until there are none left."""

    def advance(self) -> None:
        """Accept the messages that have their turn, and fail those whose time ran out."""
        progress = self._flow.advance_unawaited()
        if progress.needs_functions:
            dispatch(self._flow.advance_unawaited, True)
        if progress.next_expiry_s is not None:
            self._call_later(progress.next_expiry_s)
        if not self._flow.unawaited():
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    def _call_later(self, seconds: float) -> None:
        at = self._context.now() + seconds
        if self._due_at is None or at < self._due_at:
            self._due_at = at
            self._context.later(seconds, self._due)

    def _due(self) -> None:
        self._due_at = None
        if not self._context.closed:
            self.advance()

    async def ended(self) -> None:
        """Wait until each of them is accepted or has failed, within `max_block_ms`."""
        self.advance()
        if self._flow.unawaited():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
