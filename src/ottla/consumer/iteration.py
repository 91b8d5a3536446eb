"""Iteration of an asyncio consumer: one record after another from the records of a poll.

The synchronous twin of this class is native (`ConsumerBase`), because its loop runs without a Python frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic

from ottla._native import ConsumerBase, Records

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import TypeVar

    from ottla._native import FetchFlow, Record

    K = TypeVar("K", covariant=True, default=bytes)
    V = TypeVar("V", covariant=True, default=bytes)
else:
    # Defaults of type variables are younger than Python 3.11, and nothing reads them at run time.
    from typing import TypeVar

    K, V = TypeVar("K"), TypeVar("V")

__all__ = ["NO_RECORDS", "AsyncConsumerBase", "ConsumerBase", "K", "Records", "V"]

NO_RECORDS: Records[Any, Any] = Records()
"""The result of a poll that times out."""


class AsyncConsumerBase(Generic[K, V]):
    """Base class of `AsyncConsumer`; `ConsumerBase` in the extension is the synchronous form."""

    def _bind(self, flow: FetchFlow) -> None:
        self._flow = flow
        self._left: Iterator[Record[K, V]] = iter(())
        self._hand: Record[K, V] | None = None

    _refill: Callable[[], Awaitable[Records[K, V] | None]]
    """Implemented by `AsyncConsumer`: the next records, or None to end the iteration."""

    def _current(self) -> tuple[str, int, int] | None:
        """Topic, partition and offset of the current record: the last one that was handed over, until the next is requested."""
        record = self._hand
        return None if record is None else (record.topic, record.partition, record.offset)

    def _skip(self, place: tuple[str, int], /) -> None:
        """Hand over no more of the fetched records of this partition: its position was changed."""
        self._left = iter(
            [record for record in self._left if (record.topic, record.partition) != place]
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record[K, V]:
        while True:
            for record in self._left:
                self._hand = record
                return record
            self._hand = None
            chunk = await self._refill()
            if chunk is None:
                raise StopAsyncIteration
            self._left = iter(chunk)
