"""The objects that all parts of one producer's outbox share. Engine thread only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ottla.cluster.backoff import Backoff
from ottla.observe.log import ClientLog
from ottla.observe.summary import Summary

if TYPE_CHECKING:
    from ottla._native import ProduceFlow
    from ottla.cluster.cluster import Cluster
    from ottla.config.producer import ProducerConfig
    from ottla.engine.thread import Engine
    from ottla.observe.events import Events
    from ottla.observe.health import Health


class OutboxContext:
    """Engine, cluster, flow, options and log of one producer, and the tasks of its outbox."""

    def __init__(
        self, engine: Engine, cluster: Cluster, flow: ProduceFlow, config: ProducerConfig
    ) -> None:
        self.engine = engine
        self.cluster = cluster
        self.flow = flow
        self.config = config
        self.log = ClientLog("outbox", config.who)
        self.summary = Summary(self.log, self.later)
        self.backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        """Between attempts about one topic or partition."""
        self.closed = False
        """Whether the producer is closed: nothing begins any more."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def events(self) -> Events:
        """Listeners of the producer's events."""
        return self.cluster.events

    @property
    def health(self) -> Health:
        """Troubles of the producer."""
        return self.cluster.health

    def now(self) -> float:
        """Seconds by the engine's clock."""
        return self.engine.clock.now()

    def later(self, seconds: float, call: Callable[[], None]) -> object:
        """Call a function after a number of seconds, on the engine thread."""
        return asyncio.get_running_loop().call_later(seconds, call)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Run a coroutine as a task that `close` cancels."""
        task = self.engine.spawn(coroutine, f"{self.config.who}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Cancel every task."""
        self.closed = True
        for task in self._tasks:
            task.cancel()
