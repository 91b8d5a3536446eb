"""A bounded read of a consumer: records up to an end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic

from ottla.arguments import number
from ottla.consumer.iteration import K, V

if TYPE_CHECKING:
    from typing import Self

    from ottla._native import Record, Records
    from ottla.api._async.consumer import AsyncConsumer
    from ottla.client._async.bounded import AsyncBoundedPolls
    from ottla.message import TopicPartition


class AsyncBoundedRead(Generic[K, V]):
    """Records of a consumer up to an end, see `AsyncConsumer.read_until`: one by one by iteration, or in `chunks`.

    It goes through the records once; an iteration that was left continues where it stopped. Threads: that of the consumer's polls.
    """

    def __init__(
        self, consumer: AsyncConsumer[K, V], polls: AsyncBoundedPolls, max_records: int
    ) -> None:
        self._consumer = consumer
        self._polls = polls
        self._max_records = max_records

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """Partition -> offset at which its read ends, as a new dict; empty before the first record is asked for. Threads: any."""
        return self._polls.ends

    @property
    def is_complete(self) -> bool:
        """Whether every assigned partition has reached its end; False where `wakeup` or `close` ended the read. Threads: any."""
        return self._polls.is_complete

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record[K, V]:
        """The next record; errors as of `AsyncConsumer.read_until`."""
        return await self._consumer._next_of(self._polls)

    async def chunks(self, max_records: int | None = None) -> AsyncIterator[Records[K, V]]:
        """Iterate over the records as `Records` of a poll each.

        The records of a chunk are finished, for automatic commits, when the next chunk is asked for.

        Args:
            max_records: Maximum number of records of a chunk; None: `max_poll_records`.

        Raises:
            TypeError, ValueError: max_records has a wrong type or value. Other errors as of `AsyncConsumer.read_until`.
        """
        limit = self._max_records
        if max_records is not None:
            limit = number("max_records", max_records, 1)
        while (records := await self._polls.next_records(limit)) is not None:
            yield records

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else "reading"
        return f"<AsyncBoundedRead {state} ends={len(self.ends)}>"
