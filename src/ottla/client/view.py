"""Views of a consumer or a group: events, statistics, health. Threads: any, unless a docstring names another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ottla.consumer.hand_over import SkippedRecords
from ottla.engine.dispatcher import dispatch
from ottla.observe.consumer_health import ConsumerHealth, HealthWait, consumer_health
from ottla.observe.consumer_statistics import ConsumerStatistics, consumer_statistics
from ottla.observe.events import Events
from ottla.observe.health import Health, Trouble
from ottla.observe.rates import SAMPLE_S, Rates
from ottla.observe.tls_health import tls_health
from ottla.producer.callbacks import CallbackRef, Callbacks
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from ottla._native import FetchFlow
    from ottla.client.consumer import ConsumerClient
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.interceptors import ConsumerInterceptors
    from ottla.engine.thread import Engine
    from ottla.message import OffsetAndMetadata, TopicPartition
    from ottla.seam.fetching import FetchStatistics

_SILENT_MS = 1_000
"""Milliseconds beyond `fetch_max_wait_ms` after which a broker without an answer is a trouble."""

Readers = Mapping[str, float]
"""Calls of the application that wait for records, by name: `poll`, `claim orders-0`; since when, by `monotonic`."""


class ConsumerCallbacks(Callbacks):
    """The functions and objects of the application, for one consumer.

    Args:
        consumer_interceptors: None: there are none.
    """

    def __init__(self, consumer_interceptors: ConsumerInterceptors | None = None) -> None:
        super().__init__()
        self.consumer_interceptors = consumer_interceptors


class ConsumerView:
    """The views of one consumer.

    Args:
        config: Of the consumer.
        engine: Its clock, and its thread for samples.
        flow: Counts fetched records and bytes.
        callbacks: Of the application.
    """

    def __init__(
        self, config: ConsumerConfig, engine: Engine, flow: FetchFlow, callbacks: ConsumerCallbacks
    ) -> None:
        self.events = Events(dispatch, None, config.who)
        self.troubles = Health()
        self.callbacks = CallbackRef(callbacks, config.who)
        self.skipped = SkippedRecords(config.who)
        self._config = config
        self._engine = engine
        self._flow = flow
        self._rates = Rates((0, 0), engine.clock.now())
        self._closed_at: float | None = None

    async def sample(self) -> None:
        """Remember the counters at each interval, for the rates. Engine thread, until it is cancelled."""
        while True:
            await self._engine.sleep(SAMPLE_S)
            self._rates.sample(_counters(self._flow.statistics()), self._engine.clock.now())

    def closed(self) -> None:
        """The consumer is closed. Engine thread."""
        self._closed_at = self._engine.clock.now()
        interceptors = self.interceptors
        if interceptors is not None:
            dispatch(interceptors.close)

    @property
    def interceptors(self) -> ConsumerInterceptors | None:
        """The interceptors; None without any, or while their owner is being collected."""
        callbacks = self.callbacks.get()
        return callbacks.consumer_interceptors if isinstance(callbacks, ConsumerCallbacks) else None

    def commits_accepted(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """The coordinator has accepted these offsets: the interceptors receive them. Engine thread."""
        interceptors = self.interceptors
        if interceptors is not None:
            dispatch(interceptors.committed, offsets)

    def statistics(self, client: ConsumerClient) -> ConsumerStatistics:
        """Everything that is counted, at one moment."""
        fetched = self._flow.statistics()
        records, size = self._rates.per_second(_counters(fetched), self._engine.clock.now())
        report = client.subscription.report
        return consumer_statistics(
            fetched,
            (records, size),
            None if report is None else report.statistics(client.subscription.identity),
            skipped_records=self.skipped.count,
            read_committed=self._config.isolation_level == "read_committed",
        )

    def health(self, client: ConsumerClient, readers: Readers) -> ConsumerHealth:
        """Troubles and waits of every part."""
        now = self._engine.clock.now()
        if self._closed_at is not None:
            return consumer_health({}, (), None, now, now - self._closed_at)
        fetched = self._flow.statistics()
        waits = [
            *_waits_of(readers, fetched),
            *client.cursors.waits(now),
            *client.subscription.waits(now),
        ]
        if client.offsets is not None:
            waits += client.offsets.waits(now)
        patience_ms = self._config.fetch_max_wait_ms + _SILENT_MS
        troubles = {**self.troubles.report(), **_silent_nodes(fetched, patience_ms, now)}
        tls = tls_health(self._config.tls)
        return consumer_health(troubles, waits, client.subscription.health(), now, tls=tls)


def _silent_nodes(fetched: FetchStatistics, patience_ms: float, now: float) -> dict[str, Trouble]:
    """Brokers that have not answered a fetch for longer than they may wait for records."""
    return {
        f"node {node.node_id}": Trouble(
            f"node {node.node_id} at {node.address} has not answered a fetch for {node.waiting_for_ms / 1000:.1f} s",
            now - node.waiting_for_ms / 1000,
            "its connection ends after request_timeout_ms, and the metadata names the leaders to fetch from then",
        )
        for node in fetched.nodes
        if node.waiting_for_ms > patience_ms
    }


def _waits_of(readers: Readers, fetched: FetchStatistics) -> list[HealthWait]:
    now, reason = monotonic(), _why_no_records(fetched)
    return [
        HealthWait(name, "records", reason, max(0.0, now - since))
        for name, since in readers.items()
    ]


def _why_no_records(fetched: FetchStatistics) -> str:
    """The reason for which no record can be taken."""
    if not fetched.partitions:
        return "no partition is assigned"
    if all(one.paused for one in fetched.partitions):
        return "every assigned partition is paused"
    if all(one.node_id is None for one in fetched.partitions):
        return "no assigned partition has a connection to its leader"
    if any(one.throttled_for_ms for one in fetched.nodes):
        return "a broker throttles this client"
    return "no assigned partition has a new record"


def _counters(fetched: FetchStatistics) -> tuple[int, int]:
    return fetched.handed_records, fetched.fetched_bytes
