"""The embedded broker: a Kafka cluster over TCP in this process, in plain Python.

`embedded` has the `Broker` of a test; `server` the connections; `apis` one module per API; `state` logs, topics and groups;
`controls` the rules for requests.
"""

from __future__ import annotations

from ottla.testing.broker.controls import Seen
from ottla.testing.broker.embedded import Broker

__all__ = ["Broker", "Seen"]
