"""The topics of a producer: their metadata is requested while messages wait for it, and dropped when it is not used.

Between accumulator and outbox: `send` accepts a message for a topic or partition that is not known yet, and Rust partitions it
when `ProduceFlow.set_topic` gives the number of partitions. While a topic is unavailable, the flow gets the reason, for health
and for the errors of messages that expire, and the log has it once until it changes. Engine thread only.

References: Java: KafkaProducer.waitOnMetadata, ProducerMetadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ottla import errors
from ottla.cluster.retry import Attempts
from ottla.observe.failures import error_data
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.failures import Reported

if TYPE_CHECKING:
    from ottla._native import ProduceFlow
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.producer.context import OutboxContext
    from ottla.producer.rack import Rack

_MEANING: Final = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "it does not exist, or this client may not describe it",
    ErrorCode.LEADER_NOT_AVAILABLE: "its partitions have no leaders yet",
    ErrorCode.INVALID_TOPIC_EXCEPTION: "no topic can have this name",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "this client is not authorized for it",
}

IDLE_S: Final = 300.0
"""Seconds without a message after which the metadata of a topic is no longer requested."""

_IDLE_CHECK_S: Final = 30.0
"""Interval between checks for idle topics, in seconds."""

_PROPAGATION_S: Final = 1.0
"""Seconds that a new partition may take to reach every broker: an answer that lacks it proves nothing before."""

_WARNED_AT: Final = 3
"""Number of refusals in a row before a warning: a broker that is creating the topic refuses the first requests."""


def topic_error(snapshot: MetadataSnapshot, topic: str) -> errors.KafkaError:
    """The reason why there is no metadata of a topic, by the last answer about it."""
    code = snapshot.topic_error(topic) or int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    meaning = _MEANING.get(ErrorCode(code), "") if code in ErrorCode._value2member_map_ else ""
    return errors.for_code(code, meaning)


def set_trouble(
    flow: ProduceFlow,
    topic: str,
    why: errors.Error | None,
    partition: int | None = None,
    *,
    text: str | None = None,
) -> None:
    """Record in the flow why a topic, or a partition of it, cannot be sent to: the cause of messages that expire meanwhile.

    why: None without a text: it can be sent to.
    text: Replaces the text of the error, or stands alone.
    """
    trouble = None
    if why is not None:
        trouble = Reported(text or errors.line_of(why), error_data(why))
    elif text is not None:
        trouble = Reported(text, None)
    flow.set_trouble(topic, trouble, partition)


class Topics:
    """The topics of one producer.

    Args:
        context: The outbox's.
        rack: The client's rack.
    """

    def __init__(self, context: OutboxContext, rack: Rack) -> None:
        self._context = context
        self._cluster = context.cluster
        self._flow = context.flow
        self._rack = rack
        self._wanted: set[str] = set()
        """Topics that messages were sent to."""
        self._queried: dict[str, float] = {}
        """Topics whose partitions the application asked for, and when it did last."""
        self._is_update_due = False
        self._awaited: set[str] = set()
        """Topics that a task requests metadata of."""
        self._warned: dict[str, tuple[str, float]] = {}
        """Topics with a warning in the log: its reason, and the time of the first request."""

    def start(self) -> None:
        """Drop idle topics from now on."""
        self._context.spawn(self._drop_idle(), "idle topics")

    def want(self, topic: str) -> None:
        """Messages wait for this topic, or for a partition of it that is not known."""
        self._wanted.add(topic)
        if topic in self._awaited or self._give(self._cluster.snapshot, topic):
            return
        self._update_soon()
        self._awaited.add(topic)
        self._context.spawn(self._await(topic), f"topic {topic}")

    def _update_soon(self) -> None:
        """Update the wanted topics of the cluster in the next turn of the loop, once for all events of this one."""
        if not self._is_update_due:
            self._is_update_due = True
            # Before the first step of the tasks that request the metadata.
            asyncio.get_running_loop().call_soon(self._update_cluster)

    def _update_cluster(self) -> None:
        self._is_update_due = False
        self._cluster.want_topics(self, self._wanted | self._queried.keys(), create=True)

    async def partitions_of(self, topic: str, timeout: float) -> list[int]:
        """Return the partitions of a topic, as `Cluster.partitions_of`, and keep the metadata of a topic that exists."""
        self._queried[topic] = self._context.now()
        self._update_cluster()
        try:
            return await self._cluster.partitions_of(topic, timeout)
        except errors.Error:
            self._queried.pop(topic, None)
            self._update_cluster()
            raise

    async def _drop_idle(self) -> None:
        while True:
            await self._context.engine.sleep(_IDLE_CHECK_S)
            idle = self._flow.drop_idle_topics(int(IDLE_S * 1_000_000))
            long_ago = self._context.now() - IDLE_S
            queried = [topic for topic, at in self._queried.items() if at <= long_ago]
            for topic in queried:
                del self._queried[topic]
            for topic in idle:
                self._forget(topic)
            if idle or queried:
                self._update_cluster()

    def _forget(self, topic: str) -> None:
        """No message waits for the topic any more."""
        self._wanted.discard(topic)
        self._awaited.discard(topic)
        self._warned.pop(topic, None)

    def apply_metadata(self, snapshot: MetadataSnapshot) -> None:
        """The metadata has changed: give the flow its topics."""
        self._rack.check(snapshot)
        for topic in self._wanted:
            self._give(snapshot, topic)

    def set_trouble(self, why: errors.Error | None, text: str | None = None) -> None:
        """Record why no message of any topic can be sent; None: messages can be sent again."""
        for topic in self._wanted:
            set_trouble(self._flow, topic, why, text=text)

    async def _await(self, topic: str) -> None:
        """Request metadata until the topic's messages have partitions or can have none. The flow expires messages meanwhile.

        Earlier answers do not count: the cause may have been removed before the message was sent.
        """
        since = self._context.now()
        attempts = Attempts(self._context.backoff, self._context.engine.clock)
        stored: list[tuple[float, int]] = []
        try:
            async for failures in attempts:
                if topic not in self._awaited:
                    break
                stored.append((self._context.now(), self._flow.stored_count(topic)))
                try:
                    if await self._ask(topic, stored):
                        break
                    if self._cluster.snapshot.topic(topic) is not None:
                        continue  # A partition is not known, and may have been added just now.
                    why: errors.Error = topic_error(self._cluster.snapshot, topic)
                    if failures + 1 >= _WARNED_AT and not why.permanent:
                        self._warn(topic, why, since)
                except errors.Error as error:
                    why = error
                if why.permanent:
                    self._refuse(topic, why)
                    return
                set_trouble(self._flow, topic, why)
        finally:
            self._awaited.discard(topic)
        # The reason for a missing producer id is set again with each attempt to get one.
        set_trouble(self._flow, topic, None)

    async def _ask(self, topic: str, stored: Sequence[tuple[float, int]]) -> bool:
        """Request the metadata once. Returns whether no message waits for it any more.

        stored: Times, and the number of messages that had waited for the topic until then.

        Raises:
            Error: There is no answer.
        """
        asked_at = self._context.now()
        await self._cluster.refresh(f"messages wait for metadata of {topic}")
        if not self._give(self._cluster.snapshot, topic):
            if self._cluster.snapshot.topic(topic) is None:
                return False
            # The answer is younger than these messages: their partitions do not exist.
            long_ago = [count for at, count in stored if at <= asked_at - _PROPAGATION_S]
            self._flow.refuse_missing(topic, max(long_ago, default=0))
        return not self._flow.awaits_metadata(topic)

    def _refuse(self, topic: str, error: errors.Error) -> None:
        """Fail the messages that wait for the topic: no attempt can succeed. The next message requests it again."""
        self._forget(topic)
        self._update_cluster()
        self._flow.fail_topic(topic, error_data(error))

    def _warn(self, topic: str, refusal: errors.Error, since: float) -> None:
        logged, since = self._warned.get(topic, ("", since))
        self._warned[topic] = (errors.line_of(refusal), since)
        if self._warned[topic][0] == logged:
            return
        low, high = self._context.config.retry_backoff_ms, self._context.config.retry_backoff_max_ms
        self._context.log.warning(
            "topic.unavailable",
            topic=topic,
            reason=refusal,
            next_step=f"its messages wait, its metadata is requested again every {low:g} to {high:g} ms, and each message "
            f"fails after delivery_timeout_ms ({self._context.config.delivery_timeout_ms:g})",
        )

    def _give(self, snapshot: MetadataSnapshot, topic: str) -> bool:
        """Give the flow the topic's partitions, where they are known. Returns whether no message waits for metadata any more."""
        known = snapshot.topic(topic)
        if known is None or not known.partitions:
            return False
        parts = known.partitions.values()
        available = [part.partition for part in parts if part.leader >= 0]
        near = self._rack.near(snapshot, parts)
        self._flow.set_topic(topic, known.topic_id, len(known.partitions), available, near)
        if topic in self._warned:
            elapsed_s = self._context.now() - self._warned.pop(topic)[1]
            self._context.log.info("topic.found", topic=topic, elapsed_s=elapsed_s)
        if self._flow.awaits_metadata(topic):
            return False
        self._awaited.discard(topic)
        return True
