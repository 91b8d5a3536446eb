"""Every kind of fault once, with producers of every kind: every promise is kept, and they write again when the fault has ended.

The soak (`make soak`) mixes them for as long as one wants; a fault that breaks something here or there is repeated by its
seed, see README.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chaos.faults import FAULTS, garbled_anywhere
from tests.chaos.stage import Stage
from tests.chaos.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SEED = 400


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_breaks_no_promise(whole_stage: Stage, fault: str) -> None:
    strike_once(whole_stage, [fault])


@pytest.mark.parametrize(
    "faults",
    [
        ["killed", "answer_lost"],
        ["leaders_moved", "cut_before_request"],
        ["frozen", "all_swallowed"],
        ["rolled", "late_answers"],
    ],
    ids="+".join,
)
def test_faults_at_once_break_no_promise(whole_stage: Stage, faults: Sequence[str]) -> None:
    strike_once(whole_stage, faults)


def strike_once(cluster: Stage, faults: Sequence[str]) -> None:
    with Trial(cluster, SEED) as trial:
        trial.strike(faults)
        verdict = trial.verdict()
    print(verdict)
    assert verdict, str(verdict)
    assert all(each.outcomes["written"] for each in verdict.producers.values()), str(verdict)


def test_the_fault_that_moves_leaders_moves_them(whole_stage: Stage) -> None:
    whole_stage.new_topic("moved")
    seen = set()
    for by in range(3):
        whole_stage.move_leaders(by)
        whole_stage.heal()
        known = whole_stage.describe(1)
        assert known is not None
        seen.add(tuple(partition.leader_id for partition in known.partitions))
    assert len(seen) == 3


def test_answers_that_are_garbled_anywhere_leave_no_message_without_an_outcome(
    whole_stage: Stage,
) -> None:
    """A garbled answer may be a valid one with another meaning, so the outcome may be wrong. It comes in time."""
    with Trial(whole_stage, SEED) as trial:
        trial.strike_with({"garbled_anywhere": garbled_anywhere})
        verdict = trial.verdict()
    print(verdict)
    assert verdict.proxied["garble_body answer"] > 0
    assert not verdict.stalls
    for each in verdict.producers.values():
        found = each.findings
        broken = [*found.unresolved, *found.late, *found.repeated, *found.strange]
        assert not broken, str(verdict)
        assert not each.miscounted
