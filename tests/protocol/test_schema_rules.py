"""The rules of the schema language, on real messages and on a schema with what none uses."""

from __future__ import annotations

import struct
from typing import Any

import messages as generator
import pytest
from schema import load, snake_case

from ottla.errors import EncodeError, UnsupportedVersion
from ottla.protocol.base import Message
from ottla.protocol.messages.alter_configs import AlterableConfig
from ottla.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.protocol.messages.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatResponse,
    ResponseTopicPartitions,
)
from ottla.protocol.messages.fetch import FetchRequest, ReplicaState
from ottla.protocol.messages.header import RequestHeader
from ottla.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from ottla.protocol.messages.offset_commit import OffsetCommitRequest
from ottla.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from ottla.protocol.messages.sasl_authenticate import SaslAuthenticateRequest

SYNTHETIC: dict[str, Any] = {
    "type": "data",
    "name": "Synthetic",
    "validVersions": "0-3",
    "flexibleVersions": "1+",
    "fields": [
        {
            "name": "Inner",
            "type": "Inner",
            "versions": "1+",
            "taggedVersions": "1+",
            "tag": 0,
            "nullableVersions": "1+",
            "default": "null",
            "fields": [{"name": "Value", "type": "int16", "versions": "0+"}],
        },
        {
            "name": "Moved",
            "type": "int32",
            "versions": "0+",
            "taggedVersions": "2+",
            "tag": 1,
            "default": "7",
        },
        {"name": "Mask", "type": "uint32", "versions": "0+", "default": "0x7fffffff"},
        {"name": "OnlyTwo", "type": "[]uuid", "versions": "2", "nullableVersions": "2+"},
        {
            "name": "Blobs",
            "type": "[]bytes",
            "versions": "3+",
            "taggedVersions": "3+",
            "tag": 2,
            "ignorable": True,
        },
        {
            "name": "Plain",
            "type": "Inner",
            "versions": "3+",
            "nullableVersions": "3+",
            "default": "null",
        },
    ],
}


@pytest.fixture(scope="module")
def synthetic() -> dict[str, Any]:
    """Classes made by the generator from a schema with rules that no message of 4.4 uses."""
    space: dict[str, Any] = {"__name__": "synthetic"}
    exec(generator.module_source([load(SYNTHETIC)], "Synthetic."), space)
    return space


def test_nullable_tagged_struct(synthetic: dict[str, Any]) -> None:
    made = synthetic["Synthetic"](inner=synthetic["Inner"](value=5))
    data = made.encode(1)
    mask = b"\x7f\xff\xff\xff"
    # moved, mask, one tag: tag 0 of 4 bytes: present, the struct, its own empty tag section
    assert data == b"\x00\x00\x00\x07" + mask + b"\x01\x00\x04\x01\x00\x05\x00"
    assert type(made).decode(data, 1) == made
    null = b"\x00\x00\x00\x07" + mask + b"\x01\x00\x01\x00"
    assert type(made).decode(null, 1).inner is None


def test_field_that_moves_into_the_tags(synthetic: dict[str, Any]) -> None:
    made = synthetic["Synthetic"](moved=9)
    assert made.encode(0) == b"\x00\x00\x00\x09\x7f\xff\xff\xff"
    assert made.encode(2) == b"\x7f\xff\xff\xff" + b"\x01" + b"\x01\x01\x04\x00\x00\x00\x09"
    assert synthetic["Synthetic"]().encode(2) == b"\x7f\xff\xff\xff\x01\x00"
    for version in (0, 1, 2, 3):
        assert type(made).decode(made.encode(version), version) == made


def test_version_ranges_of_one(synthetic: dict[str, Any]) -> None:
    cls = synthetic["Synthetic"]
    made = cls(only_two=[bytes(16)])
    assert cls.decode(made.encode(2), 2) == made
    for version in (0, 1, 3):
        with pytest.raises(UnsupportedVersion, match="only_two"):
            made.encode(version)
    with pytest.raises(EncodeError, match="uuid"):
        cls(only_two=[b"short"]).encode(2)


