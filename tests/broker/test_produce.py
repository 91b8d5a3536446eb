"""Produce, byte for byte: stored batches, refused batches and their codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.fetch import FetchResponse
from ottla.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from ottla.protocol.messages.produce import ProduceResponse
from ottla.testing import Broker
from ottla.testing.plain_records import Record, decode_batch, read_header
from tests.broker.raw import Client, batch, fetch_request, produce, produce_request

ID = {"producer_id": 7000, "producer_epoch": 0}


def topic_id(client: Client, topic: str) -> bytes:
    request = MetadataRequest(topics=[MetadataRequestTopic(name=topic)])
    return client.ask(request, MetadataResponse, 12).topics[0].topic_id


@pytest.mark.parametrize("version", range(3, 13))
def test_batches_get_the_next_offsets(client: Client, topic: str, version: int) -> None:
    assert produce(client, topic, batch(b"a", b"b"), version=version) == (0, 0)
    assert produce(client, topic, batch(b"c"), version=version) == (0, 2)


def test_version_13_names_topics_by_id(client: Client, topic: str) -> None:
    request = produce_request(topic, batch(b"a"))
    request.topic_data[0].topic_id = topic_id(client, topic)
    answer = client.ask(request, ProduceResponse, 13).responses[0]
    assert answer.topic_id == request.topic_data[0].topic_id
    assert (
        answer.partition_responses[0].error_code,
        answer.partition_responses[0].base_offset,
    ) == (0, 0)
    request.topic_data[0].topic_id = bytes(15) + b"\x99"
    answer = client.ask(request, ProduceResponse, 13).responses[0]
    assert answer.partition_responses[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_the_log_has_the_sent_batch(client: Client, topic: str) -> None:
    sent = batch(b"a", b"b", timestamp=5_000)
    produce(client, topic, sent)
    produce(client, topic, sent)
    answer = client.ask(fetch_request(topic, 2), FetchResponse, 11)
    stored = bytes(answer.responses[0].partitions[0].records or b"")
    assert read_header(stored).base_offset == 2
    assert stored[16:] == sent[16:], "only base offset and leader epoch are set"


def test_a_partition_that_is_not_there(client: Client, topic: str) -> None:
    missing = int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert produce(client, topic, batch(b"a"), partition=9) == (missing, -1)
    assert produce(client, f"{topic}-missing", batch(b"a")) == (missing, -1)


def broken(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize(
    "records",
    [broken(batch(b"a" * 50), 70), broken(batch(b"a" * 5000), 4000)],
    ids=["short", "long"],
)
def test_a_broken_batch(client: Client, topic: str, records: bytes) -> None:
    assert produce(client, topic, records) == (ErrorCode.CORRUPT_MESSAGE, -1)
    assert produce(client, topic, batch(b"good")) == (0, 0)


def test_a_batch_that_is_too_large(client: Client, make_topic: Callable[..., str]) -> None:
    topic = make_topic(**{"max.message.bytes": "200"})
    assert produce(client, topic, batch(b"a" * 300)) == (ErrorCode.MESSAGE_TOO_LARGE, -1)
    assert produce(client, topic, batch(b"a" * 30)) == (0, 0)


def test_strange_acks(client: Client, topic: str) -> None:
    request = produce_request(topic, batch(b"a"), acks=2)
    part = client.ask(request, ProduceResponse, 9).responses[0].partition_responses[0]
    assert part.error_code == ErrorCode.INVALID_REQUIRED_ACKS


def test_acks_0_gets_no_answer(client: Client, topic: str) -> None:
    client.send(produce_request(topic, batch(b"a"), acks=0), 9)
    assert produce(client, topic, batch(b"b")) == (0, 1), (
        "the first answer is to the second request"
    )


def test_an_error_with_acks_0_closes_the_connection(client: Client, topic: str) -> None:
    client.send(produce_request(f"{topic}-missing", batch(b"a"), acks=0), 9)
    assert client.is_closed()


def test_a_repeated_batch_is_answered_with_its_offset(client: Client, topic: str) -> None:
    for sequence in range(0, 12, 2):
        assert produce(client, topic, batch(b"a", b"b", base_sequence=sequence, **ID)) == (
            0,
            sequence,
        )
    for sequence in range(2, 12, 2):
        assert produce(client, topic, batch(b"a", b"b", base_sequence=sequence, **ID)) == (
            0,
            sequence,
        )
    # Only the last five batches are remembered.
    error, _ = produce(client, topic, batch(b"a", b"b", base_sequence=0, **ID))
    assert error == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(client, topic, batch(b"c", base_sequence=12, **ID)) == (0, 12)


def test_a_gap_in_the_sequences(client: Client, topic: str) -> None:
    assert produce(client, topic, batch(b"a", base_sequence=0, **ID)) == (0, 0)
    error, _ = produce(client, topic, batch(b"c", base_sequence=2, **ID))
    assert error == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(client, topic, batch(b"b", base_sequence=1, **ID)) == (0, 1)


def test_epochs_of_a_producer(client: Client, topic: str) -> None:
    later = {"producer_id": 7000, "producer_epoch": 1}
    assert produce(client, topic, batch(b"a", base_sequence=0, **ID)) == (0, 0)
    error, _ = produce(client, topic, batch(b"b", base_sequence=1, **later))
    assert error == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, "a new epoch begins at 0"
    assert produce(client, topic, batch(b"b", base_sequence=0, **later)) == (0, 1)
    error, _ = produce(client, topic, batch(b"c", base_sequence=1, **ID))
    assert error == ErrorCode.INVALID_PRODUCER_EPOCH


def test_sequences_start_again_after_the_largest(client: Client, topic: str) -> None:
    last = 2**31 - 1
    assert produce(client, topic, batch(b"a", base_sequence=last - 1, **ID)) == (0, 0)
    assert produce(client, topic, batch(b"b", b"c", base_sequence=last, **ID)) == (0, 1)
    assert produce(client, topic, batch(b"d", base_sequence=1, **ID)) == (0, 3)


def test_log_append_time(client: Client, make_topic: Callable[..., str]) -> None:
    topic = make_topic(**{"message.timestamp.type": "LogAppendTime"})
    request = produce_request(topic, batch(b"a", b"b", timestamp=5_000))
    part = client.ask(request, ProduceResponse, 9).responses[0].partition_responses[0]
    assert part.log_append_time_ms > 1_700_000_000_000
    answer = client.ask(fetch_request(topic), FetchResponse, 11)
    stored = bytes(answer.responses[0].partitions[0].records or b"")
    assert {record.timestamp for record in decode_batch(stored)} == {part.log_append_time_ms}


def test_producer_time_is_the_default(client: Client, topic: str) -> None:
    request = produce_request(topic, batch(b"a"))
    part = client.ask(request, ProduceResponse, 9).responses[0].partition_responses[0]
    assert (part.log_append_time_ms, part.log_start_offset) == (-1, 0)


def test_a_node_that_does_not_lead_names_the_leader() -> None:
    with Broker(2) as broker:
        broker.create_topic("t")
        broker.move_leader("t", 0, 2)
        with Client(broker.bootstrap) as client:
            for version in (9, 10):
                answer = client.ask(produce_request("t", batch(b"a")), ProduceResponse, version)
                part = answer.responses[0].partition_responses[0]
                assert part.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert (part.current_leader.leader_id, part.current_leader.leader_epoch) == (2, 2 - 1)
        (node,) = answer.node_endpoints
        assert f"{node.host}:{node.port}" == broker.bootstrap.split(",")[1]


def test_no_crc_check_where_none_is_wanted() -> None:
    with Broker(validate_crc=False) as broker, Client(broker.bootstrap) as client:
        broker.create_topic("t")
        assert produce(client, "t", broken(batch(b"a" * 50), 80)) == (0, 0)


def test_append_is_a_small_producer(broker: Broker) -> None:
    assert broker.append("t", "first", "key", [("h", b"1")], timestamp_ms=5) == 0
    assert broker.append("t", None) == 1
    first, second = broker.records("t")
    assert first == Record(0, 5, b"key", b"first", (("h", b"1"),))
    assert (second.offset, second.key, second.value) == (1, None, None)
    with pytest.raises(ValueError, match="legal"):
        broker.append("no spaces", "a")
    with pytest.raises(KeyError):
        broker.append("t", "a", partition=1)
    with pytest.raises(ValueError, match="MESSAGE_TOO_LARGE"):
        broker.append("t", b"x" * 2_000_000)


@pytest.mark.parametrize(
    "records",
    [batch(b"a") * 2, b"", batch(b"a" * 50)[:-1], batch(b"a")[:16] + b"\x01" + batch(b"a")[17:]],
    ids=["two", "none", "cut", "old magic"],
)
def test_a_partition_gets_exactly_one_batch(client: Client, topic: str, records: bytes) -> None:
    assert produce(client, topic, records) == (ErrorCode.INVALID_RECORD, -1)


def test_an_unknown_magic(client: Client, topic: str) -> None:
    assert produce(client, topic, broken(batch(b"a"), 16)) == (ErrorCode.CORRUPT_MESSAGE, -1)
