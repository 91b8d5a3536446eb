"""The cost of a producer's first delivery: its requests, and the modules that it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ottla
from ottla.testing import Broker

SOURCE = Path(__file__).parents[2] / "src"

FIRST_DELIVERY = """
import asyncio, json, sys  # asyncio itself loads ssl, subprocess and others
before = set(sys.modules)
import ottla
with ottla.Producer(sys.argv[1], linger_ms=0) as producer:
    producer.send_and_wait(sys.argv[2], b"value")
    print(json.dumps(sorted(set(sys.modules) - before)))
"""

MESSAGES = {"api_versions", "header", "init_producer_id", "metadata", "produce"}
OTHERS = {"__future__", "_bisect", "_queue", "_random", "_sha512", "bisect", "queue", "random"}
"""Modules that may be loaded in addition to asyncio's own: `random` for backoffs, `queue` for the dispatcher."""


@pytest.mark.embedded_only
def test_a_first_delivery_sends_each_request_once() -> None:
    """The topic is in the first Metadata request, and the producer id is requested at the same time."""
    with Broker(auto_create_topics=False) as broker:
        broker.create_topic("orders")
        # The broker delays the connection until the message has been accepted.
        broker.delay("ApiVersions", 0.2)
        with ottla.Producer(broker.bootstrap, linger_ms=0) as producer:
            producer.send_and_wait("orders", b"value")
        asked = [seen.api for seen in broker.requests]
    assert asked == ["ApiVersions", "Metadata", "InitProducerId", "ApiVersions", "Produce"]


@pytest.mark.embedded_only
def test_a_first_delivery_loads_no_unneeded_module(bootstrap: str, topic: str) -> None:
    """Without errors: a real broker may refuse the first message of a topic that was just created."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_DELIVERY, bootstrap, topic],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    loaded = set(json.loads(done.stdout))
    ours = {name for name in loaded if name.partition(".")[0] == "ottla"}
    assert loaded - ours <= OTHERS
    prefix = "ottla.protocol.messages."
    assert {n.removeprefix(prefix) for n in ours if n.startswith(prefix)} == MESSAGES
    assert not {name for name in ours if "consumer" in name or "testing" in name}
    assert "ottla.kafka_errors" not in ours
