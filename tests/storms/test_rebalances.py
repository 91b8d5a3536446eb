"""A short storm on the embedded broker is exactly once by every way to consume, and a member that cheats is found."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.testing import Broker
from tests.storms import members
from tests.storms.checker import Findings
from tests.storms.members import Notes, Place, Stop
from tests.storms.rebalances import OPTIONS, Storm

PARTITIONS = 6


def short_storm(broker: Broker, apis: list[str]) -> Findings:
    broker.create_topic("storm", partitions=PARTITIONS)
    options: dict[str, Any] = {**OPTIONS, "heartbeat_interval_ms": 50, "session_timeout_ms": 20_000}
    place = Place(broker.bootstrap, "g", "storm", options, 0.01)
    storm = Storm(place, PARTITIONS, apis)
    return storm.run(2.0, members=4, every_s=0.15, rate=300.0, kills=0.0)


@pytest.mark.parametrize("api", ["poll", "manual", "iterator", "handler"])
def test_a_graceful_storm_is_exactly_once(api: str) -> None:
    with Broker() as broker:
        found = short_storm(broker, [api])
    assert found.broken(graceful=True) == {}, found
    assert found.processed > 0


def test_a_member_that_processes_after_on_revoked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a member that keeps the first record of each poll and processes it at the next one."""

    def late(place: Place, stop: Stop, notes: Notes) -> None:
        import ottla

        kept: list[ottla.Record] = []
        with ottla.Consumer(place.bootstrap, group_id=place.group, **place.options) as consumer:
            consumer.subscribe([place.topic], **notes.listeners())
            while not stop.event.is_set():
                records = list(consumer.poll(timeout=0.1))
                for record in [*kept, *records[1:]]:
                    notes.processed(record)
                kept = records[:1]

    monkeypatch.setitem(members.APIS, "late", late)
    with Broker() as broker:
        found = short_storm(broker, ["late"])
    assert {"ahead", "after_revoked"} & found.broken(graceful=True).keys(), found
