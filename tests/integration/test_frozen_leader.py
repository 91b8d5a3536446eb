"""A frozen node accepts connections and never answers: its partitions are routed to their new leaders."""

from __future__ import annotations

import ottla
from ottla.testing import Broker

QUICK_S = 8
"""Far below `request_timeout_ms`, the time after which a waiting caller would give up the frozen node."""


def test_partitions_leave_a_frozen_leader_while_its_connection_is_being_opened() -> None:
    with Broker(nodes=2) as broker:
        broker.create_topic("t", partitions=1)
        frozen = broker.leader("t")
        other = next(node for node in (1, 2) if node != frozen)
        bootstrap = broker.bootstrap.split(",")[other - 1]
        broker.delay("ApiVersions", 60.0, times=None, node=frozen)
        with (
            ottla.Producer(bootstrap, linger_ms=0) as producer,
            ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer,
        ):
            delivery = producer.send("t", b"x")
            consumer.assign([ottla.TopicPartition("t", 0)])
            broker.wait_for("ApiVersions", times=3)
            broker.move_leader("t", 0, other)
            assert delivery.result(QUICK_S).offset == 0
            assert consumer.poll(timeout=QUICK_S)
