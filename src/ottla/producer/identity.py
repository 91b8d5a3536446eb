"""The producer id and the epochs under which partitions write: the sequence identity of KIP-98 and KIP-360.

The epoch is kept per partition. A broker checks it per partition, so one partition can start over (sequences from 0
under the next epoch) while the others flow on; only when an epoch would pass 32767 is a new producer id needed.
Engine thread only. References: KIP-98, KIP-360; Java: TransactionManager, ProducerIdAndEpoch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla import errors
from ottla.cluster.retry import Attempts
from ottla.observe.failures import error_data
from ottla.protocol.messages.init_producer_id import InitProducerIdRequest
from ottla.seam.producing import ProducerIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.producer.context import OutboxContext
    from ottla.seam.producing import Held

MAX_EPOCH = 32767

_WARNED_AT = 3
"""Number of failed requests in a row before a warning: a broker that has just started refuses once or twice."""


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

    def given(self, identity: ProducerIdentity) -> None:
        """The broker answered InitProducerId. Partitions that already write keep theirs until they are bumped."""
        self._base = identity

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
        set_trouble: Called with the reason why no message can be sent, and its text; (None, None): messages can be sent.
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
        """Whether the log has a warning that there is no producer id."""

    # ---- the producer id ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Get the first producer id, for as long as it takes: messages sent meanwhile wait or expire.

        Any broker gives one, so the request goes to the first that is reached, together with that for metadata: one round trip
        less until the first message is sent. Where the cluster refuses, messages fail, and the next one requests it again.
        """
        await self._context.cluster.reached()
        while True:
            try:
                await self.renew()
                return
            except errors.Closed:
                return
            except errors.Error as error:
                self._refuse_messages(error)
            await self._until_messages_wait()

    async def renew(self) -> None:
        """Request a producer id until there is one, and use it from then on.

        Raises:
            Error: The cluster refuses.
        """
        context = self._context
        attempts = Attempts(context.backoff, context.engine.clock)
        async for failures in attempts:
            try:
                identity = await self._ask()
            except errors.Error as error:
                attempts.record_failure(error)
                self._report_missing(error, warn=failures + 1 >= _WARNED_AT)
                continue
            if not context.closed:
                self._given(identity)
            return

    async def _ask(self) -> ProducerIdentity:
        response = await self._context.cluster.request(
            InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
        )
        if response.error_code:
            raise errors.for_code(response.error_code)
        return ProducerIdentity(response.producer_id, response.producer_epoch)

    def _refuse_messages(self, error: errors.Error) -> None:
        """Fail all messages: none can be sent without a producer id. Each failure is logged by itself."""
        data = error_data(error)
        text = (
            "the broker gives no producer id"
            if data.code
            else f"no producer id: {errors.line_of(error)}"
        )
        failed = self._context.flow.abort_all(data._replace(message=text))
        reason = self._note_missing(error)
        if not failed:
            self._logged = True
            self._context.summary.add(logging.WARNING, "producer_id.refused", reason=reason)

    async def _until_messages_wait(self) -> None:
        """Wait until a message needs a producer id, and at least for the longest backoff."""
        pause_s = self._context.config.retry_backoff_max_ms / 1000
        await self._context.engine.sleep(pause_s)
        while not self._context.flow.undelivered():
            await self._context.engine.sleep(pause_s)

    def _given(self, identity: ProducerIdentity) -> None:
        """Use a new producer id: the flow may send."""
        context = self._context
        self._identities.given(identity)
        context.flow.set_identity(identity)
        trouble = context.health.report().get("identity")
        context.health.recovered("identity")
        context.summary.ended("producer_id.missing")
        if trouble is not None and self._logged:
            context.log.info("producer_id.acquired", elapsed_s=context.now() - trouble.since)
        self._logged = False
        context.events.emit(
            "producer_id.acquired", producer_id=identity.producer_id, epoch=identity.epoch
        )
        self._set_trouble(None, None)

    def _report_missing(self, why: errors.Error, *, warn: bool) -> None:
        """Log a failed attempt. warn: As a warning, except where no broker can be reached: the cluster has one then."""
        warn = warn and "cluster" not in self._context.health.report()
        self._logged |= warn
        self._context.summary.add(
            logging.WARNING if warn else logging.DEBUG,
            "producer_id.missing",
            reason=self._note_missing(why),
        )

    def _note_missing(self, why: errors.Error) -> str:
        """Record the reason: messages that expire meanwhile have it as their cause. Returns it in words."""
        text = f"no producer id: {errors.line_of(why)}"
        self._context.health.trouble("identity", text, self._context.now())
        self._set_trouble(why, text)
        return text

    # ---- identities of partitions ------------------------------------------------------------------------------------

    def is_used_up(self, used: ProducerIdentity | None) -> bool:
        """Whether a partition that writes under this identity can only start over under a new producer id."""
        return self._following(used) is None

    def after(self, used: ProducerIdentity | None) -> ProducerIdentity:
        """The identity of a partition that starts over, after the one that it used."""
        return self._following(used) or self._identities.base

    def bump(self, held: Held) -> ProducerIdentity:
        """The identity under which a held partition starts over."""
        identity = self.after(held.identity)
        self._context.events.emit(
            "producer_epoch.bumped",
            topic=held.topic,
            partition=held.partition,
            producer_id=identity.producer_id,
            epoch=identity.epoch,
        )
        return identity

    def _following(self, used: ProducerIdentity | None) -> ProducerIdentity | None:
        return self._identities.after(NO_IDENTITY if used is None else used)
