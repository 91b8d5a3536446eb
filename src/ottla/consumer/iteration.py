"""Iteration of an asyncio consumer: one record after another from the records of a poll.

The synchronous twin of this class is native (`ConsumerBase`), because its loop runs without a Python frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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


class _Chunk(ConsumerBase[K, V]):
    """The native walk over the records of one poll; it ends after them."""

    def _refill(self) -> None:
        return None


class AsyncConsumerBase(Generic[K, V]):
    """Base class of `AsyncConsumer`; `ConsumerBase` in the extension is the synchronous form."""

    _is_interrupted = False

    def _bind(self, _flow: FetchFlow, /) -> None:
        self._chunk: _Chunk[K, V] = _Chunk()

    _refill: Callable[[], Awaitable[Records[K, V] | None]]
    """Implemented by `AsyncConsumer`: the next records, or None to end the iteration."""

    _interrupted: Callable[[], Awaitable[None]]
    """Implemented by `AsyncConsumer`: serves the group between two records."""

    def _interrupt(self) -> None:
        """The next step calls `_interrupted` before it hands over a record. Threads: any."""
        self._is_interrupted = True

    def _rest(self) -> Records[K, V]:
        """The records that are left; the last one that was handed over is not the current record any more."""
        return self._chunk._rest()

    def _current(self) -> tuple[str, int, int] | None:
        """Topic, partition and offset of the current record: the last one that was handed over, until the next is requested."""
        return self._chunk._current()

    def _skip(self, place: tuple[str, int], /) -> None:
        """Hand over no more of the fetched records of this partition."""
        self._chunk._skip(place)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record[K, V]:
        while True:
            if self._is_interrupted:
                self._is_interrupted = False
                await self._interrupted()
            for record in self._chunk:
                return record
            records = await self._refill()
            if records is None:
                raise StopAsyncIteration
            self._chunk._start(records)
