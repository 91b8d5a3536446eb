"""The watchdog: a partition that stands still behind the end of its log is an event, a line, a trouble, and a metadata request."""

from __future__ import annotations

import pytest

import ottla
from ottla.protocol.error_codes import ErrorCode
from ottla.testing import Broker, advance_time
from tests.fixtures.logged import Logged

pytestmark = pytest.mark.embedded_only


def test_a_partition_that_is_not_fetched_is_reported_and_recovers(
    cluster: Broker, topic: str, logged: Logged
) -> None:
    for number in range(10):
        cluster.append(topic, b"%d" % number)
    events: list[ottla.Event] = []
    with ottla.Consumer(
        cluster.bootstrap, fetch_max_bytes=70, max_partition_fetch_bytes=70
    ) as consumer:
        consumer.listen(events.append)
        consumer.assign([(topic, 0)])
        consumer.seek((topic, 0), 0)
        assert consumer.poll(max_records=1, timeout=20)
        cluster.fail("Fetch", int(ErrorCode.NOT_LEADER_OR_FOLLOWER), times=None, topic=topic)
        while consumer.poll(timeout=0.2):
            pass
        cluster.append(topic, b"late")
        assert advance_time(200, lambda: bool(logged("partition.stalled"))) >= 55
        health = consumer.health()
        assert f"progress of {topic}-0" in [trouble.part for trouble in health.troubles]
        cluster.clear_rules()
        assert consumer.poll(timeout=20)
        advance_time(20, lambda: bool(logged("partition.progressed")))
        assert logged("partition.progressed")
        assert consumer.health()
    assert "partition.stalled" in {event.name for event in events}


def test_an_application_that_asks_for_nothing_is_named(
    cluster: Broker, topic: str, logged: Logged
) -> None:
    cluster.append(topic, b"1")
    with ottla.Consumer(cluster.bootstrap) as consumer:
        consumer.assign([(topic, 0)])
        consumer.seek((topic, 0), 0)
        advance_time(100, lambda: bool(logged("partition.stalled")))
        (line,) = logged("partition.stalled")
        assert "application" in line.__dict__["reason"]
        assert consumer.health(), "a slow application is no trouble of the client's"
        consumer.pause([(topic, 0)])
        advance_time(10, lambda: bool(logged("partition.progressed")))
        assert consumer.health()
