"""The embedded broker: a Kafka cluster over TCP in this process, in plain Python.

`embedded` is what a test holds; `server` the connections; `apis` one module per API; `state` what is stored; `controls`
what a test does to requests.
"""

from __future__ import annotations

from ottla.testing.broker.controls import Seen
from ottla.testing.broker.embedded import Broker

__all__ = ["Broker", "Seen"]
