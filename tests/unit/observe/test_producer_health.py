"""Health of a producer: notes and a budget in, a judgement out."""

from __future__ import annotations

import json
from typing import Any

from ottla.observe.health import Trouble
from ottla.observe.producer_health import producer_health
from ottla.seam.budget import Budget, Holder, InFlight
from ottla.seam.failures import Reported

HOLDER = Holder("orders", 3, 100, 2, "broker:9092", InFlight(2, "broker:9092"), 0.5)


def holder(**changed: Any) -> Holder:
    """Messages in flight."""
    return HOLDER._replace(**changed)


def budget(*holders: Holder, waiting: int = 0, refused: bool = False) -> Budget:
    """A budget of 1000 bytes."""
    return Budget(
        used_bytes=sum(one.size_bytes for one in holders),
        capacity_bytes=1000,
        waiting_senders=waiting,
        full=refused or waiting > 0,
        callbacks_due=False,
        holders=holders,
        largest=None,
        largest_unresolved=None,
    )


def test_messages_in_flight_are_no_trouble() -> None:
    health = producer_health({}, budget(holder()), 0)
    assert health
    assert (health.state, health.for_s, health.troubles) == ("ok", 0, ())
    assert health.buffer.holders[0].partition == 3


def test_each_trouble_has_its_duration_and_the_next_step() -> None:
    notes = {"cluster": Trouble("no broker can be reached", 90), "identity": Trouble("none", 99)}
    stuck = holder(cause=Reported("no leader", None), age_s=4.0)
    health = producer_health(notes, budget(stuck, waiting=2), 100)
    assert not health
    assert health.state == "degraded"
    by_part = {trouble.part: trouble for trouble in health.troubles}
    assert by_part.keys() == {"cluster", "identity", "orders-3", "buffer"}
    assert by_part["cluster"].for_s == health.for_s == 10
    assert by_part["orders-3"].reason == "no leader"
    assert "max_block_ms" in by_part["buffer"].next
    assert all(trouble.next for trouble in health.troubles)


def test_unread_outcomes_are_a_trouble_only_where_they_stop_senders() -> None:
    unread = holder(topic=None, partition=None, node_id=None, cause="outcomes")
    assert producer_health({}, budget(unread), 0)
    parts = [one.part for one in producer_health({}, budget(unread, waiting=1), 0).troubles]
    assert parts == ["outcomes", "buffer"]


def test_a_topic_without_metadata_is_named_alone() -> None:
    waiting = holder(partition=None, cause="metadata")
    (trouble,) = producer_health({}, budget(waiting), 0).troubles
    assert trouble.part == "orders"
    assert "metadata is requested again" in trouble.next


def test_a_refusal_is_a_trouble_though_nobody_waits() -> None:
    parts = [one.part for one in producer_health({}, budget(refused=True), 0).troubles]
    assert parts == ["buffer"]


def test_a_closed_producer_has_no_trouble_and_is_not_well() -> None:
    notes = {"cluster": Trouble("no broker can be reached", 90)}
    health = producer_health(notes, budget(), 100, closed_for=4.0)
    assert not health
    assert (health.state, health.for_s, health.troubles) == ("closed", 4.0, ())


def test_it_can_be_given_as_json() -> None:
    notes = {"cluster": Trouble("no broker can be reached", 90)}
    health = producer_health(notes, budget(holder(), waiting=2), 100)
    plain = json.loads(json.dumps(health.as_dict()))
    assert plain == health.as_dict(), "nothing becomes anything else"
    assert (plain["state"], plain["for_s"]) == ("degraded", 10)
    assert [one["part"] for one in plain["troubles"]] == ["cluster", "buffer"]
    assert plain["buffer"]["waiting_senders"] == 2
    assert plain["buffer"]["holders"][0]["topic"] == "orders"
