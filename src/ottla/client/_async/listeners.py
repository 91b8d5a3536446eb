"""The rebalance listeners of one consumer, and the partitions that they were notified of.

Runs in the application's threads or tasks, one call after the other: the poll, or the call that serves a loss, has the turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.client.listening import listening
from ottla.consumer.calls import ASSIGNED, REVOKED, Call
from ottla.engine.twins import ShieldedCalls, notify_async
from ottla.message import TopicPartition

Listener = Callable[[list[TopicPartition]], Any]


class AsyncListeners:
    """Calls the listeners, by kind of call."""

    def __init__(self) -> None:
        self.by_kind: dict[str, Listener | None] = {}
        self.lost: dict[TopicPartition, str] = {}
        """Why partitions were lost of which the application holds records: until the next poll a commit raises it."""
        self._given: set[TopicPartition] = set()
        """Partitions that the application was notified of and that were not revoked or lost since."""
        self._calls = ShieldedCalls()

    async def serve(self, call: Call) -> None:
        """Call the listener, then finish the call. Cancelling ends the wait only: the next poll waits for the listener."""
        if call.kind == ASSIGNED:
            self._given.update(call.partitions)
        else:
            self._given.difference_update(call.partitions)
        await self._calls.run(self._serve, call)

    async def _serve(self, call: Call) -> None:
        try:
            if call.partitions or call.kind == ASSIGNED:
                await self._notify(call.kind, call.partitions)
        finally:
            call.finish()

    async def _notify(self, kind: str, partitions: list[TopicPartition]) -> None:
        listener = self.by_kind.get(kind)
        if listener is not None:
            with listening(self, f"on_{kind}"):
                await notify_async(listener, partitions)

    async def revoke_all(self, assigned: set[TopicPartition]) -> None:
        """Call `on_revoked` for those of the assigned partitions that the application was notified of."""
        given, self._given = self._given, set()
        partitions = sorted(given & assigned)
        if partitions:
            await self._calls.run(self._notify, REVOKED, partitions)

    async def wait(self) -> bool:
        """Wait for a listener whose call was cancelled, and raise its exception; False: there is none."""
        return await self._calls.wait()
