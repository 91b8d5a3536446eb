"""Metadata, CreateTopics and DeleteTopics, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from ottla.protocol.messages.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from ottla.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseTopic,
)
from ottla.testing import Broker
from tests.broker.raw import Client, batch, produce

NO_ID = bytes(16)


def metadata(
    client: Client, *names: str, create: bool = False, version: int = 12
) -> MetadataResponse:
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name=name) for name in names],
        allow_auto_topic_creation=create,
    )
    return client.ask(request, MetadataResponse, version)


def describe(client: Client, name: str, **options: bool) -> MetadataResponseTopic:
    return metadata(client, name, **options).topics[0]


def create(
    client: Client, *topics: CreatableTopic, version: int = 7, validate_only: bool = False
) -> list[CreatableTopicResult]:
    request = CreateTopicsRequest(topics=topics, timeout_ms=1000, validate_only=validate_only)
    return client.ask(request, CreateTopicsResponse, version).topics


def wanted(
    name: str, partitions: int = 1, replicas: int = 1, config: tuple[str, str] | None = None
) -> CreatableTopic:
    configs = [CreatableTopicConfig(name=config[0], value=config[1])] if config else []
    return CreatableTopic(
        name=name, num_partitions=partitions, replication_factor=replicas, configs=configs
    )


# ---- Metadata -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(14))
def test_metadata_in_every_version(
    client: Client, bootstrap: str, topic: str, version: int
) -> None:
    answer = metadata(client, topic, create=version < 4, version=version)
    (node,) = answer.brokers
    assert f"{node.host}:{node.port}" == bootstrap
    found = answer.topics[0]
    assert (found.error_code, found.name) == (0, topic)
    (partition,) = found.partitions
    assert (partition.leader_id, partition.replica_nodes) == (node.node_id, [node.node_id])
    if version >= 10:
        assert found.topic_id != NO_ID
    if version >= 2:
        assert answer.cluster_id


def test_all_topics_or_none(client: Client, make_topic: Callable[..., str]) -> None:
    names = {make_topic(), make_topic()}
    every: list[MetadataRequestTopic] | None
    for version in (0, 1, 12):
        every = [] if version == 0 else None
        answer = client.ask(MetadataRequest(topics=every), MetadataResponse, version)
        assert names <= {topic.name for topic in answer.topics}
    assert metadata(client).topics == []


def test_naming_a_topic_creates_it_if_the_request_agrees(client: Client, unique_name: str) -> None:
    missing = describe(client, unique_name)
    assert (missing.error_code, missing.partitions) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [])
    describe(client, unique_name, create=True)
    found = describe(client, unique_name)
    assert (found.error_code, len(found.partitions)) == (0, 1)


def test_naming_a_topic_does_not_create_it_where_the_broker_forbids() -> None:
    with Broker(auto_create_topics=False) as broker, Client(broker.bootstrap) as client:
        found = describe(client, "t", create=True)
        assert found.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ö", "x" * 250])
def test_names_that_are_not_legal(client: Client, name: str) -> None:
    assert describe(client, name, create=True).error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert create(client, wanted(name))[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_a_topic_is_described_by_its_id(client: Client, topic: str) -> None:
    known = describe(client, topic)
    request = MetadataRequest(
        topics=[
            MetadataRequestTopic(name=None, topic_id=known.topic_id),
            MetadataRequestTopic(name=None, topic_id=bytes(15) + b"\x99"),
        ]
    )
    found, missing = client.ask(request, MetadataResponse, 12).topics
    if found.name is None:
        found, missing = missing, found
    assert found == known
    assert missing.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_three_nodes_share_the_partitions() -> None:
    with Broker(3) as broker, Client(broker.bootstrap) as client:
        broker.create_topic("t", 6)
        answer = metadata(client, "t")
        assert sorted(node.node_id for node in answer.brokers) == [1, 2, 3]
        partitions = answer.topics[0].partitions
        assert sorted(part.leader_id for part in partitions) == [1, 1, 2, 2, 3, 3]
        assert all(sorted(part.replica_nodes) == [1, 2, 3] for part in partitions)
        broker.kill(3)
        answer = metadata(client, "t")
        assert sorted(node.node_id for node in answer.brokers) == [1, 2]
        for old, new in zip(partitions, answer.topics[0].partitions, strict=True):
            assert new.leader_id != 3
            assert new.leader_epoch == old.leader_epoch + (old.leader_id == 3)
            assert (new.isr_nodes, new.offline_replicas) == (
                [node for node in new.replica_nodes if node != 3],
                [3],
            )


def test_a_partition_without_a_living_replica_has_no_leader() -> None:
    with Broker(4) as broker, Client(broker.bootstrap) as client:
        broker.create_topic("t", 4)
        before = metadata(client, "t").topics[0].partitions
        lost = next(part for part in before if 1 not in part.replica_nodes)
        for node in lost.replica_nodes:
            broker.kill(node)
        after = metadata(client, "t").topics[0].partitions[lost.partition_index]
        assert (after.error_code, after.leader_id) == (ErrorCode.LEADER_NOT_AVAILABLE, -1)
        broker.restart(lost.replica_nodes[0])
        after = metadata(client, "t").topics[0].partitions[lost.partition_index]
        assert (after.error_code, after.leader_id) == (0, lost.replica_nodes[0])


# ---- CreateTopics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 8))
def test_a_topic_is_created(client: Client, unique_name: str, version: int) -> None:
    (made,) = create(client, wanted(unique_name, 3), version=version)
    assert (made.error_code, made.name) == (0, unique_name)
    if version >= 5:
        assert (made.num_partitions, made.replication_factor) == (3, 1)
    if version >= 7:
        assert made.topic_id == describe(client, unique_name).topic_id
    assert len(describe(client, unique_name).partitions) == 3


def test_a_topic_that_exists(client: Client, topic: str) -> None:
    (made,) = create(client, wanted(topic))
    assert made.error_code == ErrorCode.TOPIC_ALREADY_EXISTS
    assert made.error_message == f"Topic '{topic}' already exists."


def test_a_topic_named_twice(client: Client, unique_name: str) -> None:
    made = create(client, wanted(unique_name), wanted(unique_name))
    assert {topic.error_code for topic in made} == {ErrorCode.INVALID_REQUEST}


@pytest.mark.parametrize(
    ("topic", "error"),
    [
        (wanted("t-wrong", 0), ErrorCode.INVALID_PARTITIONS),
        (wanted("t-wrong", -2), ErrorCode.INVALID_PARTITIONS),
        (wanted("t-wrong", 1, 9), ErrorCode.INVALID_REPLICATION_FACTOR),
        (wanted("t-wrong", 1, 0), ErrorCode.INVALID_REPLICATION_FACTOR),
        (wanted("t-wrong", 1, 1, ("max.message.bytes", "many")), ErrorCode.INVALID_CONFIG),
        (wanted("t-wrong", 1, 1, ("message.timestamp.type", "Now")), ErrorCode.INVALID_CONFIG),
    ],
)
def test_refused_topics(client: Client, topic: CreatableTopic, error: ErrorCode) -> None:
    assert create(client, topic)[0].error_code == error
    assert describe(client, "t-wrong").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_defaults_and_assignments(client: Client, make_topic: Callable[..., str]) -> None:
    names = [f"{make_topic()}-more-{number}" for number in range(2)]
    node = metadata(client).brokers[0].node_id
    by_hand = CreatableTopic(
        name=names[1],
        num_partitions=-1,
        replication_factor=-1,
        assignments=[
            CreatableReplicaAssignment(partition_index=number, broker_ids=[node])
            for number in range(2)
        ],
    )
    made = create(client, wanted(names[0], -1, -1), by_hand)
    assert [(topic.error_code, topic.num_partitions) for topic in made] == [(0, 1), (0, 2)]


def test_validating_creates_nothing(client: Client, unique_name: str) -> None:
    (made,) = create(client, wanted(unique_name, 3), validate_only=True)
    assert (made.error_code, made.num_partitions) == (0, 3)
    assert describe(client, unique_name).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


# ---- DeleteTopics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 7))
def test_a_topic_is_deleted(client: Client, topic: str, version: int) -> None:
    request = (
        DeleteTopicsRequest(topics=[DeleteTopicState(name=topic)], timeout_ms=1000)
        if version >= 6
        else DeleteTopicsRequest(topic_names=[topic], timeout_ms=1000)
    )
    answer = client.ask(request, DeleteTopicsResponse, version).responses[0]
    assert (answer.error_code, answer.name) == (0, topic)
    assert describe(client, topic).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    again = client.ask(request, DeleteTopicsResponse, version).responses[0]
    assert again.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_topic_is_deleted_by_its_id(client: Client, topic: str) -> None:
    topic_id = describe(client, topic).topic_id
    request = DeleteTopicsRequest(topics=[DeleteTopicState(topic_id=topic_id)], timeout_ms=1000)
    answer = client.ask(request, DeleteTopicsResponse, 6).responses[0]
    assert (answer.error_code, answer.name, answer.topic_id) == (0, topic, topic_id)
    again = client.ask(request, DeleteTopicsResponse, 6).responses[0]
    assert again.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_topic_made_again_is_another(broker: Broker) -> None:
    with Client(broker.bootstrap) as client:
        broker.create_topic("t")
        first = describe(client, "t").topic_id
        produce(client, "t", batch(b"a"))
        broker.delete_topic("t")
        broker.create_topic("t")
        assert describe(client, "t").topic_id != first
        assert produce(client, "t", batch(b"b")) == (0, 0)


def test_the_broker_creates_topics_without_a_client(broker: Broker) -> None:
    broker.create_topic("t", 2)
    for name, partitions, config in [
        ("t", 1, {}),
        ("no spaces", 1, {}),
        ("u", 0, {}),
        ("u", 1, {"max.message.bytes": "many"}),
    ]:
        with pytest.raises(ValueError):
            broker.create_topic(name, partitions, config)
    with pytest.raises(KeyError):
        broker.delete_topic("missing")
