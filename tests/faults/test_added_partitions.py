"""Partitions that are added to a topic, and topics that are created, after the subscription: nothing written to them is lost."""

from __future__ import annotations

import re

import pytest

from ottla.message import TopicPartition
from ottla.testing import Broker
from tests.faults.reading import Reading, fill, numbered

OLD, ADDED = TopicPartition("t", 0), TopicPartition("t", 1)


def options(**more: object) -> dict[str, object]:
    return {"group_id": "g", "auto_offset_reset": "latest", "metadata_max_age_ms": 1000, **more}


@pytest.mark.parametrize("by_pattern", [False, True])
def test_an_added_partition_starts_at_its_beginning(by_pattern: bool) -> None:
    with Broker() as broker, Reading(broker, **options()) as reading:
        broker.create_topic("t", partitions=1)
        fill(broker, "t", 5, text="before")
        reading.consumer.subscribe(pattern=re.compile("t")) if by_pattern else (
            reading.consumer.subscribe(["t"])
        )
        reading.until(lambda: reading.consumer.assignment() == {OLD})
        reading.consumer.positions(OLD)
        broker.add_partitions("t", 2)
        fill(broker, "t", 20, partition=1)
        fill(broker, "t", 1, text="after")
        reading.read(20, ADDED, seconds=10)
        reading.read(1, OLD)
        assert reading.values == {ADDED: numbered(20), OLD: ["after0"]}


@pytest.mark.parametrize("by_pattern", [False, True])
def test_a_topic_that_is_created_later_starts_at_its_beginning(by_pattern: bool) -> None:
    with Broker(auto_create_topics=False) as broker, Reading(broker, **options()) as reading:
        if by_pattern:
            reading.consumer.subscribe(pattern=re.compile("t"))
        else:
            reading.consumer.subscribe(["t"])
        reading.let_pass(3)
        broker.create_topic("t", partitions=1)
        fill(broker, "t", 20)
        reading.read(20, OLD, seconds=10)


def test_a_topic_that_existed_starts_at_its_end() -> None:
    with Broker() as broker, Reading(broker, **options()) as reading:
        fill(broker, "t", 5)
        reading.consumer.subscribe(["t"])
        reading.until(lambda: reading.consumer.assignment() == {OLD})
        assert reading.consumer.positions(OLD) == {OLD: 5}


def test_javas_way_is_an_option() -> None:
    more = options(added_partitions="auto_offset_reset")
    with Broker() as broker, Reading(broker, **more) as reading:
        broker.create_topic("t", partitions=1)
        reading.consumer.subscribe(["t"])
        reading.until(lambda: reading.consumer.assignment() == {OLD})
        broker.add_partitions("t", 2)
        fill(broker, "t", 20, partition=1)
        reading.until(lambda: reading.consumer.assignment() == {OLD, ADDED}, 10)
        assert reading.consumer.positions(ADDED) == {ADDED: 20}
