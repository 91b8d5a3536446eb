"""Fetch, byte for byte: limits, the long poll, errors, sessions."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.protocol.messages.fetch import (
    FetchRequest,
    FetchResponse,
    ForgottenTopic,
    PartitionData,
)
from ottla.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from ottla.testing import Broker
from ottla.testing.plain_records import split_batches
from tests.broker.raw import Client, batch, clients, fetch_request, produce

VERSION = 11


def fetch(client: Client, request: FetchRequest, version: int = VERSION) -> PartitionData:
    response = client.ask(request, FetchResponse, version)
    assert response.error_code == 0
    return response.responses[0].partitions[0]


def offsets(data: PartitionData) -> list[int]:
    """Base offsets of the batches in an answer."""
    return [header.base_offset for header, _ in split_batches(bytes(data.records or b""))]


@pytest.fixture
def full(client: Client, topic: str) -> str:
    """A topic with ten batches of two records, each of about 1 kB."""
    for _ in range(10):
        assert produce(client, topic, batch(b"a" * 500, b"b" * 500))[0] == 0
    return topic


@pytest.mark.parametrize("version", range(4, 13))
def test_whole_batches_from_the_one_that_holds_the_offset(
    client: Client, full: str, version: int
) -> None:
    data = fetch(client, fetch_request(full, 5), version)
    assert offsets(data) == list(range(4, 20, 2))
    assert (data.high_watermark, data.last_stable_offset) == (20, 20)
    assert data.log_start_offset == (0 if version >= 5 else -1)


def test_version_13_names_topics_by_id(client: Client, full: str) -> None:
    metadata = MetadataRequest(topics=[MetadataRequestTopic(name=full)])
    request = fetch_request(full)
    request.topics[0].topic_id = client.ask(metadata, MetadataResponse, 12).topics[0].topic_id
    for version in range(13, 18):
        response = client.ask(request, FetchResponse, version)
        assert response.responses[0].topic_id == request.topics[0].topic_id
        assert len(offsets(response.responses[0].partitions[0])) == 10
    request.topics[0].topic_id = bytes(15) + b"\x99"
    assert fetch(client, request, 13).error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_limits(client: Client, full: str) -> None:
    assert offsets(fetch(client, fetch_request(full, partition_max_bytes=3500))) == [0, 2, 4]
    assert offsets(fetch(client, fetch_request(full, max_bytes=2500))) == [0, 2]
    # The first batch comes whole, larger than any limit.
    assert offsets(fetch(client, fetch_request(full, max_bytes=1, partition_max_bytes=1))) == [0]


def test_the_first_batch_is_whole_for_one_partition_only(
    client: Client, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(2)
    for partition in (0, 1):
        produce(client, topic, batch(b"a" * 500), partition=partition)
    request = fetch_request(topic, partitions=(0, 1), partition_max_bytes=1, max_bytes=1)
    answer = client.ask(request, FetchResponse, VERSION).responses[0].partitions
    assert [offsets(data) for data in answer] == [[0], []]


@pytest.mark.parametrize("offset", [-1, 21])
def test_offsets_out_of_range(client: Client, full: str, offset: int) -> None:
    began = time.monotonic()
    data = fetch(client, fetch_request(full, offset, max_wait_ms=5_000))
    assert time.monotonic() - began < 3, "an error ends the wait"
    assert data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert (data.high_watermark, offsets(data)) == (-1, [])


def test_the_end_is_no_error(client: Client, full: str) -> None:
    data = fetch(client, fetch_request(full, 20))
    assert (data.error_code, data.high_watermark, offsets(data)) == (0, 20, [])


def test_topics_and_partitions_that_are_not_there(client: Client, topic: str) -> None:
    for request in (fetch_request(f"{topic}-missing"), fetch_request(topic, partitions=(9,))):
        assert fetch(client, request).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_leader_epochs(client: Client, full: str) -> None:
    request = fetch_request(full)
    request.topics[0].partitions[0].current_leader_epoch = 9
    assert fetch(client, request).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    request.topics[0].partitions[0].current_leader_epoch = 0
    assert fetch(client, request).error_code == 0


def fetched_in(topic: str, epoch: int, offset: int, max_wait_ms: int = 0) -> FetchRequest:
    """A fetch from `offset` after a record of this leader epoch."""
    request = fetch_request(topic, offset, max_wait_ms=max_wait_ms)
    request.topics[0].partitions[0].last_fetched_epoch = epoch
    return request


def test_a_log_that_differs_from_the_fetched_records_is_reported_at_once(
    client: Client, full: str
) -> None:
    assert offsets(fetch(client, fetched_in(full, 0, 18), version=12)) == [18]
    begun = time.monotonic()
    shorter = fetch(client, fetched_in(full, 0, 25, max_wait_ms=10_000), version=12)
    assert time.monotonic() - begun < 5, "no wait for records"
    assert (shorter.error_code, offsets(shorter)) == (0, [])
    assert (shorter.diverging_epoch.epoch, shorter.diverging_epoch.end_offset) == (0, 20)
    assert (shorter.high_watermark, shorter.log_start_offset) == (20, 0)
    # There is no answer about an epoch after the leader's.
    later = fetch(client, fetched_in(full, 7, 5), version=12)
    assert later.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert later.diverging_epoch.end_offset == -1


@pytest.mark.parametrize(
    ("epoch", "offset", "diverging"), [(0, 4, None), (0, 6, (0, 4)), (1, 6, (0, 4)), (2, 6, None)]
)
def test_where_a_truncated_log_differs(
    broker: Broker, epoch: int, offset: int, diverging: tuple[int, int] | None
) -> None:
    for _ in range(6):
        broker.append("t", "lost")
    broker.move_leader("t", 0, 1)
    broker.append("t", "lost too")
    broker.truncate("t", 0, 4)
    for _ in range(6):
        broker.append("t", "later")
    with Client(broker.bootstrap) as client:
        data = fetch(client, fetched_in("t", epoch, offset), version=12)
    at = data.diverging_epoch
    assert (None if at.end_offset < 0 else (at.epoch, at.end_offset)) == diverging
    assert bool(offsets(data)) == (diverging is None)


def test_a_long_poll_ends_with_the_first_record(bootstrap: str, topic: str) -> None:
    with clients(bootstrap, 2) as (waiting, other):
        sent = waiting.send(fetch_request(topic, max_wait_ms=10_000), VERSION)
        assert waiting.is_silent()
        # It holds up nobody else, on the same topic either.
        assert offsets(fetch(other, fetch_request(topic))) == []
        produce(other, topic, batch(b"a"))
        answer = waiting.receive(FetchResponse, VERSION, sent)
        assert offsets(answer.responses[0].partitions[0]) == [0]


def test_a_long_poll_waits_for_enough_bytes(bootstrap: str, topic: str) -> None:
    with clients(bootstrap, 2) as (waiting, other):
        request = fetch_request(topic, max_wait_ms=10_000, min_bytes=400)
        sent = waiting.send(request, VERSION)
        produce(other, topic, batch(b"a" * 10))
        assert waiting.is_silent()
        produce(other, topic, batch(b"a" * 400))
        answer = waiting.receive(FetchResponse, VERSION, sent)
        assert offsets(answer.responses[0].partitions[0]) == [0, 1]


def test_a_long_poll_ends_with_its_time(client: Client, topic: str) -> None:
    began = time.monotonic()
    assert offsets(fetch(client, fetch_request(topic, max_wait_ms=80))) == []
    assert 0.07 < time.monotonic() - began < 5


def test_requests_of_one_connection_wait_for_each_other(client: Client, topic: str) -> None:
    first = client.send(fetch_request(topic, max_wait_ms=80), VERSION)
    second = client.send(ApiVersionsRequest(), 0)
    client.receive(FetchResponse, VERSION, first)
    client.receive(ApiVersionsResponse, 0, second)


# ---- sessions (KIP-227) ---------------------------------------------------------------------------------------------


@pytest.fixture
def session(client: Client, make_topic: Callable[..., str]) -> tuple[str, int]:
    """A topic of two partitions with a record each, and a session that has read both."""
    topic = make_topic(2)
    for partition in (0, 1):
        produce(client, topic, batch(b"a"), partition=partition)
    opening = fetch_request(topic, partitions=(0, 1), session_epoch=0)
    opened = client.ask(opening, FetchResponse, VERSION)
    assert opened.session_id > 0
    assert [offsets(data) for data in opened.responses[0].partitions] == [[0], [0]]
    further = fetch_request(
        topic, 1, partitions=(0, 1), session_id=opened.session_id, session_epoch=1
    )
    assert client.ask(further, FetchResponse, VERSION).responses == []
    return topic, opened.session_id


def test_a_session_answers_with_news_only(client: Client, session: tuple[str, int]) -> None:
    topic, session_id = session
    produce(client, topic, batch(b"b"), partition=1)
    request = fetch_request(topic, partitions=(), session_id=session_id, session_epoch=2)
    answer = client.ask(request, FetchResponse, VERSION)
    (data,) = answer.responses[0].partitions
    assert (answer.session_id, data.partition_index, offsets(data)) == (session_id, 1, [1])


def test_a_session_forgets_partitions(client: Client, session: tuple[str, int]) -> None:
    topic, session_id = session
    for partition in (0, 1):
        produce(client, topic, batch(b"b"), partition=partition)
    request = fetch_request(topic, partitions=(), session_id=session_id, session_epoch=2)
    request.forgotten_topics_data = [ForgottenTopic(topic=topic, partitions=[0])]
    answer = client.ask(request, FetchResponse, VERSION)
    assert [data.partition_index for data in answer.responses[0].partitions] == [1]


def test_session_epochs_are_checked(client: Client, session: tuple[str, int]) -> None:
    topic, session_id = session
    wrong = fetch_request(topic, partitions=(), session_id=session_id, session_epoch=7)
    answer = client.ask(wrong, FetchResponse, VERSION)
    assert answer.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    unknown = fetch_request(topic, partitions=(), session_id=session_id + 1, session_epoch=1)
    answer = client.ask(unknown, FetchResponse, VERSION)
    assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_session_is_closed(client: Client, session: tuple[str, int]) -> None:
    topic, session_id = session
    closing = fetch_request(topic, session_id=session_id, session_epoch=-1)
    closed = client.ask(closing, FetchResponse, VERSION)
    assert (closed.session_id, closed.error_code) == (0, 0)
    again = fetch_request(topic, partitions=(), session_id=session_id, session_epoch=2)
    answer = client.ask(again, FetchResponse, VERSION)
    assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


# ---- what only the embedded broker can be made to do ----------------------------------------------------------------


def test_a_node_that_does_not_lead_names_the_leader() -> None:
    with Broker(2) as broker:
        broker.create_topic("t")
        broker.append("t", "a")
        broker.move_leader("t", 0, 2)
        with Client(broker.bootstrap) as client:
            data = fetch(client, fetch_request("t"), 12)
            assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
            assert (data.current_leader.leader_id, data.current_leader.leader_epoch) == (2, 1)
            metadata = MetadataRequest(topics=[MetadataRequestTopic(name="t")])
            request = fetch_request("t")
            request.topics[0].topic_id = (
                client.ask(metadata, MetadataResponse, 12).topics[0].topic_id
            )
            (node,) = client.ask(request, FetchResponse, 16).node_endpoints
            assert f"{node.host}:{node.port}" == broker.bootstrap.split(",")[1]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda broker: broker.move_leader("t", 0, 2), ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (lambda broker: broker.delete_topic("t"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (lambda broker: broker.delete_records("t", 0, 3), ErrorCode.OFFSET_OUT_OF_RANGE),
    ],
    ids=["leader moved", "topic deleted", "records deleted"],
)
def test_a_long_poll_notices_changes(change: Callable[[Broker], None], error: ErrorCode) -> None:
    with Broker(2) as broker, Client(broker.bootstrap) as client:
        broker.create_topic("t")
        for _ in range(4):
            broker.append("t", "a")
        request = fetch_request("t", 2, max_wait_ms=10_000, min_bytes=1_000_000)
        sent = client.send(request, VERSION)
        assert client.is_silent()
        change(broker)
        answer = client.receive(FetchResponse, VERSION, sent)
        assert answer.responses[0].partitions[0].error_code == error


def test_deleted_records_are_gone(broker: Broker) -> None:
    for _ in range(4):
        broker.append("t", "a")
    broker.delete_records("t", 0, 3)
    with Client(broker.bootstrap) as client:
        data = fetch(client, fetch_request("t", 3))
        assert (data.log_start_offset, data.high_watermark, offsets(data)) == (3, 4, [3])
    broker.delete_records("t", 0, 99)
    assert (broker.records("t"), broker.end_offset("t")) == ([], 4)
