"""The topics that messages wait for: their metadata is asked for until it is there, or until it can never come.

Between accumulator and outbox on the data's way: `send` accepts a message for a topic that is not known yet, and Rust partitions
it when `ProduceFlow.set_topic` tells how many partitions there are. What keeps a topic from coming is told to the flow, so that
health and the errors of messages that expire name it, and to the log, once until it changes. Engine thread only.

References: Java: KafkaProducer.waitOnMetadata, ProducerMetadata.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ottla import errors
from ottla.protocol.error_codes import ErrorCode

if TYPE_CHECKING:
    from ottla._native import ProduceFlow
    from ottla.cluster.metadata import MetadataSnapshot
    from ottla.producer.context import OutboxContext
    from ottla.producer.rack import Rack

_HOPELESS: Final = frozenset(
    {ErrorCode.INVALID_TOPIC_EXCEPTION, ErrorCode.TOPIC_AUTHORIZATION_FAILED}
)
"""Answers about a topic that no waiting mends: what waits for it fails at once."""

_MEANING: Final = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "it does not exist, or this client may not describe it",
    ErrorCode.LEADER_NOT_AVAILABLE: "its partitions have no leaders yet",
    ErrorCode.INVALID_TOPIC_EXCEPTION: "no topic can have this name",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "this client is not authorized for it",
}

_TOLD_AT: Final = 3
"""A broker that creates the topic just now refuses the first answers: the third in a row is told."""


def topic_error(snapshot: MetadataSnapshot, topic: str) -> errors.KafkaError:
    """Why there is no metadata of a topic, by the broker's last answer about it."""
    code = snapshot.topic_error(topic) or int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    meaning = _MEANING.get(ErrorCode(code), "") if code in ErrorCode._value2member_map_ else ""
    return errors.for_code(code, meaning)


def set_trouble(
    flow: ProduceFlow,
    topic: str,
    why: errors.Error | str | None,
    partition: int | None = None,
    *,
    text: str | None = None,
) -> None:
    """Tell the flow what keeps a topic, or a partition of it: what expires meanwhile has it as its cause.

    why: None without a text: nothing any more.
    text: In place of the error's own, or by itself.
    """
    if isinstance(why, errors.Error):
        flow.set_trouble(topic, text or errors.line_of(why), partition, errors.to_native(why))
    else:
        flow.set_trouble(topic, text or why, partition)


class Topics:
    """The topics of one producer.

    Args:
        context: The outbox's.
        rack: Which leaders are near.
    """

    def __init__(self, context: OutboxContext, rack: Rack) -> None:
        self._context = context
        self._cluster = context.cluster
        self._flow = context.flow
        self._rack = rack
        self._wanted: set[str] = set()
        """Topics that messages were sent to."""
        self._queried: set[str] = set()
        """Topics whose partitions the application asked for."""
        self._awaited: set[str] = set()
        """Topics that a task asks for right now, and that have not come."""
        self._told: dict[str, tuple[int, float]] = {}
        """Topics that the log says have not come: by which code, and since when they are asked for."""

    def want(self, topic: str) -> None:
        """Messages wait for this topic."""
        self._wanted.add(topic)
        if self._give(self._cluster.snapshot, topic) or topic in self._awaited:
            return
        self._update_cluster()
        self._awaited.add(topic)
        self._context.spawn(self._await(topic), f"topic {topic}")

    def _update_cluster(self) -> None:
        self._cluster.want_topics(self, self._wanted | self._queried, create=True)

    async def partitions_of(self, topic: str, timeout: float) -> list[int]:
        """As `Cluster.partitions_of`, and keep the metadata of a topic that exists."""
        self._queried.add(topic)
        self._update_cluster()
        try:
            return await self._cluster.partitions_of(topic, timeout)
        except errors.Error:
            self._queried.discard(topic)
            self._update_cluster()
            raise

    def changed(self, snapshot: MetadataSnapshot) -> None:
        """The metadata is another one."""
        self._rack.check(snapshot)
        for topic in self._wanted:
            self._give(snapshot, topic)

    def trouble(self, why: errors.Error | None, text: str | None = None) -> None:
        """Nothing of any topic can be sent, for this reason; None: that is over."""
        for topic in self._wanted:
            set_trouble(self._flow, topic, why, text=text)

    async def _await(self, topic: str) -> None:
        """Ask until the topic's metadata is there or can never come; the flow itself expires what waits too long.

        What a broker said of it earlier does not count: who sends again may have mended it.
        """
        since = self._context.now()
        attempts = 0
        try:
            while topic in self._awaited:
                unanswered = await self._ask(topic)
                if topic not in self._awaited or self._give(self._cluster.snapshot, topic):
                    break
                attempts += 1
                refusal = topic_error(self._cluster.snapshot, topic)
                if unanswered is None and refusal.code in _HOPELESS:
                    self._wanted.discard(topic)
                    self._update_cluster()
                    self._flow.fail_topic(topic, "broker", refusal.code, refusal.message)
                    return
                if unanswered is None and attempts >= _TOLD_AT:
                    self._tell(topic, refusal, since)
                set_trouble(self._flow, topic, unanswered or refusal)
                await asyncio.sleep(self._context.backoff.delay(attempts))
        finally:
            self._awaited.discard(topic)
        # What keeps the producer from its identity is told again with each attempt.
        set_trouble(self._flow, topic, None)

    async def _ask(self, topic: str) -> errors.Error | None:
        """Ask once. Returns why there is no answer at all."""
        try:
            await self._cluster.refresh(f"topic {topic} is not known yet")
        except errors.Error as error:
            return error
        return None

    def _tell(self, topic: str, refusal: errors.KafkaError, since: float) -> None:
        told, since = self._told.get(topic, (None, since))
        self._told[topic] = (refusal.code, since)
        if refusal.code == told:
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
        """Give the flow the topic's partitions, where they are known."""
        known = snapshot.topic(topic)
        if known is None or not known.partitions:
            return False
        parts = known.partitions.values()
        available = [part.partition for part in parts if part.leader >= 0]
        near = self._rack.near(snapshot, parts)
        self._flow.set_topic(topic, known.topic_id, len(known.partitions), available, near)
        self._awaited.discard(topic)
        if topic in self._told:
            elapsed_s = self._context.now() - self._told.pop(topic)[1]
            self._context.log.info("topic.found", topic=topic, elapsed_s=elapsed_s)
        return True
