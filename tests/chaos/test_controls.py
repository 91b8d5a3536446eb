"""Negative controls on the real cluster: producers that promise less, under the same faults, turn the checker red."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.chaos.proxy import Rule
from tests.chaos.stage import Stage
from tests.chaos.trial import ProducerVerdict, Trial
from tests.chaos.workload import Load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SEED = 500
STRIKE_S = 2.0


def one_producer(cluster: Stage, rule: Rule, **options: Any) -> ProducerVerdict:
    load = Load("weak", "send", {"linger_ms": 0, "enable_idempotence": False, **options})

    def strike(stage: Stage, _rng: object) -> None:
        stage.proxy.add(rule)
        time.sleep(STRIKE_S)
        stage.proxy.remove(rule)

    with Trial(cluster, SEED, [load]) as trial:
        trial.strike_with({rule.action: strike})
        return trial.verdict().producers["weak"]


def test_without_idempotence_a_lost_answer_doubles_messages(whole_stage: Stage) -> None:
    verdict = one_producer(whole_stage, Rule("cut", "answer", chance=0.2), acks=1)
    assert verdict.findings.doubled
    assert not verdict.findings.lost


def test_without_acknowledgements_a_cut_request_loses_messages(whole_stage: Stage) -> None:
    verdict = one_producer(whole_stage, Rule("cut", "request", chance=0.2), acks=0)
    assert verdict.findings.lost
    assert not verdict.findings.doubled


def test_the_same_faults_do_no_harm_to_the_defaults(whole_stage: Stage) -> None:
    for rule in (Rule("cut", "answer", chance=0.2), Rule("cut", "request", chance=0.2)):
        verdict = one_producer(whole_stage, rule, acks="all", enable_idempotence=True)
        assert verdict, str(verdict)


def test_a_fault_that_does_not_end_is_a_stall(whole_stage: Stage) -> None:
    load = Load("stuck", "send", {"linger_ms": 0})
    with Trial(whole_stage, SEED, [load]) as trial:
        whole_stage.proxy.add(Rule("cut", "request"))
        trial.check_progress("a fault that goes on", time.monotonic())
        whole_stage.proxy.heal()
        verdict = trial.verdict()
    assert verdict.producers["stuck"]
    assert len(verdict.stalls) == 1
    assert not verdict
