"""Every promise is kept under mixed faults, and each check finds a broken promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from ottla.testing import Broker
from ottla.testing.broker.call import Call
from tests.chaos.checker import Deadline, Seen, Sent
from tests.faults import storm
from tests.faults.storm import SHORT_LIFE, WAYS, Storm, run_trial, verdict

MINUTES = 2.0


def keeps_every_promise(seed: int, life: dict[str, Any]) -> None:
    found = run_trial(seed, MINUTES, WAYS[seed] | life)
    assert found.is_clean, found
    assert found.outcomes["written"] > 100


def test_every_promise_is_kept_by_the_default_producer() -> None:
    keeps_every_promise(0, {})


@pytest.mark.thorough
@pytest.mark.parametrize("life", [{}, SHORT_LIFE])
@pytest.mark.parametrize("seed", range(len(WAYS)))
def test_every_promise_is_kept(seed: int, life: dict[str, Any]) -> None:
    keeps_every_promise(seed, life)


def lie(request: ProduceRequest, call: Call) -> ProduceResponse:
    """Answer that every batch is written, and append none."""
    return ProduceResponse(
        responses=[
            TopicProduceResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[
                    PartitionProduceResponse(index=part.index, base_offset=0)
                    for part in topic.partition_data
                ],
            )
            for topic in request.topic_data
        ]
    )


def lies(broker: Broker, _rng: object) -> None:
    broker.answer("Produce", lie, times=3)


def loses_answers(broker: Broker, _rng: object) -> None:
    broker.lose_answer("Produce", times=3)


def refuses_what_it_wrote(broker: Broker, _rng: object) -> None:
    broker.fail_late("Produce", ErrorCode.POLICY_VIOLATION, times=3)


def refuses_one(broker: Broker, _rng: object) -> None:
    broker.fail("Produce", ErrorCode.NOT_ENOUGH_REPLICAS)


def silences(broker: Broker, _rng: object) -> None:
    broker.delay("Produce", 3600, times=None)


@pytest.mark.parametrize(
    ("fault", "way", "broken"),
    [
        (lies, {}, "lost"),
        (loses_answers, {"enable_idempotence": False}, "doubled"),
        (refuses_one, {"enable_idempotence": False, "batch_size": 1}, "reordered"),
        (refuses_what_it_wrote, {}, "written_after_all"),
    ],
)
def test_a_broker_that_lies_and_a_producer_that_promises_less_are_seen(
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Broker, object], None],
    way: dict[str, Any],
    broken: str,
) -> None:
    monkeypatch.setattr(storm, "FAULTS", dict.fromkeys("abc", fault))
    found = run_trial(1, MINUTES, way)
    assert found.findings.kinds()[broken] > 0, found
    assert not found.is_clean


def test_a_gap_is_seen() -> None:
    sent: list[Sent] = []
    seen: list[Seen] = []
    for number in range(6):
        failed = number == 2
        outcome = "not_written" if failed else "written"
        sent.append(Sent(number, outcome, 0, None if failed else len(seen), 1.0, 9.0))
        if not failed:
            seen.append(Seen(number, 0, len(seen)))
    due = Deadline(120)
    assert verdict(1, {"gapless": True}, sent, seen, due, in_time=True).gaps == [3, 4, 5]
    assert verdict(1, {}, sent, seen, due, in_time=True).is_clean


def test_an_outage_without_an_end_is_a_stall_and_late_outcomes_are_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storm, "FAULTS", dict.fromkeys("abc", silences))
    monkeypatch.setattr(Storm, "heal", lambda storm: None)
    monkeypatch.setattr(storm, "Deadline", lambda due_s: Deadline(due_s / 2))
    found = run_trial(1, 1.0, {})
    assert found.stalled
    assert found.findings.late
    assert not found.is_clean
