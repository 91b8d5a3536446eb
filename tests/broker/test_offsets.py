"""ListOffsets and OffsetForLeaderEpoch, byte for byte."""

from __future__ import annotations

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from ottla.protocol.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from ottla.testing import Broker
from ottla.testing.plain_records import Record, encode_batch
from tests.broker.raw import Client, batch, produce

LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3


def list_offset(
    client: Client,
    topic: str,
    timestamp: int,
    *,
    version: int = 9,
    epoch: int = -1,
    partition: int = 0,
) -> ListOffsetsPartitionResponse:
    part = ListOffsetsPartition(
        partition_index=partition, timestamp=timestamp, current_leader_epoch=epoch
    )
    request = ListOffsetsRequest(
        replica_id=-1, topics=[ListOffsetsTopic(name=topic, partitions=[part])]
    )
    return client.ask(request, ListOffsetsResponse, version).topics[0].partitions[0]


@pytest.fixture
def timed(client: Client, topic: str) -> str:
    """Two batches with the times 1000, 1001, 1002 and 2000, 2001."""
    produce(client, topic, batch(b"a", b"b", b"c", timestamp=1000))
    produce(client, topic, batch(b"d", b"e", timestamp=2000))
    return topic


@pytest.mark.parametrize("version", range(1, 11))
def test_ends_of_the_log(client: Client, timed: str, version: int) -> None:
    first = list_offset(client, timed, EARLIEST, version=version)
    assert (first.error_code, first.offset, first.timestamp) == (0, 0, -1)
    last = list_offset(client, timed, LATEST, version=version)
    assert (last.error_code, last.offset, last.timestamp) == (0, 5, -1)
    assert last.leader_epoch == (0 if version >= 4 else -1)


@pytest.mark.parametrize(
    ("timestamp", "offset", "found"),
    [(0, 0, 1000), (1001, 1, 1001), (1003, 3, 2000), (2001, 4, 2001), (2002, -1, -1)],
)
def test_the_first_record_that_is_not_older(
    client: Client, timed: str, timestamp: int, offset: int, found: int
) -> None:
    answer = list_offset(client, timed, timestamp)
    assert (answer.error_code, answer.offset, answer.timestamp) == (0, offset, found)


def test_the_record_with_the_highest_time(client: Client, timed: str) -> None:
    answer = list_offset(client, timed, MAX_TIMESTAMP)
    assert (answer.offset, answer.timestamp) == (4, 2001)


def test_compressed_records_have_times_too(client: Client, topic: str) -> None:
    records = [Record(number, 1000 + number, None, b"a") for number in range(5)]
    produce(client, topic, encode_batch(records, codec="gzip"))
    assert list_offset(client, topic, 1003).offset == 3


def test_an_empty_log(client: Client, topic: str) -> None:
    offsets = [
        list_offset(client, topic, time).offset for time in (EARLIEST, LATEST, 5, MAX_TIMESTAMP)
    ]
    assert offsets == [0, 0, -1, -1]


def test_refused_requests_for_offsets(client: Client, topic: str) -> None:
    missing = list_offset(client, topic, LATEST, partition=9)
    assert (missing.error_code, missing.offset) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)
    assert list_offset(client, topic, LATEST, epoch=9).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


# ---- leader epochs --------------------------------------------------------------------------------------------------


def end_of(client: Client, epoch: int, current: int = -1, version: int = 4) -> EpochEndOffset:
    part = OffsetForLeaderPartition(partition=0, leader_epoch=epoch, current_leader_epoch=current)
    request = OffsetForLeaderEpochRequest(
        topics=[OffsetForLeaderTopic(topic="t", partitions=[part])]
    )
    return client.ask(request, OffsetForLeaderEpochResponse, version).topics[0].partitions[0]


@pytest.mark.parametrize("version", [2, 3, 4])
def test_where_epochs_end(version: int) -> None:
    with Broker() as broker, Client(broker.bootstrap) as client:
        broker.append("t", "a")
        broker.move_leader("t", 0, 1)
        broker.move_leader("t", 0, 1)
        broker.append("t", "b")
        broker.append("t", "c")
        ends = [end_of(client, epoch, version=version) for epoch in (0, 1, 2)]
        assert [(end.leader_epoch, end.end_offset) for end in ends] == [(0, 1), (0, 1), (2, 3)]
        broker.move_leader("t", 0, 1)
        assert end_of(client, 3).end_offset == 3, "the current epoch, still without a record"
        assert end_of(client, 0, current=2).error_code == ErrorCode.FENCED_LEADER_EPOCH
        assert end_of(client, 0, current=9).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
        assert list_offset(client, "t", LATEST, epoch=1).error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_epochs_of_a_truncated_log_are_gone() -> None:
    with Broker() as broker, Client(broker.bootstrap) as client:
        for _ in range(3):
            broker.append("t", "a")
        broker.move_leader("t", 0, 1)
        broker.append("t", "b")
        broker.truncate("t", 0, 2)
        ends = [end_of(client, epoch) for epoch in (0, 1, 2, 3)]
        assert [(end.leader_epoch, end.end_offset) for end in ends] == [
            (0, 2),
            (0, 2),
            (2, 2),
            (-1, -1),
        ]
        broker.append("t", "c")
        broker.delete_records("t", 0, 3)
        assert (end_of(client, 0).leader_epoch, end_of(client, 0).end_offset) == (0, 3)
        assert len(broker.records("t")) == 0
        with pytest.raises(ValueError, match="node 7 is not alive"):
            broker.truncate("t", 0, 0, node=7)
