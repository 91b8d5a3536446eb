"""The objects that all parts of one client's `Cluster` share. Engine thread only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ottla.cluster.certificates import CertificateWatch
from ottla.errors import Closed
from ottla.observe.events import Events
from ottla.observe.health import Health
from ottla.observe.log import ClientLog
from ottla.observe.summary import Summary

if TYPE_CHECKING:
    from ottla.config.common import CommonConfig
    from ottla.engine.reactor import Reactor


class ClusterContext:
    """Options, engine, log, events and health of one client.

    Args:
        config: Bootstrap list, time-outs, backoffs.
        reactor: The engine.
        events: Listeners of the client's events; None: there are none.
        health: Troubles of the client; None: a new object.
    """

    def __init__(
        self, config: CommonConfig, reactor: Reactor, events: Events | None, health: Health | None
    ) -> None:
        self.config = config
        self.reactor = reactor
        self.events = Events() if events is None else events
        self.health = Health() if health is None else health
        self.log = ClientLog("cluster", config.who)
        self.summary = Summary(
            self.log, lambda s, call: asyncio.get_running_loop().call_later(s, call)
        )
        self.certificates = CertificateWatch(self)
        self.closed = False
        """Whether the client is closed: nothing begins any more."""

    def now(self) -> float:
        """Seconds by the engine's clock."""
        return self.reactor.clock.now()

    @staticmethod
    def closed_error() -> Closed:
        """The error of callers that wait while the client is closed."""
        return Closed("the client was closed", outcome="not_written")
