"""One request within the broker: client, node and version; and the answers that are no response."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ottla.testing.broker.cluster import Cluster


class Spoiled(Exception):
    """Write these bytes in place of a response; then close the connection, or not."""

    def __init__(self, data: bytes, close: bool) -> None:
        super().__init__()
        self.data = data
        self.close = close


class Disconnect(Exception):
    """Close the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """The circumstances of a request, for its handler."""

    cluster: Cluster
    node: int
    version: int
    client_id: str | None
    client_host: str
    apis: Collection[int]
    """Keys of the APIs that are served."""
