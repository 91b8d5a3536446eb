"""The ledger of the fault tests: its counts, and its allowance for a starved machine."""

from __future__ import annotations

import time
from array import array

from ottla.errors import BufferFull
from tests.chaos.ledger import Ledger, StarvationWatch


class Delivered:
    """The attributes of a delivery that the ledger reads."""

    def __init__(
        self, outcome: str, offset: int | None = None, error: Exception | None = None
    ) -> None:
        self.outcome, self.partition, self.offset, self.error = outcome, 0, offset, error


def test_every_outcome_is_stored_with_its_number() -> None:
    ledger = Ledger("one")
    for _ in range(4):
        ledger.accepted(ledger.open())
    ledger.record(2, Delivered("written", 17))  # type: ignore[arg-type]
    ledger.record(0, Delivered("unknown", error=TimeoutError()))  # type: ignore[arg-type]
    ledger.refused(1, BufferFull("full"))
    assert ledger.pending == 1
    assert [(each.outcome, each.reports) for each in ledger.sent()] == [
        ("unknown", 1),
        ("refused", 1),
        ("written", 1),
        (None, 0),
    ]
    assert ledger.counts() == {"unknown": 1, "refused": 1, "written": 1, "None": 1}
    assert ledger.reasons == {"unknown: TimeoutError": 1, "refused: BufferFull": 1}


def test_a_second_outcome_is_counted_and_changes_nothing() -> None:
    ledger = Ledger("one")
    ledger.open()
    ledger.record(0, Delivered("written", 3))  # type: ignore[arg-type]
    ledger.record(0, Delivered("unknown", error=TimeoutError()))  # type: ignore[arg-type]
    (message,) = ledger.sent()
    assert (message.outcome, message.offset, message.reports, ledger.pending) == (
        "written",
        3,
        2,
        0,
    )


def test_only_messages_after_the_mark_are_progress() -> None:
    ledger = Ledger("one")
    before = ledger.open()
    ledger.mark()
    ledger.record(before, Delivered("written", 0))  # type: ignore[arg-type]
    assert ledger.first_written == {}
    ledger.record(ledger.open(), Delivered("written", 1))  # type: ignore[arg-type]
    assert list(ledger.first_written) == [0]


def test_the_margin_is_the_oversleeping_in_that_time_and_a_constant() -> None:
    watch = StarvationWatch()
    watch._at, watch._late = array("d", [10.0, 20.0, 30.0]), array("d", [0.5, 2.0, 1.0])
    assert watch.margin(11.0, 12.0) == watch.FIXED_S
    assert watch.margin(9.0, 12.0) == watch.FIXED_S + 0.5
    assert watch.margin(15.0, 40.0) == watch.FIXED_S + 2.0
    assert watch.worst == 2.0


def test_the_watch_of_a_running_process_allows_only_the_constant() -> None:
    start = time.monotonic()
    with StarvationWatch() as watch:
        pass
    assert watch.margin(start, time.monotonic()) >= watch.FIXED_S
