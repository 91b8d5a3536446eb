"""The state of producers in the broker, and rules for their requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.produce import ProduceResponse
from ottla.testing import Broker
from ottla.testing.plain_records import Record, encode_batch
from tests.broker.raw import Client, batch, produce, produce_request

ID = {"producer_id": 7000, "producer_epoch": 0}
OUT_OF_ORDER = (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)


def test_a_producer_that_is_not_known_begins_anywhere(client: Client, topic: str) -> None:
    assert produce(client, topic, batch(b"a", base_sequence=57, **ID)) == (0, 0)
    assert produce(client, topic, batch(b"b", base_sequence=59, **ID)) == OUT_OF_ORDER
    assert produce(client, topic, batch(b"b", base_sequence=58, **ID)) == (0, 1)


def test_a_part_of_a_repeated_batch_is_no_repeat(client: Client, topic: str) -> None:
    assert produce(client, topic, batch(b"a", b"b", base_sequence=0, **ID)) == (0, 0)
    assert produce(client, topic, batch(b"a", base_sequence=0, **ID)) == OUT_OF_ORDER
    assert produce(client, topic, batch(b"a", b"b", b"c", base_sequence=0, **ID)) == OUT_OF_ORDER


def test_the_epoch_is_checked_before_repeats(client: Client, topic: str) -> None:
    first = batch(b"a", base_sequence=0, **ID)
    assert produce(client, topic, first) == (0, 0)
    later = batch(b"b", base_sequence=0, producer_id=7000, producer_epoch=1)
    assert produce(client, topic, later) == (0, 1)
    assert produce(client, topic, first) == (ErrorCode.INVALID_PRODUCER_EPOCH, -1)
    assert produce(client, topic, later) == (0, 1)


def test_faulty_records_are_found_before_sequences(
    client: Client, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(**{"max.message.bytes": "300"})
    gap = batch(b"x" * 400, base_sequence=9, **ID)
    assert produce(client, topic, batch(b"a", base_sequence=0, **ID)) == (0, 0)
    assert produce(client, topic, gap) == (ErrorCode.MESSAGE_TOO_LARGE, -1)


def test_more_in_sync_replicas_than_there_are(
    client: Client, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(**{"min.insync.replicas": "2"})
    assert produce(client, topic, batch(b"a", base_sequence=0, **ID)) == (0, 0)


def test_too_few_replicas() -> None:
    with Broker(2) as broker:
        broker.create_topic("t", config={"min.insync.replicas": "2"})
        broker.move_leader("t", 0, 1)
        broker.kill(2)
        with Client(broker.bootstrap) as client:
            refused = (ErrorCode.NOT_ENOUGH_REPLICAS, -1)
            assert produce(client, "t", batch(b"a", base_sequence=0, **ID)) == refused
            request = produce_request("t", batch(b"b", base_sequence=7, **ID), acks=1)
            part = client.ask(request, ProduceResponse, 9).responses[0].partition_responses[0]
            assert (part.error_code, part.base_offset) == (0, 0), "nothing is known of the first"


def test_a_compacted_topic_names_records_without_a_key(
    client: Client, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(**{"cleanup.policy": "compact"})
    records = [Record(index, 1_000, None if index == 1 else b"k", b"v", ()) for index in range(3)]
    request = produce_request(topic, encode_batch(records))
    part = client.ask(request, ProduceResponse, 9).responses[0].partition_responses[0]
    assert part.error_code == ErrorCode.INVALID_RECORD
    ((index, text),) = [
        (error.batch_index, error.batch_index_error_message) for error in part.record_errors
    ]
    assert index == 1
    assert text is not None
    assert text.startswith("Compacted topic cannot accept message without key")


def test_a_forgotten_producer_begins_anywhere(broker: Broker) -> None:
    broker.create_topic("t")
    with Client(broker.bootstrap) as client:
        assert produce(client, "t", batch(b"a", base_sequence=0, **ID)) == (0, 0)
        assert produce(client, "t", batch(b"b", base_sequence=5, **ID)) == OUT_OF_ORDER
        broker.forget_producer("t", producer_id=1)
        assert produce(client, "t", batch(b"b", base_sequence=5, **ID)) == OUT_OF_ORDER
        broker.forget_producer("t")
        assert produce(client, "t", batch(b"b", base_sequence=5, **ID)) == (0, 1)


def test_a_late_failure_is_appended(broker: Broker) -> None:
    broker.create_topic("t")
    code = ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
    broker.fail_late("Produce", code)
    with Client(broker.bootstrap) as client:
        assert produce(client, "t", batch(b"a")) == (code, -1)
        assert broker.end_offset("t") == 1
        assert produce(client, "t", batch(b"b")) == (0, 1)


@pytest.mark.parametrize("close", [False, True])
def test_a_spoiled_answer(broker: Broker, close: bool) -> None:
    broker.create_topic("t")
    broker.spoil("Produce", lambda frame: frame[:6], close=close)
    with Client(broker.bootstrap) as client:
        client.send(produce_request("t", batch(b"a")), 9)
        assert len(client._exactly(6)) == 6
        assert client.is_closed() if close else client.is_silent()
    assert broker.end_offset("t") == 1


def test_partitions_are_added(broker: Broker) -> None:
    broker.create_topic("t")
    broker.add_partitions("t", 3)
    broker.add_partitions("t", 2)
    assert broker.append("t", "v", partition=2) == 0
