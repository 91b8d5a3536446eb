"""Small pure parts: marks, liveness, reset policy, progress."""

from __future__ import annotations

from typing import Any

import pytest

from ottla import errors
from ottla.consumer.commits.fence import Ownership
from ottla.consumer.list_offsets import EARLIEST, LATEST
from ottla.consumer.liveness import Liveness
from ottla.consumer.marks import Marks
from ottla.consumer.progress import Positions, Progress
from ottla.consumer.reset import ResetPolicy
from ottla.message import OffsetAndMetadata, TopicPartition

A = TopicPartition("t", 0)
B = TopicPartition("t", 1)
OWNED = {A: Ownership(3, 1), B: Ownership(3, 2)}


def test_marks_advance_and_are_uncommitted_until_a_commit() -> None:
    marks = Marks([A])
    marks.advance(A, OffsetAndMetadata(5))
    marks.advance(A, OffsetAndMetadata(3))
    assert marks.uncommitted() == {A: OffsetAndMetadata(5)}
    marks.set_committed(marks.uncommitted())
    assert marks.uncommitted() == {}
    marks.rewind(A, OffsetAndMetadata(2))
    assert marks.uncommitted() == {A: OffsetAndMetadata(2)}


def test_marks_of_partitions_that_are_not_claimed_are_refused() -> None:
    marks = Marks([A])
    with pytest.raises(errors.Error, match="t-1"):
        marks.advance(B, OffsetAndMetadata(1))
    with pytest.raises(errors.Error, match="not claimed"):
        marks.rewind(B, OffsetAndMetadata(1))
    assert len(marks) == 0


def test_a_reader_with_the_same_token_for_the_limit_is_stuck() -> None:
    liveness = Liveness(10.0)
    assert not liveness.stuck({"a": 1, "b": None}, 0.0)
    assert not liveness.stuck({"a": 2, "b": None}, 9.0)
    assert not liveness.stuck({"a": 2, "b": None}, 18.0)
    assert liveness.stuck({"a": 2, "b": None}, 19.0)


def test_waiting_restarts_the_clock() -> None:
    liveness = Liveness(10.0)
    liveness.stuck({"a": 1}, 0.0)
    liveness.stuck({"a": None}, 5.0)
    assert not liveness.stuck({"a": 1}, 11.0)


def test_one_stuck_claim_among_moving_ones_is_found() -> None:
    liveness = Liveness(10.0)
    for second in range(10):
        assert not liveness.stuck({"a": second, "b": 0}, float(second))
    assert liveness.stuck({"a": 10, "b": 0}, 10.0)


def test_reset_policies() -> None:
    assert ResetPolicy.parse("earliest").time_ms(0) == EARLIEST
    assert ResetPolicy.parse("latest").time_ms(0) == LATEST
    assert ResetPolicy.parse("none").raises
    assert ResetPolicy.parse("by_duration:P1DT2H3M4.5S").time_ms(200_000.0) == int(
        (200_000 - 86400 - 7200 - 180 - 4.5) * 1000
    )
    assert ResetPolicy.parse("by_duration:PT1S").time_ms(0.0) == 0


@pytest.mark.parametrize(
    "text", ["", "oldest", "by_duration:", "by_duration:P", "by_duration:5s", "by_duration:PT"]
)
def test_reset_policy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(errors.ConfigError):
        ResetPolicy.parse(text)


class FakeFlow:
    def __init__(self) -> None:
        self.at: Positions = {}

    def positions(self) -> Positions:
        return dict(self.at)


class FakeRecords(list[Any]):
    """Offsets of one or more partitions, partition after partition."""

    def by_partition(self) -> dict[tuple[str, int], FakeRecords]:
        result: dict[tuple[str, int], FakeRecords] = {}
        for record in self:
            result.setdefault((record.topic, record.partition), FakeRecords()).append(record)
        return result

    def next_offsets(self) -> Positions:
        return {(r.topic, r.partition): (r.offset + 1, r.leader_epoch) for r in self}


class FakeRecord:
    leader_epoch = 3

    def __init__(self, tp: TopicPartition, offset: int) -> None:
        self.topic, self.partition = tp
        self.offset = offset


def test_the_current_record_is_handed_over_and_not_finished() -> None:
    flow = FakeFlow()
    current: list[tuple[str, int, int] | None] = [None]
    progress = Progress(flow, lambda: current[0], lambda: OWNED)
    flow.at = {A: (10, 3), B: (20, 3)}
    progress.before_take()
    chunk = FakeRecords(
        [FakeRecord(A, 10), FakeRecord(A, 11), FakeRecord(B, 20), FakeRecord(B, 21)]
    )
    flow.at = {A: (12, 3), B: (22, 3)}
    assert progress.finished_offsets() == {A: OffsetAndMetadata(10, 3), B: OffsetAndMetadata(20, 3)}
    progress.start_chunk(chunk)  # type: ignore[arg-type]
    assert progress.handed_offsets() == {A: OffsetAndMetadata(10, 3), B: OffsetAndMetadata(20, 3)}
    current[0] = ("t", 0, 11)
    assert progress.finished_offsets()[A] == OffsetAndMetadata(11, -1)
    assert progress.handed_offsets()[A] == OffsetAndMetadata(12, 3)
    current[0] = ("t", 1, 20)
    assert progress.finished_offsets() == {
        A: OffsetAndMetadata(12, 3),
        B: OffsetAndMetadata(20, -1),
    }
    assert progress.handed_offsets() == {A: OffsetAndMetadata(12, 3), B: OffsetAndMetadata(21, 3)}
    progress.before_take()
    assert progress.finished_offsets() == {A: OffsetAndMetadata(12, 3), B: OffsetAndMetadata(22, 3)}


