"""Reports partitions without progress: an event, a line in the log, a trouble for `health()`, and new metadata. Engine thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.consumer.stall import STALLED_S, Stall, StallWatch
from ottla.observe.log import ClientLog

if TYPE_CHECKING:
    from ottla._native import FetchFlow
    from ottla.cluster.cluster import Cluster
    from ottla.config.consumer import ConsumerConfig
    from ottla.engine.thread import Engine
    from ottla.message import TopicPartition
    from ottla.seam.fetching import FetchStatistics

_CHECK_S = 5.0
"""Seconds between checks."""
_NEXT_OF_FETCHING = "the metadata is requested again, and its leader is followed"
_NEXT_OF_APPLICATION = "poll, or let the claim ask for its next record"


class Watchdog:
    """Watches one consumer.

    Args:
        engine: Its thread and clock.
        cluster: The client's metadata, events and troubles.
        flow: The assigned partitions.
        config: Isolation level, and the name for the log.
    """

    def __init__(
        self, engine: Engine, cluster: Cluster, flow: FetchFlow, config: ConsumerConfig
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._flow = flow
        self._log = ClientLog("cursor", config.who)
        self._watch = StallWatch(read_committed=config.isolation_level == "read_committed")
        self._stalled: dict[TopicPartition, float] = {}
        """Reported partitions, and the time of the latest request for metadata about each."""

    async def run(self) -> None:
        """Check at each interval, until it is cancelled."""
        while True:
            await self._engine.sleep(_CHECK_S)
            self.check(self._flow.statistics(), self._engine.clock.now())

    def check(self, fetched: FetchStatistics, now: float) -> None:
        """Report partitions that stand still, and those that do not any more."""
        stalls = {stall.tp: stall for stall in self._watch.check(fetched.partitions, now)}
        for tp in self._stalled.keys() - stalls.keys():
            del self._stalled[tp]
            self._cluster.health.recovered(_part(tp))
            self._log.info("partition.progressed", topic=tp.topic, partition=tp.partition)
        for tp, stall in stalls.items():
            if tp not in self._stalled:
                self._report(stall, _reason(stall, fetched), now)
            if now - self._stalled.get(tp, now - STALLED_S) >= STALLED_S:
                self._stalled[tp] = now
                if not stall.buffered:
                    self._cluster.refresh_soon(f"{tp} makes no progress")

    def _report(self, stall: Stall, reason: str, now: float) -> None:
        topic, partition = stall.tp
        elapsed = now - stall.since
        next_step = _NEXT_OF_APPLICATION if stall.buffered else _NEXT_OF_FETCHING
        self._log.log(
            logging.INFO if stall.buffered else logging.WARNING,
            "partition.stalled",
            topic=topic,
            partition=partition,
            elapsed_s=elapsed,
            count=stall.lag,
            reason=reason,
            next_step=next_step,
        )
        self._cluster.events.emit(
            "partition.stalled",
            topic=topic,
            partition=partition,
            lag=stall.lag,
            duration_ms=elapsed * 1000,
            reason=reason,
        )
        if (
            not stall.buffered
        ):  # a slow application is no trouble of the client's; `max_poll_interval_ms` limits it
            self._cluster.health.trouble(_part(stall.tp), reason, now, next_step)


def _part(tp: TopicPartition) -> str:
    return f"progress of {tp}"


def _reason(stall: Stall, fetched: FetchStatistics) -> str:
    if stall.buffered:
        return f"the application has not asked for the {stall.buffered} records that are fetched"
    if fetched.buffered_bytes >= fetched.buffer_bytes:
        return "the fetch buffer (fetch_buffer_bytes) is full of records of other partitions, which the application has not taken"
    return "nothing is fetched of it"
