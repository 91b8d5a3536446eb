"""Health of a consumer: troubles with their next step, waits by length."""

from __future__ import annotations

import json

from ottla.observe.consumer_health import HealthWait, MemberHealth, consumer_health
from ottla.observe.health import Health

MEMBER = MemberHealth("g", "stable", "m-1", 3, 2)


def test_without_troubles_it_is_ok_despite_waits() -> None:
    waits = [HealthWait("poll", "records", "none", 1.0), HealthWait("group", "x", "y", 5.0)]
    health = consumer_health({}, waits, MEMBER, now=10.0)
    assert health
    assert (health.state, health.for_s) == ("ok", 0.0)
    assert [wait.who for wait in health.waits] == ["group", "poll"], "the longest first"
    assert health.member == MEMBER


def test_a_trouble_names_its_part_and_the_next_step() -> None:
    notes = Health()
    notes.trouble("orders-0", "no leader", 4.0)
    notes.trouble("orders-1", "refused", 6.0, "until a seek")
    notes.trouble("commit", "refused", 7.0)
    health = consumer_health(notes.report(), (), None, now=10.0)
    assert not health
    assert (health.state, health.for_s) == ("degraded", 6.0)
    first, second, third = health.troubles
    assert (first.part, first.reason, first.for_s) == ("orders-0", "no leader", 6.0)
    assert "its leader is asked again" in first.next
    assert (second.for_s, second.next) == (4.0, "until a seek")
    assert "the next commit" in third.next


def test_closed_has_no_troubles() -> None:
    notes = Health()
    notes.trouble("cluster", "gone", 4.0)
    waits = [HealthWait("poll", "records", "none", 1.0)]
    health = consumer_health(notes.report(), waits, MEMBER, now=10.0, closed_for=2.0)
    assert (health.state, health.for_s) == ("closed", 2.0)
    assert (health.troubles, health.waits, health.member) == ((), (), None)


def test_it_is_plain_data() -> None:
    wait = HealthWait("poll", "records", "none", 1.0)
    values = consumer_health({}, [wait], MEMBER, now=0.0).as_dict()
    assert json.loads(json.dumps(values)) == values
