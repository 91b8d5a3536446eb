"""Ends the holds of one producer's partitions: `verdict` decides, this module carries it out and lets the partition flow again.

Station: outbox. Engine thread only. References: KIP-98, KIP-360, KIP-951; Java: Sender.completeBatch.

Invariant: the flow reports a hold once, and every hold must be released. An exception in this module therefore still ends the
hold: its batches fail with the outcome that their attempts leave, and later batches continue.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ottla import errors
from ottla.message import TopicPartition
from ottla.observe.failures import error_data
from ottla.producer.hold_events import emit_hold
from ottla.producer.hold_log import lines_of
from ottla.producer.verdict import cause_text, fail_all, judge

if TYPE_CHECKING:
    from ottla.cluster.leaders import LeaderRoutes
    from ottla.producer.context import OutboxContext
    from ottla.producer.identity import IdentitySource
    from ottla.producer.verdict import Verdict
    from ottla.seam.producing import Held


class Holds:
    """The held partitions of one producer.

    Args:
        context: The outbox's.
        routes: Search a route for each partition once its hold has ended.
        identity: Gives partitions that start over their next epoch.
    """

    def __init__(
        self, context: OutboxContext, routes: LeaderRoutes, identity: IdentitySource
    ) -> None:
        self._context = context
        self._routes = routes
        self._identity = identity
        self._renewed: set[TopicPartition] = set()
        """Partitions that are held once more, to begin under the producer id that was waited for."""
        self._without_identity: set[TopicPartition] = set()
        """Partitions that have used up their epochs, and for which the cluster has refused another producer id."""

    def end_soon(self, held: Held) -> None:
        """Decide about a held partition in a task of its own."""
        self._context.spawn(self._end(held), f"release of {held.topic}-{held.partition}")

    async def _end(self, held: Held) -> None:
        """Decide about a held partition and let it flow again. It gets its route after the backoff; the hold ends at once, so
        that failed messages get their outcome.

        The flow reports a hold once and waits for its end. So the hold ends even if an exception is raised here, which is a bug:
        its messages fail with the outcome that their attempts leave, and later messages are sent.
        """
        place = TopicPartition(held.topic, held.partition)
        route = self._routes.withdraw(place)
        asked = -1 if route is None else route.node_id
        self._routes.suspend(place)
        released = False
        try:
            verdict = self._judge(held, asked)
            pause = self._follow(held, verdict, asked)
            renew = verdict.bump and self._identity.is_used_up(held.identity)
            bumped = self._identity.bump(held) if verdict.bump and not renew else None
            self._context.flow.release(
                *place, verdict.decisions, behind=verdict.behind, identity=bumped
            )
            released = True
            if renew:
                await self._renew(place)
            elif pause:
                await asyncio.sleep(pause)
        except Exception as error:
            if self._context.closed:
                return
            self._log_internal_error(
                place,
                error,
                "it was released and continues"
                if released
                else "its batches fail, later batches continue",
            )
            if not released:
                await self._fail(held, error)
        finally:
            self._routes.resume(place)
        if not self._context.closed and place not in self._renewed | self._without_identity:
            self._routes.find(place)

    def _judge(self, held: Held, asked: int) -> Verdict:
        """Decide, and report to listeners and the log. asked: The node that answered, -1 where it was none."""
        place = TopicPartition(held.topic, held.partition)
        config = self._context.config
        idempotent = config.enable_idempotence
        start_over = place in self._renewed
        self._renewed.discard(place)
        verdict = judge(held, idempotent=idempotent, gapless=config.gapless, start_over=start_over)
        if self._context.events:
            emit_hold(self._context.events, held, verdict)
        broker = self._routes.broker_fields(asked)
        for line in lines_of(held, verdict, broker, idempotent=idempotent):
            self._context.summary.add(
                line.level, line.event, place, count=line.batches, **line.fields
            )
        return verdict

    def _follow(self, held: Held, verdict: Verdict, asked: int) -> float:
        """Follow the leader that the broker named, or refresh stale metadata; return the seconds to wait before sending again."""
        cluster = self._context.cluster
        topic, partition = held.topic, held.partition
        backoff = verdict.backoff
        if verdict.leader is not None:
            hint = verdict.leader
            self._context.events.emit(
                "partition.moved",
                topic=topic,
                partition=partition,
                node=hint.node_id,
                leader_epoch=hint.leader_epoch,
            )
            cluster.apply_leader_hint(
                topic, partition, hint.node_id, hint.leader_epoch, hint.endpoint
            )
            known = cluster.snapshot.partition(topic, partition)
            # Two nodes that name each other while a leader is elected are not asked in turn without a pause.
            backoff = known is None or known.leader in (-1, asked)
        elif verdict.refresh:
            cluster.refresh_soon(f"{topic}-{partition} is held: {cause_text(held.cause)}")
        if not (backoff and held.batches):
            return 0.0
        return self._context.backoff.delay(max(batch.attempts for batch in held.batches))

    async def _fail(self, held: Held, error: Exception) -> None:
        """End a hold without a decision: its batches fail, since no batch is known to be right to send."""
        bug = errors.Error(f"a bug of the client: {errors.line_of(error)}")
        verdict = fail_all(held, bug, gapless=self._context.config.gapless)
        attempts = 0
        while not self._context.closed:
            try:
                self._context.flow.release(
                    held.topic, held.partition, verdict.decisions, behind=verdict.behind
                )
                return
            except Exception as again:
                attempts += 1
                place = TopicPartition(held.topic, held.partition)
                self._log_internal_error(place, again, "it stays held and is released again")
                await asyncio.sleep(self._context.backoff.delay(attempts))

    def _log_internal_error(self, place: TopicPartition, error: Exception, next_step: str) -> None:
        self._context.log.error(
            "internal_error.hold",
            exc_info=error,
            topic=place.topic,
            partition=place.partition,
            reason=error,
            next_step=next_step,
        )

    def renew_soon(self, place: TopicPartition) -> bool:
        """A partition has messages again. Requests another producer id where the last request was refused; returns whether."""
        if place not in self._without_identity:
            return False
        self._without_identity.discard(place)
        self._context.spawn(self._renew(place), f"producer id for {place}")
        return True

    async def _renew(self, place: TopicPartition) -> None:
        """The epochs are used up: the partition, whose hold has ended, is held again once there is a new producer id.

        It gets no route meanwhile, so nothing is sent under the identity that is given up. Where the cluster refuses another
        id, its messages fail.
        """
        try:
            await self._identity.renew()
        except errors.Error as error:
            self._without_identity.add(place)
            self._context.flow.fail_partition(place.topic, place.partition, error_data(error))
            return
        if self._context.closed:
            return
        self._context.flow.hold(*place)
        self._renewed.add(place)
