"""One consumer, put together."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ottla import errors
from ottla.client.dropped import Made
from ottla.client.leaving import CLOSE_S
from ottla.client.start import start_cluster
from ottla.cluster.cluster import Cluster
from ottla.cluster.coordinator import Coordinators
from ottla.consumer.calls import ASSIGNED, LOST, REVOKED, Call, Calls
from ottla.consumer.cursor import Cursors
from ottla.consumer.group.classic import State
from ottla.consumer.group.link import GroupLink
from ottla.consumer.group.membership import ClassicMembership
from ottla.consumer.inbox import ISOLATION, make_flow
from ottla.consumer.list_offsets import OffsetFinder
from ottla.consumer.liveness import Tokens
from ottla.consumer.offsets import CommitIdentity, GroupOffsets, commit_failed
from ottla.engine.thread import Engine
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.log import ClientLog

if TYPE_CHECKING:
    from ottla.config.consumer import ConsumerConfig
    from ottla.engine.bridge import Ticket

T = TypeVar("T")


class ConsumerClient:
    """One consumer's engine side: cluster, cursors, committed offsets, membership.

    It is the `Application` that a membership talks to, and passes what needs the user's code on as calls.
    """

    def __init__(self, config: ConsumerConfig) -> None:
        self.config = config
        self.made = Made()
        self._engine = Engine.acquire()
        self._log = ClientLog("client", config.who)
        try:
            self.flow = make_flow(self._engine.io, config)
        except BaseException:
            self._engine.release()
            raise
        self.calls = Calls()
        self._cluster = Cluster(config, self._engine)
        self._link: GroupLink | None = None
        self.offsets: GroupOffsets | None = None
        if config.group_id is not None:
            coordinators = Coordinators(self._cluster, config, self._engine)
            self._link = GroupLink(self._cluster, coordinators, config.group_id)
            self.offsets = GroupOffsets(self._link, config, self._identity, self._engine.spawn)
        self.finder = OffsetFinder(self._cluster, config, ISOLATION[config.isolation_level])
        self.cursors = Cursors(
            self._engine, self._cluster, self.flow, config, self.offsets, self.finder
        )
        self._membership: ClassicMembership | None = None
        self.error: errors.Error | None = None
        """Why the group is lost for this consumer: every later call raises it."""
        self._open_calls: list[Call] = []
        self._losses: list[Call] = []
        """Told and not heard yet."""
        self._manual = False
        """`assign` was used, so `subscribe` may not be."""
        self._auto: asyncio.Task[None] | None = None
        self._last_auto: dict[TopicPartition, OffsetAndMetadata] = {}
        self._pattern: re.Pattern[str] | None = None
        self._topics: frozenset[str] = frozenset()
        """Subscribed to by name."""
        self._told_missing: set[tuple[str, int]] = set()
        self._closing: Ticket[None] | None = None
        self.finished: Callable[[], dict[TopicPartition, OffsetAndMetadata]] = dict
        """What the application has finished with: set by the public object, safe to call from the engine thread."""
        self.attention: Callable[[], Tokens] = dict
        """Shows whether the application moves (see `Liveness`): set by the public object like `finished`."""
        self._engine.call(self._start, name="start", who=config.who)

    async def _start(self) -> None:
        self.cursors.start()
        self._cluster.listen(self._metadata_changed)
        self._engine.spawn(start_cluster(self._cluster, self.config), "consumer start")

    def call(
        self, name: str, function: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> Ticket[T]:
        """Run a coroutine function of this client on the engine thread, for the public call of this name."""
        return self._engine.call(function, *args, name=name, who=self.config.who)

    # ---- subscription ------------------------------------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str], pattern: re.Pattern[str] | None) -> None:
        """Join the group for these topics, or for all topics whose whole name matches the pattern."""
        if self._link is None:
            raise errors.ConfigError("subscribe() needs a group_id; without a group use assign()")
        if self._manual:
            raise errors.StateError(
                "assign() and subscribe() exclude each other; unsubscribe first"
            )
        if self._membership is None:
            self._membership = ClassicMembership(
                self._engine, self._cluster, self._link, self.config, self
            )
            self._start_auto_commit()
        self._pattern = pattern
        self._topics = frozenset(topics)
        if self._pattern is None:
            self._cluster.want_all_topics(False)
            self._membership.subscribe(topics)
        else:
            self._cluster.want_all_topics(True)
            await self._cluster.refresh("a pattern is subscribed to")
            self._subscribe_matching()

    def _subscribe_matching(self) -> None:
        pattern, membership = self._pattern, self._membership
        if pattern is not None and membership is not None:
            membership.subscribe(
                name
                for name, topic in self._cluster.snapshot.topics.items()
                if pattern.fullmatch(name)
                and not (topic.internal and self.config.exclude_internal_topics)
            )

    async def unsubscribe(self) -> None:
        """Leave the group; the application has let go of its partitions already."""
        await self.commit_finished()
        await self._settle_commits()
        membership = self._membership
        if membership is not None:
            await membership.leave()
            self._membership = None
            self.error = None
        self._pattern = None
        self._manual = False
        self.cursors.unassign(self.cursors.assigned)
        self._withdraw_calls()

    async def _settle_commits(self) -> None:
        """A commit that was asked for is made before the group is left: under no membership it would be refused."""
        if self.offsets is not None:
            await self.offsets.drained()

    def _withdraw_calls(self) -> None:
        """What was not told yet is not told any more: it is of a membership that is over."""
        while (call := self.calls.take()) is not None:
            call.withdraw()
        for call in [*self._open_calls, *self._losses]:
            call.withdraw()

    async def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Exactly these partitions, without a group's assignment."""
        if self._membership is not None:
            raise errors.StateError(
                "assign() and subscribe() exclude each other; unsubscribe first"
            )
        wanted = set(partitions)
        self._manual = bool(wanted)
        self.cursors.unassign(self.cursors.assigned - wanted)
        await self.cursors.assign(sorted(wanted))
        self._start_auto_commit()

    def _metadata_changed(self, *_what: object) -> None:
        self._subscribe_matching()
        if self._membership is not None:
            self._tell_missing()
            self._membership.topics_changed()

    def _tell_missing(self) -> None:
        """Say once why nothing comes of a topic; it is read as soon as it may be."""
        for topic in self._topics:
            code = self._cluster.snapshot.topic_error(topic)
            if code and (topic, code) not in self._told_missing:
                self._told_missing.add((topic, code))
                error = errors.for_code(code)
                self._log.log(
                    logging.WARNING if error.retriable else logging.ERROR,
                    "topic %s is subscribed to, and nothing of it can be read: %s. It is looked for again with the metadata, "
                    "and read as soon as it may be",
                    topic,
                    errors.line_of(error),
                )

    # ---- what the membership tells -----------------------------------------------------------------------------------

    async def heard(self) -> None:
        """Until the application has been told of everything that it lost.

        Before that its records in hand may be of an earlier time than a new assignment of the same partition, and
        committing them would put back what another member has committed meanwhile.
        """
        while self._losses:
            await self._losses[0].wait()
            self._losses.pop(0)

    async def assigned(self, partitions: Sequence[TopicPartition], generation: int) -> None:
        """Let the partitions flow; the application hears of it when it next looks."""
        await self.cursors.assign(partitions)
        self.calls.post(Call(ASSIGNED, partitions, generation))

    async def revoke(self, partitions: Sequence[TopicPartition]) -> None:
        """Wait until the application has let go, commit what it finished, and stop the partitions."""
        call = Call(REVOKED, partitions)
        self._open_calls.append(call)
        self.calls.post(call)
        try:
            await call.wait()
        finally:
            self._open_calls.remove(call)
        if not call.withdrawn:
            await self.commit_finished(partitions)
            await self._settle_commits()
            self.cursors.unassign(partitions)

    async def lost(self, partitions: Sequence[TopicPartition], reason: str) -> None:
        """Drop the partitions at once and tell the application; nothing of them may be committed."""
        self.cursors.unassign(partitions)
        for call in self._open_calls:
            call.withdraw()
        call = Call(LOST, partitions)
        self._losses.append(call)
        self.calls.post(call)

    def failed(self, error: errors.Error) -> None:
        """The group is lost for this consumer: wake whoever waits, so that it hears of it."""
        self.error = error
        self.flow.wakeup()
        self.calls.ring()

    def tokens(self) -> Tokens:
        """What shows whether the application moves."""
        return self.attention()

    # ---- the application comes and goes (its threads) ----------------------------------------------------------------

    def enter(self) -> None:
        """The application asks for records: it hears now of what ended the group for it."""
        if self.error is not None:
            raise self.error
        if self._membership is not None and self._membership.state is State.STALE:
            self._engine.call(self._polled_again, name="poll", who=self.config.who)

    async def _polled_again(self) -> None:
        if self._membership is not None:
            self._membership.polled()

    @property
    def member_id(self) -> str:
        """This member, as the coordinator calls it; empty outside a group."""
        return self._identity().member_id

    def _identity(self) -> CommitIdentity:
        return CommitIdentity() if self._membership is None else self._membership.identity

    # ---- commits -----------------------------------------------------------------------------------------------------

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit these offsets; raises CommitFailed with every partition that failed."""
        if self.offsets is None:
            raise errors.ConfigError("committing needs a group_id")
        not_owned = [
            tp for tp in offsets if self._membership is not None and tp not in self.cursors.assigned
        ]
        if not_owned:
            raise commit_failed(
                {tp: errors.StateError("the partition is not assigned to this member", topic=tp[0], partition=tp[1])
                 for tp in not_owned}
            )  # fmt: skip
        await self.offsets.commit(offsets)

    async def commit_finished(self, partitions: Iterable[TopicPartition] | None = None) -> None:
        """With auto-commit: commit what the application has finished with. Failures are logged, nothing else is lost."""
        if self.offsets is None or not self.config.enable_auto_commit:
            return
        only = self.cursors.assigned if partitions is None else set(partitions)
        offsets = {
            tp: offset
            for tp, offset in self.finished().items()
            if tp in only and self._last_auto.get(tp) != offset
        }
        if not offsets:
            return
        try:
            await self.offsets.commit(offsets)
            self._last_auto.update(offsets)
        except errors.CommitFailed as error:
            self._log.warning("auto-commit of group %s failed: %s", self.config.group_id, error)

    def _start_auto_commit(self) -> None:
        if self._auto is None and self.offsets is not None and self.config.enable_auto_commit:
            self._auto = self._engine.spawn(self._auto_commit(), "auto-commit")

    async def _auto_commit(self) -> None:
        while True:
            await asyncio.sleep(self.config.auto_commit_interval_ms / 1000)
            await self.commit_finished()

    async def committed(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """What the group has committed."""
        if self.offsets is None:
            raise errors.ConfigError("committed() needs a group_id")
        return await self.offsets.committed(partitions)

    async def partitions_for(self, topic: str) -> list[int]:
        """The partitions of a topic."""
        return await self._cluster.partitions_of(topic)

    # ---- end ---------------------------------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether it was told to close."""
        return self._closing is not None

    @property
    def is_forked(self) -> bool:
        """Whether it is a parent process's."""
        return self._engine.forked

    def drop(self) -> None:
        """The application has let go of the consumer. For its finalizer."""
        self._engine.from_finalizer(self._dropped)

    def _dropped(self) -> None:
        if not self.is_closing:
            self.shut_down(CLOSE_S)

    def shut_down(self, timeout: float) -> Ticket[None]:
        """Commit, leave the group, close the connections and let the engine go. Every call gets the same ticket."""
        if self._closing is None:
            self._closing = self._engine.call(
                self._shut_down, timeout, name="close", who=self.config.who
            )
        return self._closing

    async def _shut_down(self, timeout: float) -> None:
        try:
            await asyncio.wait_for(self._leave(), max(timeout, 0.001))
        except TimeoutError:
            self._log.warning("closing: the group could not be left within %.1f s", timeout)
        finally:
            # Whatever leaving has raised: nobody comes back for these.
            self.cursors.stop()
            self.flow.close()
            await self._cluster.close()
            self._engine.release()

    async def _leave(self) -> None:
        if self._auto is not None:
            self._auto.cancel()
        await self.commit_finished()
        await self._settle_commits()
        self._withdraw_calls()
        if self._membership is not None:
            await self._membership.leave()
