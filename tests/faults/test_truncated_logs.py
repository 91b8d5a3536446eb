"""Truncated logs (KIP-320): the consumer notices them by the epoch of its position, and reports where the logs part."""

from __future__ import annotations

import pytest

import ottla
from ottla import OffsetAndMetadata
from ottla.message import TopicPartition
from ottla.testing import Broker, advance_time
from tests.faults.reading import Reading, fill, numbered
from tests.fixtures.logged import Logged

TP = TopicPartition("t", 0)


def test_records_of_a_longer_log_are_not_skipped(logged: Logged) -> None:
    """The new leader has more records than were read, from the offset on at which the logs part."""
    with Broker() as broker, Reading(broker) as reading:
        fill(broker, "t", 15)
        reading.assign(TP)
        reading.read(15, TP)
        broker.truncate("t", 0, 10)
        fill(broker, "t", 20, text="new")
        reading.read(35, TP)
        assert reading.values[TP] == numbered(15) + numbered(20, "new")
        assert reading.offsets[TP] == [*range(15), *range(10, 30)]
        (event,) = reading.named("position.truncated")
        assert (event["offset"], event["position"]) == (10, 15)
        assert logged("position.truncated", topic="t", partition=0, offset=10, position=15)
        assert not reading.errors


def test_a_log_shorter_than_the_position_is_not_read_from_its_start(logged: Logged) -> None:
    with Broker() as broker, Reading(broker) as reading:
        fill(broker, "t", 15)
        reading.assign(TP)
        reading.read(15, TP)
        broker.truncate("t", 0, 10)
        reading.until(lambda: reading.named("position.truncated"))
        fill(broker, "t", 2, text="new")
        reading.read(17, TP)
        assert reading.offsets[TP] == [*range(15), 10, 11]
        assert not logged("position.reset")


def test_without_a_reset_policy_the_truncation_is_raised_with_its_offset() -> None:
    with Broker() as broker, Reading(broker, auto_offset_reset="none") as reading:
        fill(broker, "t", 15)
        reading.assign(TP)
        reading.consumer.seek(TP, 0)
        reading.read(15, TP)
        broker.truncate("t", 0, 10)
        fill(broker, "t", 20, text="new")
        reading.until(lambda: reading.errors)
        (error,) = reading.errors
        assert isinstance(error, ottla.LogTruncated)
        assert (error.topic, error.partition) == TP
        assert (error.offset, error.position) == (10, 15)
        reading.let_pass(2)
        assert (len(reading.errors), len(reading.offsets[TP])) == (1, 15), "raised once"
        reading.consumer.seek(TP, error.offset)
        reading.read(35, TP)
        assert reading.offsets[TP] == [*range(15), *range(10, 30)]


def test_fetched_records_that_nobody_has_read_are_replaced_without_an_error(
    logged: Logged,
) -> None:
    options = {"auto_offset_reset": "none", "max_poll_records": 1}
    with Broker() as broker, Reading(broker, **options) as reading:
        fill(broker, "t", 15)
        reading.assign(TP)
        reading.consumer.seek(TP, 0)
        reading.read(5, TP)
        broker.truncate("t", 0, 10)
        fill(broker, "t", 20, text="new")
        advance_time(2, lambda: logged("position.diverged"))
        assert logged("position.diverged", position=10, epoch=0, offset=10)
        reading.read(30, TP, seconds=60)  # a record per turn
        assert reading.values[TP] == numbered(10) + numbered(20, "new")
        assert reading.offsets[TP] == [*range(30)]
        assert not reading.errors
        assert not reading.named("position.truncated")


def test_a_committed_offset_is_checked_by_its_epoch() -> None:
    with Broker() as broker:
        fill(broker, "t", 15)
        with Reading(broker, group_id="g", enable_auto_commit=False) as first:
            first.consumer.subscribe(["t"])
            first.read(15, TP)
            first.consumer.commit()
        broker.truncate("t", 0, 10)
        fill(broker, "t", 20, text="new")
        with Reading(broker, group_id="g") as second:
            second.consumer.subscribe(["t"])
            second.read(20, TP)
            assert second.values[TP] == numbered(20, "new")
            (event,) = second.named("position.truncated")
            assert (event["offset"], event["position"]) == (10, 15)


def test_a_position_without_an_epoch_is_out_of_range_as_before(logged: Logged) -> None:
    with Broker() as broker, Reading(broker) as reading:
        fill(broker, "t", 3)
        reading.assign(TP)
        reading.consumer.seek(TP, 8)
        reading.read(3, TP)
        assert logged("position.reset", topic="t", partition=0, offset=0)
        reading.consumer.seek(TP, OffsetAndMetadata(8, 0))
        reading.until(lambda: reading.named("position.truncated"))
        assert reading.named("position.truncated")[0]["offset"] == 3


@pytest.mark.parametrize("elections", [1, 3])
def test_clean_elections_move_nothing(elections: int, logged: Logged) -> None:
    with Broker(2) as broker, Reading(broker) as reading:
        broker.create_topic("t")
        reading.assign(TP)
        for number in range(4):
            broker.append("t", f"v{number}")
            reading.read(number + 1, TP)
            for election in range(elections):
                broker.move_leader("t", 0, 1 + (number + election) % 2)
        broker.append("t", "v4")
        reading.read(5, TP)
        assert reading.values[TP] == numbered(5)
        assert not logged("position.truncated")
        assert not logged("position.reset")
