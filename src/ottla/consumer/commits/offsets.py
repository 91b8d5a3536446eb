"""Committed offsets of one group: commits, look-ups, and the book of both. Engine thread only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ottla.consumer.commits.book import CommittedBook
from ottla.consumer.commits.lookup import LookedUp, OffsetLookup
from ottla.consumer.commits.sender import CommitSender

if TYPE_CHECKING:
    import asyncio

    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.fence import CommitFence, CommitIdentity
    from ottla.consumer.commits.lane import Offsets
    from ottla.consumer.group.link import GroupLink
    from ottla.engine.reactor import Reactor
    from ottla.message import OffsetAndMetadata, TopicPartition
    from ottla.observe.consumer_health import HealthWait


class GroupOffsets:
    """Committed offsets of one group.

    Args:
        link: The way to the coordinator.
        config: Time-outs and backoff.
        fence: The ownership under which an offset may be sent, and the identity of the next request.
        reactor: The engine.
    """

    def __init__(
        self,
        link: GroupLink,
        config: ConsumerConfig,
        fence: CommitFence,
        reactor: Reactor,
    ) -> None:
        self.group_id = link.group_id
        self.book = CommittedBook(link.topic_id, reactor.clock.now)
        """The committed offsets as far as this client knows them."""
        self._sender = CommitSender(link, config, fence, reactor, self.book)
        self._lookup = OffsetLookup(link, config, reactor, self.book)

    def on_refused(self, listener: Callable[[CommitIdentity, int], None]) -> None:
        """Call `listener` with the code of an answer that ends the membership, and the identity of the request."""
        self._sender.refused = listener

    def on_committed(
        self, listener: Callable[[dict[TopicPartition, OffsetAndMetadata]], None]
    ) -> None:
        """Call `listener` with the offsets that the coordinator accepts, once per answer."""
        self._sender.accepted = listener

    def commit(self, offsets: Offsets, *, is_explicit: bool = True) -> asyncio.Future[None]:
        """Commit, see `CommitSender.commit`."""
        return self._sender.commit(offsets, is_explicit=is_explicit)

    async def drain(self) -> None:
        """Wait for the requested commits, see `CommitSender.drain`."""
        await self._sender.drain()

    async def committed(
        self, partitions: Iterable[TopicPartition], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """The committed offsets, see `OffsetLookup.committed`."""
        return await self._lookup.committed(partitions, timeout)

    async def look_up(self, partitions: list[TopicPartition]) -> LookedUp:
        """One attempt to read committed offsets, see `OffsetLookup.look_up`."""
        return await self._lookup.look_up(partitions)

    def waits(self, now: float) -> list[HealthWait]:
        """The commit in flight. Threads: any. now: By the engine's clock, seconds."""
        return self._sender.waits(now)
