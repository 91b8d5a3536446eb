"""The events about a hold."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.observe.events import Events
from ottla.producer.hold_events import emit_hold
from ottla.producer.verdict import RECREATED, Held, judge
from ottla.protocol.error_codes import ErrorCode


def batch(code: int | None, **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "base_sequence": 0,
        "records": 3,
        "bytes": 300,
        "attempts": 1,
        "expired": False,
        "unanswered": False,
        "may_be_written": False,
        "code": code,
        "error_message": None,
        "record_errors": [],
        "leader": None,
        "node": None,
    }
    return known | more


def emitted(held: Held, *, gapless: bool = False) -> list[tuple[str, dict[str, Any]]]:
    events_of_hold: list[tuple[str, dict[str, Any]]] = []
    events = Events(lambda serve: serve())
    events.listen(lambda event: events_of_hold.append((event.name, dict(event.fields))))
    emit_hold(events, held, judge(held, idempotent=True), gapless=gapless)
    return events_of_hold


REFUSED = int(ErrorCode.POLICY_VIOLATION)
OUT_OF_ORDER = int(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)


@pytest.mark.parametrize(("gapless", "again"), [(False, ["batch.retried"] * 2), (True, [])])
def test_behind_a_failure_nothing_goes_again_with_gapless(gapless: bool, again: list[str]) -> None:
    batches = [batch(REFUSED), batch(None), batch(OUT_OF_ORDER)]
    events = emitted(Held("t", 0, "answer", batches), gapless=gapless)
    assert [name for name, _ in events] == ["partition.held", *again]


def test_with_gapless_batches_before_a_failure_are_sent_again() -> None:
    batches = [batch(OUT_OF_ORDER), batch(REFUSED), batch(None)]
    events = emitted(Held("t", 0, "answer", batches), gapless=True)
    assert [name for name, _ in events] == ["partition.held", "batch.retried"]
    assert events[1][1]["reason"] == "OUT_OF_ORDER_SEQUENCE_NUMBER (45)"


def test_an_expired_batch_takes_nothing_with_it_a_second_time() -> None:
    batches = [batch(REFUSED, expired=True), batch(None)]
    events = emitted(Held("t", 0, "expired", batches), gapless=True)
    assert [name for name, _ in events] == ["partition.held", "batch.retried"]


def test_a_recreated_topic_is_the_cause_of_the_hold() -> None:
    events = emitted(Held("t", 4, RECREATED, [batch(None, may_be_written=True), batch(None)]))
    assert events[0] == (
        "partition.held",
        {
            "topic": "t",
            "partition": 4,
            "cause": "recreated",
            "reason": "the topic was deleted and made anew",
            "batches": 2,
        },
    )
    assert [name for name, _ in events[1:]] == ["batch.retried"]


def test_the_cause_of_a_lost_connection_is_in_words() -> None:
    cause = "lost:eof:closed by the broker, 1 request unanswered"
    (_, hold), (_, retried) = emitted(Held("t", 0, cause, [batch(None)]))
    assert hold["cause"] == "lost"
    assert hold["reason"] == retried["reason"] == "closed by the broker, 1 request unanswered"