def test_ignorable_field_is_dropped_and_others_are_refused(synthetic: dict[str, Any]) -> None:
    cls = synthetic["Synthetic"]
    made = cls(blobs=[b"a", b""])
    assert cls.decode(made.encode(3), 3) == made
    assert made.encode(2) == cls().encode(2)
    with pytest.raises(UnsupportedVersion, match="plain is set, but version 2"):
        cls(plain=synthetic["Inner"]()).encode(2)


def test_nullable_struct_in_the_body() -> None:
    topics = [ResponseTopicPartitions(topic_id=bytes(16), partitions=[1])]
    there = ConsumerGroupHeartbeatResponse(assignment=Assignment(topic_partitions=topics))
    gone = ConsumerGroupHeartbeatResponse()
    assert there.assignment is not None
    assert gone.assignment is None
    assert gone.encode(0).endswith(b"\xff\x00")
    for message in (there, gone):
        assert ConsumerGroupHeartbeatResponse.decode(message.encode(0), 0) == message


def test_null_is_refused_where_the_version_has_none() -> None:
    request = MetadataRequest(topics=None)
    assert request.encode(1)[:4] == b"\xff\xff\xff\xff"
    with pytest.raises(EncodeError, match="topics is None"):
        request.encode(0)
    with pytest.raises(EncodeError, match="name is None"):
        MetadataRequest(topics=[MetadataRequestTopic(name=None)]).encode(9)
    commit = OffsetCommitRequest()
    commit.topics = None  # type: ignore[assignment]
    with pytest.raises(EncodeError, match="topics is None"):
        commit.encode(8)
    fetch = FetchRequest()
    fetch.replica_state = None  # type: ignore[assignment]
    with pytest.raises(EncodeError, match="replica_state is None"):
        fetch.encode(15)


def test_a_set_field_that_the_version_lacks() -> None:
    with pytest.raises(UnsupportedVersion, match="allow_auto_topic_creation is set"):
        MetadataRequest(topics=[], allow_auto_topic_creation=False).encode(3)
    ignorable = MetadataRequest(topics=[MetadataRequestTopic(topic_id=b"x" * 16, name="t")])
    back = MetadataRequest.decode(ignorable.encode(4), 4)
    assert back.topics == [MetadataRequestTopic(name="t")]
    state = FetchRequest(replica_state=ReplicaState(replica_id=1))
    with pytest.raises(UnsupportedVersion, match="replica_state"):
        state.encode(14)


def test_versions_outside_the_schema() -> None:
    for version in (-1, 14):
        with pytest.raises(UnsupportedVersion, match="MetadataRequest has versions 0 to 13"):
            MetadataRequest().encode(version)
        with pytest.raises(UnsupportedVersion):
            MetadataRequest.decode(b"", version)
    with pytest.raises(UnsupportedVersion, match="3 to 13"):
        ProduceRequest().encode(2)


def test_unknown_tags_are_kept_in_order_among_the_known() -> None:
    data = ApiVersionsResponse(finalized_features_epoch=3, zk_migration_ready=True).encode(3)
    assert data.endswith(b"\x02\x01\x08" + bytes(7) + b"\x03" + b"\x03\x01\x01")
    mixed = data[: -len(b"\x03\x01\x01")] + b"\x03\x01\x01" + b"\x64\x02hi"
    mixed = mixed.replace(b"\x02\x01\x08", b"\x03\x01\x08")
    message = ApiVersionsResponse.decode(mixed, 3)
    assert message._unknown_tags == {100: b"hi"}
    assert message.encode(3) == mixed
    message._unknown_tags = {2**31 - 1: b"z", 50: b""}
    assert ApiVersionsResponse.decode(message.encode(3), 3) == message


def test_unknown_tags_that_cannot_be_written() -> None:
    message = ApiVersionsResponse(zk_migration_ready=True)
    message._unknown_tags = {3: b"\x00"}
    with pytest.raises(EncodeError, match=r"\[3\]"):
        message.encode(3)
    with pytest.raises(UnsupportedVersion, match="_unknown_tags"):
        message.encode(2)


