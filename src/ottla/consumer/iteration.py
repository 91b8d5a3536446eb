"""Iteration of an asyncio consumer: one record after another out of the records of a poll.

The synchronous twin of this class is native (`ConsumerBase`), because there the loop runs without a Python frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from ottla._native import ConsumerBase, Records

if TYPE_CHECKING:
    from ottla._native import FetchFlow, Record

__all__ = ["NO_RECORDS", "AsyncConsumerBase", "ConsumerBase"]

NO_RECORDS = Records()
"""The result of a poll that times out."""


class AsyncConsumerBase:
    """What `AsyncConsumer` inherits; see `ConsumerBase` in the extension for the synchronous form."""

    def _bind(self, flow: FetchFlow) -> None:
        self._flow = flow
        self._left: Iterator[Record] = iter(())
        self._hand: Record | None = None

    _refill: Callable[[], Awaitable[Records | None]]
    """`AsyncConsumer` has it: the next records, None to end the iteration."""

    def _in_hand(self) -> tuple[str, int, int] | None:
        """Place and offset of the record handed out last and not yet followed by another request."""
        record = self._hand
        return None if record is None else (record.topic, record.partition, record.offset)

    def _skip(self, place: tuple[str, int], /) -> None:
        """Hand over nothing more of this partition out of the current records: its position was set anew."""
        self._left = iter(
            [record for record in self._left if (record.topic, record.partition) != place]
        )

    def __aiter__(self) -> AsyncConsumerBase:
        return self

    async def __anext__(self) -> Record:
        while True:
            for record in self._left:
                self._hand = record
                return record
            self._hand = None
            chunk = await self._refill()
            if chunk is None:
                raise StopAsyncIteration
            self._left = iter(chunk)
