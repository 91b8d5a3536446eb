"""Rules of a test for requests: see, fail, delay, answer, disconnect, lose the answer; and time."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from ottla.protocol.api_keys import APIS, ApiKey
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.fetch import FetchResponse
from ottla.protocol.messages.find_coordinator import (
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from ottla.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from ottla.protocol.messages.produce import ProduceResponse
from ottla.protocol.registry import request_class, response_class
from ottla.testing import Broker
from ottla.testing.broker import Seen
from ottla.testing.broker.apis import HANDLERS
from ottla.testing.broker.apis.api_versions import supported_range
from tests.broker.raw import (
    Client,
    batch,
    clients,
    fetch_request,
    produce,
    produce_request,
)


@pytest.fixture
def client(broker: Broker) -> Any:
    broker.create_topic("t")
    broker.create_topic("u")
    with Client(broker.bootstrap) as connected:
        yield connected


def metadata(client: Client) -> MetadataResponse:
    return client.ask(MetadataRequest(topics=[]), MetadataResponse, 12)


def test_requests_are_seen(broker: Broker, client: Client) -> None:
    assert broker.requests == []
    metadata(client)
    produce(client, "t", batch(b"a"))
    assert broker.requests == [Seen(1, "Metadata", 12, "raw"), Seen(1, "Produce", 9, "raw")]
    assert (broker.count("Metadata"), broker.count("Produce"), broker.count("Fetch")) == (1, 1, 0)
    with pytest.raises(ValueError, match="no API"):
        broker.count("Porduce")


def test_waiting_for_requests(broker: Broker, client: Client) -> None:
    sender = threading.Timer(0.05, metadata, [client])
    sender.start()
    broker.wait_for("Metadata")
    sender.join()
    with pytest.raises(TimeoutError, match="1 of 2 Metadata"):
        broker.wait_for("Metadata", 2, timeout=0.01)


def test_fail_answers_with_an_error(broker: Broker, client: Client) -> None:
    broker.fail("Produce", ErrorCode.NOT_ENOUGH_REPLICAS, times=2)
    for _ in range(2):
        assert produce(client, "t", batch(b"a")) == (ErrorCode.NOT_ENOUGH_REPLICAS, -1)
    assert produce(client, "t", batch(b"a")) == (0, 0), "nothing had been stored"


def test_fail_closes_the_connection_where_there_is_no_answer(
    broker: Broker, client: Client
) -> None:
    broker.fail("Produce", ErrorCode.NOT_ENOUGH_REPLICAS)
    client.send(produce_request("t", batch(b"a"), acks=0), 9)
    assert client.is_closed()


def test_rules_choose_their_requests(broker: Broker, client: Client) -> None:
    broker.fail("Produce", 19, None, topic="u")
    broker.fail("Produce", 20, None, version=8)
    broker.fail("Produce", 21, None, acks=1)
    broker.fail("Produce", 22, None, client_id="somebody")
    broker.fail("Produce", 22, None, node=2)
    assert produce(client, "u", batch(b"a"))[0] == 19
    assert produce(client, "t", batch(b"a"), version=8)[0] == 20
    answer = client.ask(produce_request("t", batch(b"a"), acks=1), ProduceResponse, 9)
    assert answer.responses[0].partition_responses[0].error_code == 21
    assert produce(client, "t", batch(b"a"))[0] == 0
    broker.clear_rules()
    assert produce(client, "u", batch(b"a"))[0] == 0


def test_rules_match_groups_and_topic_ids(broker: Broker, client: Client) -> None:
    broker.fail("FindCoordinator", 15, None, group="g")
    request = FindCoordinatorRequest(coordinator_keys=["g"])
    assert client.ask(request, FindCoordinatorResponse, 4).coordinators[0].error_code == 15
    request = FindCoordinatorRequest(coordinator_keys=["h"])
    assert client.ask(request, FindCoordinatorResponse, 4).coordinators[0].error_code == 0
    asked = MetadataRequest(topics=[MetadataRequestTopic(name="t")])
    topic_id = client.ask(asked, MetadataResponse, 12).topics[0].topic_id
    broker.fail("Fetch", 6, None, topic="t")
    by_id = fetch_request("t")
    by_id.topics[0].topic_id = topic_id
    data = client.ask(by_id, FetchResponse, 13).responses[0].partitions[0]
    assert data.error_code == 6


def test_delay_holds_up_one_connection_only(broker: Broker, client: Client) -> None:
    broker.delay("Metadata", 0.2)
    with Client(broker.bootstrap) as other:
        began = time.monotonic()
        sent = client.send(MetadataRequest(topics=[]), 12)
        broker.wait_for("Metadata")
        metadata(other)
        assert time.monotonic() - began < 0.2
        client.receive(MetadataResponse, 12, sent)
        assert time.monotonic() - began >= 0.19


def test_a_function_answers_or_only_observes(broker: Broker, client: Client) -> None:
    seen = []
    broker.answer("Metadata", lambda request, call: seen.append((request, call.version)), None)
    broker.answer("Produce", lambda request, call: ProduceResponse(responses=[]))
    assert metadata(client).brokers
    assert [version for _, version in seen] == [12]
    assert client.ask(produce_request("t", batch(b"a")), ProduceResponse, 9).responses == []
    assert broker.end_offset("t") == 0


def test_a_function_may_use_the_controls(broker: Broker, client: Client) -> None:
    def move(request: Any, call: Any) -> None:
        broker.append("t", "in between")

    broker.answer("Produce", move)
    assert produce(client, "t", batch(b"a")) == (0, 1)


def test_the_exception_of_a_function_is_raised_at_the_end() -> None:
    broker = Broker().start()

    def wrong(request: Any, call: Any) -> None:
        raise ZeroDivisionError

    broker.answer("Metadata", wrong)
    with Client(broker.bootstrap) as client:
        client.send(MetadataRequest(topics=[]), 12)
        assert client.is_closed()
    with pytest.raises(ExceptionGroup) as caught:
        broker.close()
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


def test_a_request_or_its_answer_is_lost(broker: Broker) -> None:
    broker.create_topic("t")
    broker.disconnect("Produce")
    broker.lose_answer("Produce")
    with clients(broker.bootstrap, 2) as (first, second):
        first.send(produce_request("t", batch(b"a")), 9)
        assert first.is_closed()
        assert broker.end_offset("t") == 0
        second.send(produce_request("t", batch(b"a")), 9)
        assert second.is_closed()
        assert broker.end_offset("t") == 1


def test_rules_know_their_api_and_error(broker: Broker) -> None:
    with pytest.raises(ValueError, match="no API"):
        broker.disconnect("Porduce")
    with pytest.raises(ValueError, match="9999"):
        broker.fail("Produce", 9999)


@pytest.mark.parametrize("key", HANDLERS, ids=lambda key: APIS[key].name)
def test_every_api_refuses_in_every_version(broker: Broker, key: int) -> None:
    """An empty request is refused by an answer that its version can carry."""
    broker.fail(APIS[key].name, ErrorCode.UNKNOWN_SERVER_ERROR, None)
    request = produce_request("t", b"") if key == ApiKey.PRODUCE else request_class(key)()
    first, last = supported_range(key)
    with Client(broker.bootstrap) as client:
        for version in range(first, last + 1):
            client.ask(request, response_class(key), version)


# ---- time -----------------------------------------------------------------------------------------------------------


def test_a_long_poll_ends_when_time_jumps() -> None:
    with Broker(virtual_time=True) as broker, Client(broker.bootstrap) as client:
        broker.create_topic("t")
        sent = client.send(fetch_request("t", max_wait_ms=60_000), 11)
        broker.wait_for("Fetch")
        broker.advance(59.9)
        assert client.is_silent()
        broker.advance(0.2)
        client.receive(FetchResponse, 11, sent)


def test_real_time_may_jump_as_well(broker: Broker) -> None:
    with Client(broker.bootstrap) as client:
        broker.create_topic("t")
        sent = client.send(fetch_request("t", max_wait_ms=60_000), 11)
        broker.wait_for("Fetch")
        broker.advance(60)
        client.receive(FetchResponse, 11, sent)


def test_records_have_the_virtual_time() -> None:
    with Broker(virtual_time=True) as broker:
        broker.append("t", "a")
        broker.advance(3600)
        broker.append("t", "b")
        first, second = broker.records("t")
        assert second.timestamp - first.timestamp == 3_600_000
