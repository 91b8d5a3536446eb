"""Missing replicas, moving leaders, recreated topics: the reported outcomes and the records of the log."""

from __future__ import annotations

import random

import pytest

import ottla
from ottla import errors
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.produce import (
    LeaderIdAndEpoch,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from ottla.testing import Broker
from ottla.testing.broker.call import Call
from tests.faults.support import (
    LIFE_S,
    WAIT_S,
    code_of,
    outcome,
    outcomes,
    pass_time,
    producer,
    stored,
    values,
)


def test_too_few_replicas_before_the_append_is_not_written() -> None:
    with Broker(2) as broker:
        broker.create_topic("t", config={"min.insync.replicas": "2"})
        broker.kill(2)
        # No attempt is in flight when the time is up: that would make the outcome unknown.
        with producer(broker, retry_backoff_ms=50_000, retry_backoff_max_ms=50_000) as sending:
            refused = sending.send("t", b"refused")
            assert outcome(refused) == "not_written"
            assert "19" in str(refused.exception(0))
            broker.restart(2)
            assert outcome(sending.send("t", b"taken")) == "written"
        assert values(broker) == [b"taken"]


@pytest.mark.parametrize("times", [1, None])
def test_too_few_replicas_after_the_append(times: int | None) -> None:
    with Broker() as broker:
        broker.create_topic("t")
        code = ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        broker.fail_late("Produce", code, times=times)
        with producer(broker) as sending:
            delivery = sending.send("t", b"once")
            assert outcome(delivery) == ("written" if times else "unknown")
            broker.clear_rules()
            assert outcome(sending.send("t", b"after")) == "written"
        assert values(broker) == [b"once", b"after"]


@pytest.mark.parametrize("node_is_new", [True, False])
def test_a_leader_hint_needs_no_metadata(node_is_new: bool) -> None:
    """KIP-951: the answer names the leader and its address."""
    with Broker(2) as broker:
        broker.create_topic("t")
        broker.move_leader("t", 0, 1)
        if node_is_new:
            broker.kill(2)
        with producer(broker) as sending:
            assert outcome(sending.send("t", b"0")) == "written"
            broker.delay("Metadata", 3600, times=None)
            broker.restart(2)
            broker.move_leader("t", 0, 2)
            assert outcome(sending.send("t", b"1")) == "written"
            nodes = [seen.node for seen in broker.requests if seen.api == "Produce"]
            assert nodes[-2:] == [1, 2]
            broker.clear_rules()
        assert [(batch.epoch, batch.sequence) for batch in stored(broker)] == [(0, 0), (0, 1)]


def test_a_wrong_leader_hint_is_no_busy_loop() -> None:
    def name_myself(request: ProduceRequest, call: Call) -> ProduceResponse:
        refused = PartitionProduceResponse(
            index=0, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER, base_offset=-1
        )
        refused.current_leader = LeaderIdAndEpoch(leader_id=call.node, leader_epoch=0)
        topic = request.topic_data[0]
        return ProduceResponse(
            responses=[
                TopicProduceResponse(
                    name=topic.name, topic_id=topic.topic_id, partition_responses=[refused]
                )
            ]
        )

    with Broker() as broker:
        broker.create_topic("t")
        broker.answer("Produce", name_myself, times=None)
        with producer(broker) as sending:
            assert outcome(sending.send("t", b"")) == "unknown"
        # The longest backoff between two attempts is a second, less up to a fifth by chance.
        assert broker.count("Produce") <= LIFE_S * 1.25 + 10


# ---- topics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_recreated_topic_is_written_under_a_new_epoch(partitions: int) -> None:
    with Broker() as broker:
        broker.create_topic("t")
        with producer(broker) as sending:
            assert outcome(sending.send("t", b"old")) == "written"
            broker.delete_topic("t")
            broker.create_topic("t", partitions)
            later = [sending.send("t", b"%d" % number, partition=0) for number in range(3)]
            assert outcomes(later) == ["written"] * 3
        assert values(broker) == [b"0", b"1", b"2"]
        assert (stored(broker)[0].epoch, stored(broker)[0].sequence) == (1, 0)
        assert later[0].offset == 0


@pytest.mark.parametrize("idempotent", [True, False])
def test_possible_records_of_the_old_topic_are_not_sent_to_the_new_one(idempotent: bool) -> None:
    with Broker() as broker:
        broker.create_topic("t")
        with producer(broker, enable_idempotence=idempotent, batch_size=1) as sending:
            assert outcome(sending.send("t", b"before")) == "written"
            asked = broker.count("Produce")
            broker.spoil("Produce", lambda frame: b"")
            doubtful = sending.send("t", b"doubtful")
            broker.wait_for("Produce", asked + 1)
            broker.delete_topic("t")
            broker.create_topic("t")
            assert outcome(doubtful) == ("unknown" if idempotent else "written")
            assert outcome(sending.send("t", b"after")) == "written"
            if idempotent:
                assert code_of(doubtful) == ErrorCode.UNKNOWN_TOPIC_ID
        assert values(broker) == ([b"after"] if idempotent else [b"doubtful", b"after"])


def test_messages_of_a_deleted_topic_are_not_written() -> None:
    with Broker(auto_create_topics=False) as broker:
        broker.create_topic("t")
        with producer(broker) as sending:
            assert outcome(sending.send("t", b"old")) == "written"
            broker.delete_topic("t")
            assert outcome(sending.send("t", b"lost")) == "not_written"


def test_messages_without_a_key_avoid_partitions_without_a_leader() -> None:
    with Broker() as broker:
        broker.create_topic("t", 3)
        broker.move_leader("t", 1, None)
        with producer(
            broker, batch_size=1, partitioner_adaptive_partitioning_enable=False
        ) as sending:
            deliveries = [sending.send("t", b"%d" % number) for number in range(60)]
            assert outcomes(deliveries) == ["written"] * 60
            assert {delivery.partition for delivery in deliveries} == {0, 2}


def test_partitions_are_added_while_the_producer_sends() -> None:
    with Broker() as broker:
        broker.create_topic("t")
        with producer(broker) as sending:
            assert outcome(sending.send("t", b"0", partition=0)) == "written"
            with pytest.raises(errors.Error, match="partition 2 does not exist"):
                sending.send("t", b"", partition=2).result(WAIT_S)
            broker.add_partitions("t", 3)
            asked = broker.count("Metadata")
            pass_time(lambda: broker.count("Metadata") >= asked + 2, seconds=700)
            assert sending.send("t", b"2", partition=2).result(WAIT_S).partition == 2


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_batch_that_is_too_large_is_split_down_to_one_record(compression: str) -> None:
    with Broker() as broker:
        broker.create_topic("t", config={"max.message.bytes": "400"})
        with producer(broker, linger_ms=50, compression=compression) as sending:
            sent = [b"%02d" % number * 30 for number in range(16)]
            sent[5] = random.Random(5).randbytes(700)
            deliveries = [sending.send("t", value) for value in sent]
            sending.flush(WAIT_S)
            reported = outcomes(deliveries)
            assert reported == ["written"] * 5 + ["not_written"] + ["written"] * 10
            assert isinstance(deliveries[5].exception(0), ottla.MessageTooLarge)
        assert values(broker) == sent[:5] + sent[6:]


def test_only_the_named_records_fail() -> None:
    with Broker() as broker:
        broker.create_topic("t", config={"cleanup.policy": "compact"})
        with producer(broker, linger_ms=50) as sending:
            deliveries = [
                sending.send("t", b"%d" % number, key=None if number in (2, 3) else b"k")
                for number in range(6)
            ]
            sending.flush(WAIT_S)
            assert outcomes(deliveries) == ["written"] * 2 + ["not_written"] * 2 + ["written"] * 2
            assert code_of(deliveries[2]) == ErrorCode.INVALID_RECORD
            assert "without key" in str(deliveries[3].exception(0))
        assert values(broker) == [b"0", b"1", b"4", b"5"]


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize(
    "config", [{"max.message.bytes": "400"}, {"cleanup.policy": "compact"}], ids=["split", "named"]
)
def test_a_message_resent_in_another_batch_is_unchanged(
    config: dict[str, str], compression: str
) -> None:
    with Broker() as broker:
        broker.create_topic("t", config=config)
        with producer(broker, linger_ms=50, compression=compression) as sending:
            messages = [
                ottla.Message(
                    "t",
                    None if number == 9 else random.Random(number).randbytes(40),
                    key=None if number in (3, 4) else b"key %d" % number,
                    headers=[("number", b"%d" % number), ("none", None)],
                    timestamp_ms=1_000_000 - 7 * number,
                )
                for number in range(20)
            ]
            many = sending.send_many(messages)
            sending.flush(WAIT_S)
        failed = {index for index, _ in many.failed}
        assert failed == ({3, 4} if "cleanup.policy" in config else set())
        kept = [message for index, message in enumerate(messages) if index not in failed]
        found = broker.records("t")
        assert [
            (record.key, record.value, record.headers, record.timestamp) for record in found
        ] == [
            (message.key, message.value, tuple(message.headers or ()), message.timestamp_ms)
            for message in kept
        ]
        reported = [offset for index, offset in enumerate(many.offsets) if index not in failed]
        assert reported == [record.offset for record in found]
