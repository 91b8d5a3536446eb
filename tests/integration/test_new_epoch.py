"""A partition that restarts its sequences does so under a new epoch: otherwise the broker takes a message for an old one."""

from __future__ import annotations

import ottla
from ottla.testing import Broker, advance_time

IDENTITY_AFTER_S = 0.3
"""Longer than the producer takes to find the partition's leader."""


def test_a_producer_id_that_comes_after_the_route_is_bumped_too() -> None:
    with Broker() as broker:
        broker.create_topic("t", partitions=1)
        broker.delay("InitProducerId", IDENTITY_AFTER_S)
        with ottla.Producer(
            broker.bootstrap, linger_ms=0, delivery_timeout_ms=1_000, request_timeout_ms=900
        ) as producer:
            assert producer.send("t", b"first").result(5).offset == 0
            broker.disconnect("Produce", times=None)
            lost = producer.send("t", b"lost")
            advance_time(5, lost.done)
            assert isinstance(lost.exception(5), ottla.errors.DeliveryTimeout)
            assert lost.outcome == "unknown"
            broker.clear_rules()
            # Its sequence follows the lost one, so the broker refuses it until the sequences restart.
            assert producer.send("t", b"third").result(5).offset == 1
        assert [record.value for record in broker.records("t")] == [b"first", b"third"]
