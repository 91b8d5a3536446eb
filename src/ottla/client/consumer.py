"""The engine side of one consumer: builds its parts, starts them, and ends them in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ottla import errors
from ottla.client.application import GroupApplication
from ottla.client.dropped import Made
from ottla.client.leaving import CLOSE_S
from ottla.client.subscription import Subscription
from ottla.client.view import ConsumerCallbacks, ConsumerView, Readers
from ottla.client.watchdog import Watchdog
from ottla.cluster.cluster import Cluster
from ottla.consumer.commits.automatic import AutoCommit
from ottla.consumer.commits.fence import CommitFence
from ottla.consumer.commits.offsets import GroupOffsets
from ottla.consumer.commits.words import commit_failed
from ottla.consumer.cursor import Cursors
from ottla.consumer.group.link import GroupLink
from ottla.consumer.group.report import GroupReport
from ottla.consumer.inbox import ISOLATION, make_flow
from ottla.consumer.interceptors import ConsumerInterceptors
from ottla.consumer.list_offsets import OffsetFinder
from ottla.engine.thread import LEAVE_AT_EXIT_S, Engine
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.log import ClientLog

if TYPE_CHECKING:
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.commits.fence import Owned, Ownership
    from ottla.consumer.hand_over import SkippedRecords
    from ottla.engine.bridge import Ticket
    from ottla.observe.consumer_health import ConsumerHealth
    from ottla.observe.consumer_statistics import ConsumerStatistics
    from ottla.observe.events import Event
    from ottla.producer.callbacks import CallbackRef, Callbacks

T = TypeVar("T")


class ConsumerClient:
    """One consumer's engine side: cluster, cursors, committed offsets, subscription."""

    def __init__(self, config: ConsumerConfig) -> None:
        # No object of the application may be referenced from here.
        config = config.without("key_deserializer", "value_deserializer")
        chain = (
            ConsumerInterceptors(config.interceptors, config.who) if config.interceptors else None
        )
        self.config = config = config.without("interceptors")
        self.made = Made()
        self._engine = Engine.acquire()
        self._log = ClientLog("client", config.who)
        try:
            self.flow = make_flow(self._engine.io, config)
        except BaseException:
            self._engine.release()
            raise
        self._view = ConsumerView(config, self._engine, self.flow, ConsumerCallbacks(chain))
        self._cluster = Cluster(config, self._engine, self._view.events, self._view.troubles)
        link, self.offsets = self._group_side()
        self.finder = OffsetFinder(
            self._cluster, self._engine.clock, config, ISOLATION[config.isolation_level]
        )
        self.cursors = Cursors(
            self._engine, self._cluster, self.flow, config, self.offsets, self.finder
        )
        self.autocommit = AutoCommit(self.offsets, config, lambda: self.cursors.assigned, self._log)
        self.application = GroupApplication(self.cursors, self.autocommit, self.flow.wakeup)
        self.subscription = Subscription(
            self._engine, self._cluster, link, config, self.application
        )
        self.cursors.start_at_beginning(self.subscription.added.is_added)
        if self.offsets is not None:
            self.offsets.on_refused(self.subscription.commit_refused)
            if chain is not None:
                self.offsets.on_committed(self._view.commits_accepted)
        self._closing: Ticket[None] | None = None
        self._background: list[asyncio.Task[None]] = []
        """The samples of the rates, and the watchdog."""
        self._engine.call(self._start, name="start", who=config.who)

    def _group_side(self) -> tuple[GroupLink | None, GroupOffsets | None]:
        group_id = self.config.group_id
        if group_id is None:
            return None, None
        view = self._view
        report = GroupReport(group_id, view.events, view.troubles, self._engine.clock)
        link = GroupLink(self._cluster, group_id, report)
        fence = CommitFence(
            lambda: self.subscription.identity,
            self._ownership,
            lambda tp: self.cursors.topic_id(tp),
        )
        return link, GroupOffsets(link, self.config, fence, self._engine)

    def _ownership(self, tp: TopicPartition) -> Ownership | None:
        """The ownership that a commit of this partition is bound to; None: the consumer is no member of the group."""
        return None if self.subscription.member is None else self.cursors.ownership(tp)

    async def _start(self) -> None:
        self.cursors.start()
        self.autocommit.start(self._engine)
        if self.config.group_id is not None:
            self._engine.leave_at_exit(self, lambda: self.shut_down(LEAVE_AT_EXIT_S))
        self._cluster.listen(self.subscription.metadata_changed)
        self._cluster.refresh_soon("start")
        watchdog = Watchdog(self._engine, self._cluster, self.flow, self.config)
        self._background = [
            self._engine.spawn(self._view.sample(), "rates"),
            self._engine.spawn(watchdog.run(), "watchdog"),
        ]

    def call(
        self, name: str, function: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> Ticket[T]:
        """Run a coroutine function of this client on the engine thread, for the public call of this name."""
        return self._engine.call(function, *args, name=name, who=self.config.who)

    def query(
        self, name: str, function: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> Ticket[T]:
        """Run a read-only operation like `call`: it ends with the wait of its caller."""
        return self._engine.call(function, *args, name=name, who=self.config.who, is_query=True)

    # ---- subscription ------------------------------------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str], pattern: re.Pattern[str] | None) -> None:
        """Subscribe, see `Subscription.subscribe`."""
        await self.subscription.subscribe(topics, pattern)

    async def unsubscribe(self) -> None:
        """Leave the group; the application has released its partitions already."""
        self.cursors.withhold(self.cursors.assigned)
        await self.autocommit.commit(self.cursors.assigned)
        await self.subscription.leave()
        self.application.error = None
        self.cursors.unassign(self.cursors.assigned)
        self.application.withdraw_calls()

    async def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Assign exactly these partitions, without a group's assignment. The progress of all others is committed first."""
        wanted = set(partitions)
        self.subscription.assign(anything=bool(wanted))
        given_up = self.cursors.assigned - wanted
        if given_up:
            self.cursors.withhold(given_up)
            await self.autocommit.commit(given_up)
            self.cursors.unassign(given_up)
        await self.cursors.assign(sorted(wanted), create_topics=True)

    # ---- polls (the application's threads) -----------------------------------------------------------------------------

    def enter(self) -> None:
        """The application asks for records: raise the error that ended the group for it."""
        if self.application.error is not None:
            raise self.application.error
        member = self.subscription.member
        if member is not None and member.waits_for_poll:
            self._engine.call(self._polled_again, name="poll", who=self.config.who)

    async def _polled_again(self) -> None:
        if self.subscription.member is not None:
            self.subscription.member.polled()

    @property
    def member_id(self) -> str:
        """The id that the coordinator gave this member; empty outside a group."""
        return self.subscription.identity.member_id

    # ---- views ---------------------------------------------------------------------------------------------------------

    @property
    def skipped(self) -> SkippedRecords:
        """Counts the records that did not deserialize."""
        return self._view.skipped

    @property
    def interceptors(self) -> ConsumerInterceptors | None:
        """The interceptors; None without any."""
        return self._view.interceptors

    @property
    def callbacks(self) -> CallbackRef:
        """The engine side's reference to the listeners of events."""
        return self._view.callbacks

    def listen(self, listener: Callable[[Event], object]) -> None:
        """Call `listener` for every event from now on."""
        self._engine.refuse_forked(self.config.who)
        self._view.callbacks.listen(self._view.events, listener)

    def unlisten(self, listener: Callable[[Event], object]) -> None:
        """No longer call `listener`."""
        self._engine.refuse_forked(self.config.who)
        self._view.callbacks.unlisten(self._view.events, listener)

    def statistics(self) -> ConsumerStatistics:
        """Counts since the start, and contents now."""
        self._engine.refuse_forked(self.config.who)
        return self._view.statistics(self)

    def health(self, readers: Readers) -> ConsumerHealth:
        """Troubles and waits. readers: Calls of the application that wait for records."""
        self._engine.refuse_forked(self.config.who)
        return self._view.health(self, readers)

    # ---- offsets -----------------------------------------------------------------------------------------------------

    async def commit(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        owned: Owned,
        lost: Mapping[TopicPartition, str],
    ) -> None:
        """Commit these offsets.

        Args:
            offsets: Of the next records to read.
            owned: The ownership of the partitions at the call: a partition that is not owned any more, or again, is refused.
            lost: Why partitions were lost whose progress cannot be committed. They fail.

        Raises:
            ConfigError: There is no group.
            CommitFailed: With every partition that failed; the others are committed.
        """
        if self.offsets is None:
            raise errors.ConfigError("committing needs a group_id")
        failures: dict[TopicPartition, BaseException] = {
            tp: _loss_error(tp, reason) for tp, reason in lost.items()
        }
        if self.subscription.member is not None:
            now = self.cursors.owned
            for tp in offsets:
                if tp not in failures and (tp not in now or owned.get(tp) != now[tp]):
                    failures[tp] = _not_assigned(tp)
        try:
            await self.offsets.commit({tp: at for tp, at in offsets.items() if tp not in failures})
        except errors.CommitFailed as error:
            raise commit_failed(failures | error.partitions) if failures else error from None
        if failures:
            raise commit_failed(failures)

    async def committed(
        self, partitions: Iterable[TopicPartition], timeout: float
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """The committed offsets of the group."""
        if self.offsets is None:
            raise errors.ConfigError("committed() needs a group_id")
        return await self.offsets.committed(partitions, timeout)

    async def partitions_for(self, topic: str, timeout: float) -> list[int]:
        """The partitions of a topic."""
        return await self._cluster.partitions_of(topic, timeout)

    # ---- end ---------------------------------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether closing has begun."""
        return self._closing is not None

    @property
    def is_forked(self) -> bool:
        """Whether the client belongs to a parent process."""
        return self._engine.forked

    @property
    def unusable(self) -> str:
        """Why the client cannot be used, for its `repr`; empty while it can."""
        if self.is_forked:
            return "of the parent process"
        return "closed" if self.is_closing else ""

    def drop(self, callbacks: Callbacks) -> None:
        """Close in the background: the application dropped the consumer. For its finalizer."""
        self._view.callbacks.retain(callbacks)
        self._engine.from_finalizer(self._dropped)

    def _dropped(self) -> None:
        self._view.callbacks.emit_waiting()
        if not self.is_closing:
            self.shut_down(CLOSE_S)

    def shut_down(self, timeout: float, leaves: bool | None = None) -> Ticket[None]:
        """Commit, leave the group, close the connections and release the engine. Every call returns the same ticket.

        leaves: Whether to leave the group, see `ClassicMembership.leave`.
        """
        if self._closing is None:
            self._closing = self._engine.call(
                self._shut_down, timeout, leaves, name="close", who=self.config.who
            )
        return self._closing

    async def _shut_down(self, timeout: float, leaves: bool | None) -> None:
        try:
            await asyncio.wait_for(self._leave(leaves), max(timeout, 0.001))
        except TimeoutError:
            self._log.warning(
                "group.leave_failed",
                group=self.config.group_id,
                reason=f"no answer within {timeout:.1f} s",
            )
        finally:
            # Also if `_leave` raised: no other code releases these.
            self._engine.unwatch_leave(self)
            self.cursors.stop()
            self.flow.close()
            await self._cluster.close()
            for task in self._background:
                task.cancel()
            self._view.closed()
            self._engine.release()

    async def _leave(self, leaves: bool | None) -> None:
        self.autocommit.stop()
        self.cursors.withhold(self.cursors.assigned)
        await self.autocommit.commit(self.cursors.assigned)
        self.application.withdraw_calls()
        await self.subscription.leave(leaves)


def _loss_error(tp: TopicPartition, reason: str) -> errors.StateError:
    return errors.StateError(
        f"the partition was lost: {reason}", topic=tp.topic, partition=tp.partition
    )


def _not_assigned(tp: TopicPartition) -> errors.StateError:
    return errors.StateError(
        "the partition is not assigned to this member", topic=tp.topic, partition=tp.partition
    )
