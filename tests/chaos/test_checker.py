"""Negative controls: the checker of the fault tests turns red for each promise that is broken."""

from __future__ import annotations

import pytest

from tests.chaos.checker import PROGRESS_S, Deadline, Findings, Seen, Sent, check, stalled

SENT = [Sent(number, "written", number % 2, number, 1.0, 2.0) for number in range(6)]
SEEN = [Seen(number, number % 2, number) for number in range(6)]
DEADLINE = Deadline(10.0)


def changed(number: int, **what: object) -> list[Sent]:
    return [m._replace(**what) if m.number == number else m for m in SENT]  # type: ignore[arg-type]


def broken(findings: Findings) -> dict[str, list[int]]:
    return {what: found for what, found in vars(findings).items() if found}


def test_kept_promises_are_green() -> None:
    findings = check(SENT, SEEN, DEADLINE)
    assert not findings
    assert str(findings) == "every promise kept"
    assert set(findings.kinds().values()) == {0}


def test_a_lost_message_is_red() -> None:
    findings = check(SENT, [record for record in SEEN if record.number != 3])
    assert broken(findings) == {"lost": [3]}
    assert findings, str(findings)


def test_a_doubled_message_is_red() -> None:
    assert broken(check(SENT, [*SEEN, SEEN[5]._replace(offset=6)])) == {"doubled": [5]}


def test_a_doubled_message_is_red_even_if_its_outcome_was_unknown() -> None:
    sent = changed(5, outcome="unknown")
    assert broken(check(sent, [*SEEN, SEEN[5]._replace(offset=6)])) == {"doubled": [5]}


def test_a_message_behind_a_later_one_of_its_partition_is_red() -> None:
    swapped = [*SEEN[:2], SEEN[4], SEEN[3], SEEN[2], SEEN[5]]
    assert broken(check(SENT, swapped)) == {"reordered": [2]}


def test_order_is_kept_across_a_message_of_unknown_outcome() -> None:
    swapped = [*SEEN[:2], SEEN[4], SEEN[3], SEEN[2], SEEN[5]]
    assert broken(check(changed(2, outcome="unknown"), swapped)) == {"reordered": [2]}


def test_partitions_are_independent_of_each_other() -> None:
    assert not check(SENT, [*SEEN[1::2], *SEEN[0::2]])


@pytest.mark.parametrize("outcome", ["not_written", "refused"])
def test_a_record_that_was_reported_as_not_written_is_red(outcome: str) -> None:
    assert broken(check(changed(3, outcome=outcome), SEEN)) == {"written_after_all": [3]}


@pytest.mark.parametrize("there", [True, False])
def test_an_unknown_outcome_allows_both(there: bool) -> None:
    assert not check(changed(3, outcome="unknown"), [r for r in SEEN if there or r.number != 3])


@pytest.mark.parametrize("what", [{"outcome": None}, {"reports": 0}])
def test_a_message_without_an_outcome_is_red(what: dict[str, object]) -> None:
    assert broken(check(changed(3, **what), SEEN)) == {"unresolved": [3]}


def test_a_message_with_two_outcomes_is_red() -> None:
    assert broken(check(changed(3, reports=2), SEEN)) == {"repeated": [3]}


@pytest.mark.parametrize("outcome", ["written", "unknown"])
def test_an_outcome_after_its_time_limit_is_red(outcome: str) -> None:
    sent = changed(3, outcome=outcome, resolved_s=11.1)
    assert broken(check(sent, SEEN, DEADLINE)) == {"late": [3]}
    assert not check(sent, SEEN)


def test_a_starved_machine_is_no_finding_and_a_later_outcome_is_one() -> None:
    sent = changed(3, resolved_s=11.1)
    asked = []

    def margin(start_s: float, end_s: float) -> float:
        asked.append((start_s, end_s))
        return 0.2

    assert not check(sent, SEEN, Deadline(10.0, margin))
    assert asked == [(1.0, 11.1)]
    assert broken(check(changed(3, resolved_s=11.3), SEEN, Deadline(10.0, margin))) == {"late": [3]}


@pytest.mark.parametrize("place", [{"offset": 7}, {"partition": 0}, {"partition": 0, "offset": -1}])
def test_a_delivery_with_another_place_is_red(place: dict[str, object]) -> None:
    assert broken(check(changed(5, **place), SEEN)) == {"misplaced": [5]}


def test_an_answer_without_an_offset_is_no_finding() -> None:
    assert not check(changed(5, offset=-1), SEEN)


def test_a_record_that_nobody_sent_is_red() -> None:
    assert broken(check(SENT, [*SEEN, Seen(9, 1, 6)])) == {"strange": [9]}


def test_a_partition_without_a_new_record_in_time_is_red() -> None:
    written = {0: 100.0 + PROGRESS_S, 1: 100.1 + PROGRESS_S}
    assert stalled(100.0, written, range(3)) == [1, 2]
    assert stalled(100.0, written, range(2), margin_s=0.2) == []
