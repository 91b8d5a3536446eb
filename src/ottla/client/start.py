"""Reaching the cluster for the first time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ottla import errors
from ottla.cluster.backoff import Backoff

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.config.common import CommonConfig


async def start_cluster(cluster: Cluster, config: CommonConfig) -> None:
    """Start the cluster, and again until it is reached: what the user does meanwhile has deadlines of its own.

    Ends as well once the client is closed: the engine may go on for others.
    """
    backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
    attempts = 0
    while True:
        try:
            await cluster.start()
            return
        except errors.Closed:
            return
        except errors.Error:
            attempts += 1  # the cluster has told it
            await asyncio.sleep(backoff.delay(attempts))
