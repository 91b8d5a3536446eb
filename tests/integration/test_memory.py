"""`buffer_memory` is a limit: a producer of a silent broker grows by its budget and a constant, for every kind of message."""

from __future__ import annotations

import dataclasses

import pytest

import ottla
from bench.memory import MIB, SCENARIOS, Scenario, run, summary

BUDGET_MIB = 8
OVERHEAD_MIB = 20
"""Memory of a compressor, of Python for thousands of held batches, and of the allocator."""

FRAGMENTED_MIB = 12
"""Free memory of the allocator between thousands of small buffers that two threads allocate and free."""

HARD = (
    "100 B lz4",
    "1000 partitions, linger 0",
    "metadata not known, 10 B",
    "outcomes read, 10 B",
)
"""Scenarios that would use far more memory than the bytes of their messages, if only those were counted."""


@pytest.mark.parametrize(
    "scenario", [one for one in SCENARIOS if one.name in HARD], ids=lambda scenario: scenario.name
)
def test_growth_stays_within_the_budget(scenario: Scenario) -> None:
    result = run(dataclasses.replace(scenario, buffer_bytes=BUDGET_MIB * MIB, silent_s=0.5))
    grown = summary(result)
    assert result["full"] > 0, "the budget was filled"
    assert grown["silent"] < BUDGET_MIB + FRAGMENTED_MIB, grown
    assert grown["peak"] < BUDGET_MIB + OVERHEAD_MIB, grown
    most = max(used for _, _, used in result["samples"])
    assert BUDGET_MIB * 0.7 < most <= BUDGET_MIB, "never more than the budget is counted"
    assert result["delivered"] == result["accepted"]


def test_unread_failures_stop_the_senders() -> None:
    with ottla.Producer(
        "127.0.0.1:1",
        return_errors=True,
        buffer_memory=MIB,
        request_timeout_ms=300,
        delivery_timeout_ms=305,
        max_block_ms=900,
    ) as producer:
        accepted = 0
        while accepted < 1_000:
            try:
                producer.send("t", bytes(10_000))
            except ottla.BufferFull:
                break
            accepted += 1
        assert 50 < accepted < 105, "they expired meanwhile, and wait to be read"
        errors = iter(producer.errors())
        for _ in range(accepted):
            assert next(errors).outcome == "not_written"
        producer.send("t", bytes(10_000))
        producer.close(0)