def test_client_id_is_an_int16_string_even_when_flexible() -> None:
    header = RequestHeader(
        request_api_key=18, request_api_version=3, correlation_id=7, client_id="me"
    )
    start = struct.pack(">hhih", 18, 3, 7, 2) + b"me"
    assert header.encode(1) == start
    assert header.encode(2) == start + b"\x00"
    assert RequestHeader.decode(start[:8] + b"\xff\xff\x00", 2).client_id is None


def test_values_that_do_not_fit() -> None:
    with pytest.raises(EncodeError, match="32768 bytes"):
        MetadataRequest(topics=[MetadataRequestTopic(name="x" * 32768)]).encode(9)
    with pytest.raises(EncodeError, match="ProduceRequest version 9"):
        ProduceRequest(acks=40_000).encode(9)
    with pytest.raises(EncodeError):
        MetadataRequest(topics=[MetadataRequestTopic(name="\ud800")]).encode(9)


@pytest.mark.parametrize("records", [b"abc", memoryview(b"abc"), None])
def test_records_are_compact_when_flexible(records: bytes | memoryview | None) -> None:
    request = ProduceRequest(
        topic_data=[
            TopicProduceData(name="t", partition_data=[PartitionProduceData(records=records)])
        ]
    )
    for version in (8, 9):
        assert ProduceRequest.decode(request.encode(version), version) == request
    length = -1 if records is None else 3
    plain = length.to_bytes(4, "big", signed=True) + bytes(records or b"")
    assert request.encode(8).endswith(plain)
    assert request.encode(9).endswith(bytes([length + 1]) + bytes(records or b"") + b"\x00\x00\x00")


def test_repr_shows_no_secret_and_no_bulk() -> None:
    assert "hunter2" not in repr(SaslAuthenticateRequest(auth_bytes=b"hunter2"))
    assert "hunter2" not in repr(AlterableConfig(name="ssl.key.password", value="hunter2"))
    assert "<1000 bytes>" in repr(PartitionProduceData(records=bytes(1000)))
    assert "client_software_name='x'" in repr(ApiVersionsRequest(client_software_name="x"))


def test_lists_are_not_shared() -> None:
    topics = [MetadataRequestTopic()]
    request = MetadataRequest(topics=topics)
    topics.clear()
    assert len(request.topics or ()) == 1
    assert MetadataRequest().topics is not MetadataRequest().topics


def test_equality_is_by_value_and_class() -> None:
    assert MetadataRequestTopic(name="a") == MetadataRequestTopic(name="a")
    assert MetadataRequestTopic(name="a") != MetadataRequestTopic(name="b")
    tagged = MetadataRequestTopic(name="a")
    tagged._unknown_tags = {9: b""}
    assert tagged != MetadataRequestTopic(name="a")
    assert MetadataRequest() != ApiVersionsRequest()
    with pytest.raises(TypeError):
        hash(MetadataRequest())


def test_a_typo_in_a_field_is_an_error() -> None:
    with pytest.raises(TypeError):
        MetadataRequest(topic=[])  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        MetadataRequest().topic = []  # type: ignore[attr-defined]
    assert issubclass(MetadataRequest, Message)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"type": "int7"}, "unknown type"),
        ({"tag": 3}, "go together"),
        ({"tag": 3, "taggedVersions": "1+", "versions": "2+"}, "lack the field"),
        ({"newRule": True}, "unknown keys"),
    ],
)
def test_the_generator_refuses_unknown_schema_fields(change: dict[str, Any], text: str) -> None:
    entry = {"name": "Field", "type": "int8", "versions": "0+", **change}
    with pytest.raises(ValueError, match=text):
        load({**SYNTHETIC, "fields": [entry]})


@pytest.mark.parametrize(
    ("kafka", "python"),
    [
        ("ThrottleTimeMs", "throttle_time_ms"),
        ("TopicID", "topic_id"),
        ("From", "from_"),
        ("ISRNodes", "isr_nodes"),
    ],
)
def test_field_names(kafka: str, python: str) -> None:
    assert snake_case(kafka) == python
