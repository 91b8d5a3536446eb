"""The subscription of one consumer: nothing, partitions that it assigned itself, topics by name, or topics by pattern.

Engine thread.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ottla import errors
from ottla.consumer.added import AddedPartitions
from ottla.consumer.commits.fence import CommitIdentity
from ottla.consumer.group.membership import ClassicMembership
from ottla.observe.log import ClientLog

if TYPE_CHECKING:
    from ottla.client.application import GroupApplication
    from ottla.cluster.cluster import Cluster
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.group.link import GroupLink
    from ottla.consumer.group.report import GroupReport
    from ottla.engine.thread import Engine
    from ottla.observe.consumer_health import HealthWait, MemberHealth


class Subscription:
    """The mode of one consumer, and its membership while it has one.

    Args:
        engine: Runs the membership.
        cluster: Topics and their metadata.
        link: The way to the group's coordinator; None: the consumer has no `group_id`.
        config: Of the consumer.
        application: Receives assignments and revocations.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        link: GroupLink | None,
        config: ConsumerConfig,
        application: GroupApplication,
    ) -> None:
        self.member: ClassicMembership | None = None
        """The membership; None: nothing is subscribed to."""
        self._link = link
        self._engine = engine
        self._cluster = cluster
        self._config = config
        self._application = application
        self._log = ClientLog("client", config.who)
        self._assigned = False
        """`assign` is in effect, so `subscribe` is refused."""
        self._topics: frozenset[str] = frozenset()
        """Topics subscribed to by name."""
        self._pattern: re.Pattern[str] | None = None
        self.added = AddedPartitions(enabled=config.added_partitions == "beginning")
        """The partitions that were added after the subscription."""
        self._reported: set[tuple[str, int]] = set()
        """Topics without metadata, and error codes, that the log has a line of."""

    @property
    def report(self) -> GroupReport | None:
        """Counts of the membership and the commits; None: the consumer has no `group_id`."""
        return None if self._link is None else self._link.report

    def health(self) -> MemberHealth | None:
        """The membership now; None: nothing is subscribed to. Threads: any."""
        member = self.member
        return None if member is None else member.health()

    def waits(self, now: float) -> list[HealthWait]:
        """Whom the membership waits for. Threads: any. now: By the engine's clock, seconds."""
        member = self.member
        return [] if member is None else [*member.waits(now), *self._application.waits(now)]

    @property
    def identity(self) -> CommitIdentity:
        """The identity under which offsets are committed now."""
        return CommitIdentity() if self.member is None else self.member.identity

    def commit_refused(self, identity: CommitIdentity, code: int) -> None:
        """The answer to a commit under this identity ends the membership."""
        if self.member is not None:
            self.member.commit_refused(identity, code)

    async def subscribe(self, topics: Iterable[str], pattern: re.Pattern[str] | None) -> None:
        """Join the group for these topics, or for all topics whose whole name matches the pattern.

        Raises:
            ConfigError: There is no group.
            StateError: `assign` is in effect.
            Error: With a pattern: no broker answered.
        """
        if self._link is None:
            raise errors.ConfigError("subscribe() needs a group_id; without a group use assign()")
        if self._assigned:
            raise errors.StateError(
                "assign() and subscribe() exclude each other; unsubscribe first"
            )
        if self.member is None:
            self.member = ClassicMembership(
                self._engine, self._cluster, self._link, self._config, self._application
            )
        self._pattern = pattern
        self._topics = frozenset(topics)
        self._cluster.want_all_topics(pattern is not None)
        if pattern is None:
            self.added.subscribe(self._topics, self._cluster.snapshot)
            self.member.subscribe(self._topics)
        else:
            await self._cluster.refresh("a pattern is subscribed to")
            self.added.subscribe_matching(self._cluster.snapshot)
            self._subscribe_matching()

    def _subscribe_matching(self) -> None:
        pattern = self._pattern
        if pattern is not None and self.member is not None:
            self.member.subscribe(
                name
                for name, topic in self._cluster.snapshot.topics.items()
                if pattern.fullmatch(name)
                and not (topic.internal and self._config.exclude_internal_topics)
            )

    def assign(self, *, anything: bool) -> None:
        """`assign` is in effect from now on, unless it assigns nothing.

        Raises:
            StateError: A subscription is in effect.
        """
        if self.member is not None:
            raise errors.StateError(
                "assign() and subscribe() exclude each other; unsubscribe first"
            )
        self._assigned = anything

    async def leave(self, leaves: bool | None = None) -> None:
        """End the membership and the current mode. leaves: See `ClassicMembership.leave`."""
        if self.member is not None:
            await self.member.leave(leaves)
            self.member = None
            self._cluster.want_all_topics(False)
            if self.report is not None:
                self.report.report_leave()
        self._pattern = None
        self._assigned = False

    def metadata_changed(self, *_snapshots: object) -> None:
        """Follow the metadata: topics that match now, and partitions that were added."""
        self.added.observe(self._topics, self._cluster.snapshot)
        self._subscribe_matching()
        if self.member is not None:
            self._report_missing()
            self.member.metadata_changed()

    def _report_missing(self) -> None:
        """Log once why a topic cannot be read."""
        for topic in self._topics:
            code = self._cluster.snapshot.topic_error(topic)
            if code and (topic, code) not in self._reported:
                self._reported.add((topic, code))
                error = errors.for_code(code)
                self._log.log(
                    logging.WARNING if error.retriable else logging.ERROR,
                    "topic.unavailable",
                    topic=topic,
                    reason=error,
                    next_step="its metadata is requested again until it can be read",
                )
