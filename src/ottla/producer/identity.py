"""The producer id and the epochs under which partitions write: the sequence identity of KIP-98 and KIP-360.

The epoch is kept per partition. A broker checks it per partition, so one partition can start over (sequences from 0
under the next epoch) while the others flow on; only when an epoch would pass 32767 is a new producer id needed.
Engine thread only. References: KIP-98, KIP-360; Java: TransactionManager, ProducerIdAndEpoch.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from ottla import errors
from ottla.protocol.messages.init_producer_id import InitProducerIdRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.producer.context import OutboxContext
    from ottla.producer.verdict import Held

MAX_EPOCH = 32767

_TOLD_AT = 3
"""So many refusals of a producer id in a row are a warning: a broker that has just started refuses once or twice."""


class ProducerIdentity(NamedTuple):
    """Producer id and epoch, as the broker gave them or with a later epoch."""

    producer_id: int
    epoch: int


NO_IDENTITY = ProducerIdentity(-1, -1)


class Identities:
    """The identity that the broker gave, and those that follow from it. Pure.

    The flow knows which one a partition writes under (and reports it with each hold): a partition takes the given one when
    it sends for the first time, which this side cannot see.
    """

    __slots__ = ("_base",)

    def __init__(self) -> None:
        self._base = NO_IDENTITY

    @property
    def base(self) -> ProducerIdentity:
        """The identity of partitions that never had to start over."""
        return self._base

    def given(self, producer_id: int, epoch: int) -> None:
        """The broker answered InitProducerId. Partitions that already write keep theirs until they are bumped."""
        self._base = ProducerIdentity(producer_id, epoch)

    def after(self, used: ProducerIdentity) -> ProducerIdentity | None:
        """The next identity of a partition that starts over, or None where a new producer id has to be requested."""
        if used.producer_id != self._base.producer_id:
            return self._base
        if used.epoch >= MAX_EPOCH:
            return None
        return ProducerIdentity(used.producer_id, used.epoch + 1)


class IdentitySource:
    """Requests producer ids from the cluster, and gives the flow and the partitions their identities.

    Args:
        context: The outbox's.
        set_trouble: Called with the reason why nothing can be sent and its text; (None, None): that has ended.
    """

    def __init__(
        self,
        context: OutboxContext,
        set_trouble: Callable[[errors.Error | None, str | None], None],
    ) -> None:
        self._context = context
        self._set_trouble = set_trouble
        self._identities = Identities()
        self._logged = False
        """Whether the log has that there is no producer id."""

    # ---- the producer id ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Get the first producer id, for as long as it takes: messages sent meanwhile wait or expire.

        Any broker gives one, so the first that is reached is asked in addition to its metadata: one round trip less until
        the first message leaves.
        """
        await self._context.cluster.reached()
        await self.renew(first=True)

    async def renew(self, *, first: bool = False) -> None:
        """Request a producer id until there is one, and use it from then on.

        first: Nothing can be sent without it, so that a refusal for good fails what waits. Else one partition waits for it,
            whose messages expire, and the others go on under the one they have.
        """
        producer_id, epoch = await self._request(first=first)
        if not self._context.closed:
            self._given(producer_id, epoch)

    async def _request(self, *, first: bool) -> tuple[int, int]:
        context = self._context
        attempts = 0
        while True:
            try:
                response = await context.cluster.request(
                    InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
                )
                if response.error_code == 0:
                    return response.producer_id, response.producer_epoch
                reason: errors.Error = errors.for_code(response.error_code)
            except errors.Closed:
                raise
            except errors.Error as error:
                reason = error
            attempts += 1
            failed = 0
            if first and isinstance(reason, errors.KafkaError) and not reason.retriable:
                failed = context.flow.abort_all(
                    "broker", reason.code, "the broker gives no producer id"
                )
            # Each message that fails is told by itself.
            self._report_refusal(reason, aloud=attempts >= _TOLD_AT and not failed)
            await asyncio.sleep(context.backoff.delay(attempts))

    def _given(self, producer_id: int, epoch: int) -> None:
        """The broker gave this producer its id: the flow may send."""
        context = self._context
        self._identities.given(producer_id, epoch)
        context.flow.set_identity(producer_id, epoch)
        trouble = context.health.report().get("identity")
        context.health.recovered("identity")
        context.summary.ended("producer_id.missing")
        if trouble is not None and self._logged:
            context.log.info("producer_id.acquired", elapsed_s=context.now() - trouble.since)
        self._logged = False
        context.events.emit("producer_id.acquired", producer_id=producer_id, epoch=epoch)
        self._set_trouble(None, None)

    def _report_refusal(self, why: errors.Error, *, aloud: bool) -> None:
        """There is no producer id, so nothing can be sent: messages that expire meanwhile say so.

        aloud: Whether the log has no line about it yet. Where no broker can be reached at all, the cluster says that.
        """
        context = self._context
        aloud = aloud and "cluster" not in context.health.report()
        text = f"no producer id: {errors.line_of(why)}"
        self._logged |= aloud
        context.health.trouble("identity", text, context.now())
        self._set_trouble(why, text)
        context.summary.add(
            logging.WARNING if aloud else logging.DEBUG, "producer_id.missing", reason=text
        )

    # ---- identities of partitions ------------------------------------------------------------------------------------

    def is_used_up(self, used: tuple[int, int] | None) -> bool:
        """Whether a partition that writes under this identity can only start over under a new producer id."""
        return self._following(used) is None

    def after(self, used: tuple[int, int] | None) -> tuple[int, int, int]:
        """Producer id, epoch and first sequence of a partition that starts over, after the identity that it used."""
        following = self._following(used) or self._identities.base
        return (following.producer_id, following.epoch, 0)

    def bump(self, held: Held) -> tuple[int, int, int]:
        """The identity under which a held partition starts over."""
        identity = self.after(held.identity)
        self._context.events.emit(
            "producer_epoch.bumped",
            topic=held.topic,
            partition=held.partition,
            producer_id=identity[0],
            epoch=identity[1],
        )
        return identity

    def _following(self, used: tuple[int, int] | None) -> ProducerIdentity | None:
        current = ProducerIdentity(*used) if used is not None else NO_IDENTITY
        return self._identities.after(current)
