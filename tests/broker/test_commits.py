"""OffsetCommit and OffsetFetch, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from ottla.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from ottla.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from ottla.testing import Broker
from tests.broker.members import RawMember, settle
from tests.broker.raw import Client

OUTSIDE = -1


def commit(
    client: Client,
    group: str,
    topic: str,
    offset: int,
    *,
    partition: int = 0,
    generation: int = OUTSIDE,
    member: str = "",
    metadata: str | None = "",
    version: int = 8,
) -> int:
    part = OffsetCommitRequestPartition(
        partition_index=partition, committed_offset=offset, committed_metadata=metadata
    )
    request = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member,
        topics=[OffsetCommitRequestTopic(name=topic, partitions=[part])],
    )
    answer = client.ask(request, OffsetCommitResponse, version)
    return answer.topics[0].partitions[0].error_code


def fetched(
    client: Client, group: str, topic: str, partition: int = 0
) -> tuple[int, int, str | None]:
    """Error, offset and metadata."""
    asked = OffsetFetchRequestTopic(name=topic, partition_indexes=[partition])
    request = OffsetFetchRequest(group_id=group, topics=[asked])
    answer = client.ask(request, OffsetFetchResponse, 7)
    part = answer.topics[0].partitions[0]
    return answer.error_code or part.error_code, part.committed_offset, part.metadata


@pytest.mark.parametrize("version", range(2, 10))
def test_an_offset_comes_back(client: Client, topic: str, unique_name: str, version: int) -> None:
    assert fetched(client, unique_name, topic) == (0, -1, "")
    assert commit(client, unique_name, topic, 5, metadata="m", version=version) == 0
    assert fetched(client, unique_name, topic) == (0, 5, "m")
    assert commit(client, unique_name, topic, 3, metadata=None, version=version) == 0
    assert fetched(client, unique_name, topic) == (0, 3, "")


@pytest.mark.parametrize("version", range(1, 8))
def test_fetch_of_one_group(client: Client, topic: str, unique_name: str, version: int) -> None:
    commit(client, unique_name, topic, 5)
    asked = OffsetFetchRequestTopic(name=topic, partition_indexes=[0, 1])
    request = OffsetFetchRequest(group_id=unique_name, topics=[asked])
    answer = client.ask(request, OffsetFetchResponse, version)
    found = {part.partition_index: part.committed_offset for part in answer.topics[0].partitions}
    assert (answer.error_code, found) == (0, {0: 5, 1: -1})
    if version >= 2:
        request.topics = None
        answer = client.ask(request, OffsetFetchResponse, version)
        (every,) = answer.topics
        assert [part.partition_index for part in every.partitions] == [0]


@pytest.mark.parametrize("version", [8, 9])
def test_fetch_of_several_groups(
    client: Client, topic: str, unique_name: str, version: int
) -> None:
    groups = [f"{unique_name}-{number}" for number in range(3)]
    for number, group in enumerate(groups[:2]):
        commit(client, group, topic, number)
    asked = [OffsetFetchRequestTopics(name=topic, partition_indexes=[0])]
    request = OffsetFetchRequest(
        groups=[
            OffsetFetchRequestGroup(group_id=group, topics=asked if number else None)
            for number, group in enumerate(groups)
        ]
    )
    answer = client.ask(request, OffsetFetchResponse, version)
    found = {
        group.group_id: [part.committed_offset for part in group.topics[0].partitions]
        for group in answer.groups
    }
    assert found == {groups[0]: [0], groups[1]: [1], groups[2]: [-1]}


def test_version_10_names_topics_by_id(client: Client, topic: str, unique_name: str) -> None:
    metadata = MetadataRequest(topics=[MetadataRequestTopic(name=topic)])
    topic_id = client.ask(metadata, MetadataResponse, 12).topics[0].topic_id
    wrong_id = bytes(15) + b"\x99"
    part = OffsetCommitRequestPartition(partition_index=0, committed_offset=5)
    request = OffsetCommitRequest(
        group_id=unique_name,
        generation_id_or_member_epoch=OUTSIDE,
        topics=[
            OffsetCommitRequestTopic(topic_id=id_, partitions=[part])
            for id_ in (topic_id, wrong_id)
        ],
    )
    codes = {
        found.topic_id: found.partitions[0].error_code
        for found in client.ask(request, OffsetCommitResponse, 10).topics
    }
    assert codes == {topic_id: 0, wrong_id: ErrorCode.UNKNOWN_TOPIC_ID}
    asked = [
        OffsetFetchRequestTopics(topic_id=id_, partition_indexes=[0])
        for id_ in (topic_id, wrong_id)
    ]
    fetch = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=unique_name, topics=asked)])
    offsets = {
        found.topic_id: (found.partitions[0].error_code, found.partitions[0].committed_offset)
        for found in client.ask(fetch, OffsetFetchResponse, 10).groups[0].topics
    }
    assert offsets == {topic_id: (0, 5), wrong_id: (ErrorCode.UNKNOWN_TOPIC_ID, -1)}


def test_a_member_commits_in_its_generation(client: Client, topic: str, unique_name: str) -> None:
    member = RawMember(client, unique_name)
    settle([member])
    own = {"generation": member.generation, "member": member.id}
    assert commit(client, unique_name, topic, 5, **own) == 0  # type: ignore[arg-type]
    wrong = [
        ({**own, "generation": 9}, ErrorCode.ILLEGAL_GENERATION),
        ({**own, "member": "stranger"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({}, ErrorCode.UNKNOWN_MEMBER_ID),
    ]
    for who, error in wrong:
        assert commit(client, unique_name, topic, 6, **who) == error  # type: ignore[arg-type]
    assert fetched(client, unique_name, topic) == (0, 5, "")
    member.leave()
    assert commit(client, unique_name, topic, 7) == 0, "nobody is in the group any more"


def test_no_commit_between_barrier_and_assignment(
    client: Client, topic: str, unique_name: str
) -> None:
    member = RawMember(client, unique_name)
    member.get_id()
    member.join()
    error = commit(client, unique_name, topic, 5, generation=member.generation, member=member.id)
    assert error == ErrorCode.REBALANCE_IN_PROGRESS


def test_commits_that_are_refused(client: Client, topic: str, unique_name: str) -> None:
    long = "m" * 4097
    assert (
        commit(client, unique_name, topic, 1, metadata=long) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    )
    missing = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert commit(client, unique_name, topic, 1, partition=9) == missing
    assert commit(client, unique_name, f"{topic}-missing", 1) == missing
    unknown = commit(client, f"{unique_name}-new", topic, 1, generation=3, member="m")
    assert unknown == ErrorCode.ILLEGAL_GENERATION


def test_a_deleted_topic_takes_its_offsets_along(broker: Broker) -> None:
    broker.create_topic("t")
    with Client(broker.bootstrap) as client:
        commit(client, "g", "t", 5)
        assert broker.committed("g") == {("t", 0): 5}
        broker.delete_topic("t")
        assert broker.committed("g") == {}
    assert broker.committed("nobody") == {}


def test_offsets_of_many_topics(
    client: Client, make_topic: Callable[..., str], unique_name: str
) -> None:
    topics = [make_topic(2) for _ in range(3)]
    for number, topic in enumerate(topics):
        commit(client, unique_name, topic, number, partition=1)
    request = OffsetFetchRequest(
        groups=[OffsetFetchRequestGroup(group_id=unique_name, topics=None)]
    )
    answer = client.ask(request, OffsetFetchResponse, 9).groups[0].topics
    found = {
        topic.name: {part.partition_index: part.committed_offset for part in topic.partitions}
        for topic in answer
    }
    assert found == {topic: {1: number} for number, topic in enumerate(topics)}