def test_polled_records_are_handed_at_once_and_finished_with_the_next_poll() -> None:
    flow = FakeFlow()
    progress = Progress(flow, lambda: None, lambda: OWNED)
    flow.at = {A: (10, 3)}
    progress.before_take()
    flow.at = {A: (15, 3)}
    assert progress.finished_offsets() == {A: OffsetAndMetadata(10, 3)}
    assert progress.handed_offsets() == {A: OffsetAndMetadata(15, 3)}
    progress.before_take()
    assert progress.finished_offsets() == {A: OffsetAndMetadata(15, 3)}


def test_seek_moves_the_finished_offset() -> None:
    flow = FakeFlow()
    progress = Progress(flow, lambda: None, lambda: OWNED)
    flow.at = {A: (10, 3)}
    progress.before_take()
    progress.set_position(A, 4, -1)
    assert progress.finished_offsets() == {A: OffsetAndMetadata(4, -1)}


def test_seek_within_an_iteration_counts_for_the_rest_of_the_chunk() -> None:
    flow = FakeFlow()
    current: list[tuple[str, int, int] | None] = [None]
    progress = Progress(flow, lambda: current[0], lambda: OWNED)
    flow.at = {A: (10, 3), B: (20, 3)}
    progress.before_take()
    flow.at = {A: (12, 3), B: (22, 3)}
    records = [FakeRecord(A, 10), FakeRecord(A, 11), FakeRecord(B, 20), FakeRecord(B, 21)]
    progress.start_chunk(FakeRecords(records))  # type: ignore[arg-type]
    current[0] = ("t", 0, 10)
    progress.set_position(A, 4, -1)
    assert progress.handed_offsets() == {A: OffsetAndMetadata(4, -1), B: OffsetAndMetadata(20, 3)}
    current[0] = ("t", 1, 20)
    assert progress.finished_offsets() == {
        A: OffsetAndMetadata(4, -1),
        B: OffsetAndMetadata(20, -1),
    }
    assert progress.handed_offsets() == {A: OffsetAndMetadata(4, -1), B: OffsetAndMetadata(21, 3)}
    flow.at = {A: (4, -1), B: (22, 3)}
    progress.before_take()
    assert progress.finished_offsets() == {A: OffsetAndMetadata(4, -1), B: OffsetAndMetadata(22, 3)}


def test_unread_are_the_records_after_the_current_one() -> None:
    flow = FakeFlow()
    current: list[tuple[str, int, int] | None] = [None]
    progress = Progress(flow, lambda: current[0], lambda: OWNED)
    flow.at = {A: (10, 3), B: (20, 2)}
    progress.before_take()
    flow.at = {A: (12, 3), B: (22, 3)}
    records = [FakeRecord(A, 10), FakeRecord(A, 11), FakeRecord(B, 20), FakeRecord(B, 21)]
    progress.start_chunk(FakeRecords(records))  # type: ignore[arg-type]
    current[0] = ("t", 0, 10)
    assert progress.unread() == {A: (11, 3), B: (20, 2)}
    current[0] = ("t", 1, 20)
    assert progress.unread() == {B: (21, 3)}
    current[0] = ("t", 1, 21)
    assert progress.unread() == {}
    progress.start_chunk(FakeRecords(records))  # type: ignore[arg-type]
    current[0] = None
    assert progress.unread() == {A: (10, 3), B: (20, 2)}, "no record of it was handed over"


@pytest.mark.parametrize(("with_current", "finished"), [(True, 11), (False, 10)])
def test_no_record_after_the_current_one_is_committed_after_the_end(
    with_current: bool, finished: int
) -> None:
    flow = FakeFlow()
    current: list[tuple[str, int, int] | None] = [None]
    progress = Progress(flow, lambda: current[0], lambda: OWNED)
    flow.at = {A: (10, 3), B: (20, 3)}
    progress.before_take()
    flow.at = {A: (12, 3), B: (22, 3)}
    records = [FakeRecord(A, 10), FakeRecord(A, 11), FakeRecord(B, 20), FakeRecord(B, 21)]
    progress.start_chunk(FakeRecords(records))  # type: ignore[arg-type]
    current[0] = ("t", 0, 10)
    progress.stop(finished=with_current)
    offsets = {tp: place.offset for tp, place in progress.finished_offsets().items()}
    assert offsets == {A: finished, B: 20}
    assert progress.handed_offsets() == progress.finished_offsets()
    progress.before_take()
    assert progress.finished_offsets() == {A: OffsetAndMetadata(12, 3), B: OffsetAndMetadata(22, 3)}
