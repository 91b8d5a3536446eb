"""Negative controls: the checker of the fault tests turns red for each promise that is broken."""

from __future__ import annotations

import pytest

from tests.chaos.checker import Findings, Seen, Sent, check

SENT = [Sent(number, b"k%d" % (number % 2), "written", 0, number) for number in range(6)]
SEEN = [Seen(number, b"k%d" % (number % 2), 0, number) for number in range(6)]


def with_outcome(number: int, outcome: str | None) -> list[Sent]:
    return [m._replace(outcome=outcome) if m.number == number else m for m in SENT]


def broken(findings: Findings) -> dict[str, list[int]]:
    return {what: found for what, found in vars(findings).items() if found}


def test_kept_promises_are_green() -> None:
    findings = check(SENT, SEEN)
    assert not findings
    assert str(findings) == "every promise kept"


def test_a_lost_message_is_red() -> None:
    findings = check(SENT, [record for record in SEEN if record.number != 3])
    assert broken(findings) == {"lost": [3]}
    assert findings, str(findings)


def test_a_doubled_message_is_red() -> None:
    assert broken(check(SENT, [*SEEN, SEEN[5]._replace(offset=6)])) == {"doubled": [5]}


def test_a_message_behind_a_later_one_of_its_key_is_red() -> None:
    swapped = [*SEEN[:2], SEEN[4], SEEN[3], SEEN[2], SEEN[5]]
    assert broken(check(SENT, swapped)) == {"reordered": [2]}


def test_keys_are_independent_of_each_other() -> None:
    assert not check(SENT, [*SEEN[1::2], *SEEN[0::2]])


def test_a_record_that_was_said_to_be_not_written_is_red() -> None:
    assert broken(check(with_outcome(3, "not_written"), SEEN)) == {"written_after_all": [3]}


@pytest.mark.parametrize("there", [True, False])
def test_an_unknown_fate_allows_both(there: bool) -> None:
    assert not check(with_outcome(3, "unknown"), [r for r in SEEN if there or r.number != 3])


def test_a_message_without_an_outcome_is_red() -> None:
    assert broken(check(with_outcome(3, None), SEEN)) == {"unresolved": [3]}


@pytest.mark.parametrize("place", [{"offset": 7}, {"partition": 1}, {"partition": 1, "offset": -1}])
def test_a_delivery_that_tells_another_place_is_red(place: dict[str, int]) -> None:
    sent = [*SENT[:5], SENT[5]._replace(**place)]  # type: ignore[arg-type]
    assert broken(check(sent, SEEN)) == {"misplaced": [5]}


def test_an_offset_that_the_broker_did_not_tell_is_no_finding() -> None:
    assert not check([*SENT[:5], SENT[5]._replace(offset=-1)], SEEN)


def test_a_record_that_nobody_sent_is_red() -> None:
    assert broken(check(SENT, [*SEEN, Seen(9, b"k1", 0, 6)])) == {"strange": [9]}
