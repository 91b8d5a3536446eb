"""One request on its way through the broker: who asked whom, in which version; and the answer that is none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ottla.testing.broker.cluster import Cluster


class Spoiled(Exception):
    """These bytes are written in place of a response, and then the connection is closed or not."""

    def __init__(self, data: bytes, close: bool) -> None:
        super().__init__()
        self.data = data
        self.close = close


class Disconnect(Exception):
    """The connection is to be closed instead of answered."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler gets beside the request."""

    cluster: Cluster
    node: int
    version: int
    client_id: str | None
    client_host: str
    apis: Collection[int]
    """Keys of the APIs that are served."""
