"""The events about a hold."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.observe.events import Events
from ottla.producer.hold_events import emit_hold
from ottla.producer.verdict import judge
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.producing import Held
from tests.unit.producer.test_verdict import LOST, batch, held


def emitted(story: Held, *, gapless: bool = False) -> list[tuple[str, dict[str, Any]]]:
    events_of_hold: list[tuple[str, dict[str, Any]]] = []
    events = Events(lambda serve: serve())
    events.listen(lambda event: events_of_hold.append((event.name, dict(event.fields))))
    emit_hold(events, story, judge(story, idempotent=True, gapless=gapless))
    return events_of_hold


REFUSED = int(ErrorCode.POLICY_VIOLATION)
OUT_OF_ORDER = int(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)


@pytest.mark.parametrize(("gapless", "again"), [(False, ["batch.retried"] * 2), (True, [])])
def test_behind_a_failure_nothing_is_retried_with_gapless(gapless: bool, again: list[str]) -> None:
    batches = [batch(REFUSED), batch(None), batch(OUT_OF_ORDER)]
    events = emitted(held(*batches), gapless=gapless)
    assert [name for name, _ in events] == ["partition.held", *again]


def test_with_gapless_batches_before_a_failure_are_sent_again() -> None:
    batches = [batch(OUT_OF_ORDER), batch(REFUSED), batch(None)]
    events = emitted(held(*batches), gapless=True)
    assert [name for name, _ in events] == ["partition.held", "batch.retried"]
    assert events[1][1]["reason"] == "OUT_OF_ORDER_SEQUENCE_NUMBER (45)"


def test_an_expired_batch_takes_nothing_with_it_a_second_time() -> None:
    batches = [batch(REFUSED, expired=True), batch(None)]
    events = emitted(held(*batches, cause="expired"), gapless=True)
    assert [name for name, _ in events] == ["partition.held", "batch.retried"]


def test_a_recreated_topic_is_the_cause_of_the_hold() -> None:
    events = emitted(held(batch(None, proof="maybe"), batch(None), cause="recreated"))
    assert events[0] == (
        "partition.held",
        {
            "topic": "t",
            "partition": 0,
            "cause": "recreated",
            "reason": "the topic was deleted and recreated",
            "batches": 2,
        },
    )
    assert [name for name, _ in events[1:]] == ["batch.retried"]


def test_the_cause_of_a_lost_connection_is_in_words() -> None:
    (_, hold), (_, retried) = emitted(held(batch(None), cause=LOST))
    assert hold["cause"] == "lost"
    assert hold["reason"] == retried["reason"] == "closed by the broker, 2 requests unanswered"
