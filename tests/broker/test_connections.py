"""ApiVersions, FindCoordinator, InitProducerId, and what happens to bytes that are no request."""

from __future__ import annotations

import struct

import pytest

from ottla.protocol.api_keys import ApiKey
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.headers import encode_request
from ottla.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.protocol.messages.find_coordinator import (
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from ottla.protocol.messages.init_producer_id import (
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from ottla.testing import Broker
from tests.broker.raw import Client, clients

NAMED = ApiVersionsRequest(client_software_name="raw", client_software_version="1")

# ---- ApiVersions ----------------------------------------------------------------------------------------------------


def versions(answer: ApiVersionsResponse) -> dict[int, tuple[int, int]]:
    return {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}


@pytest.mark.parametrize("version", range(5))
def test_versions_are_announced(client: Client, version: int) -> None:
    answer = client.ask(
        NAMED if version >= 3 else ApiVersionsRequest(), ApiVersionsResponse, version
    )
    assert answer.error_code == 0
    found = versions(answer)
    assert found[ApiKey.PRODUCE] == (0, 13), (
        "Kafka 4 says 0 for the sake of librdkafka (KAFKA-18659)"
    )
    assert found[ApiKey.FETCH][0] == 4
    assert found[ApiKey.API_VERSIONS][0] == 0


@pytest.mark.parametrize("version", [50, 32767])
def test_an_unknown_version_is_answered_in_version_0(client: Client, version: int) -> None:
    frame = bytearray(encode_request(NAMED, 4, 77, "raw"))
    frame[2:4] = version.to_bytes(2, "big")
    client.send_bytes(bytes(frame))
    answer = client.receive(ApiVersionsResponse, 0, 77)
    assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION == 35  # type: ignore[comparison-overlap]
    assert ApiKey.API_VERSIONS in versions(answer)
    assert client.ask(NAMED, ApiVersionsResponse, 3).error_code == 0, "the connection goes on"


def test_a_client_without_a_name(client: Client) -> None:
    answer = client.ask(ApiVersionsRequest(), ApiVersionsResponse, 3)
    assert answer.error_code == ErrorCode.INVALID_REQUEST


# ---- bytes that are no request --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0",
        struct.pack(">hhih", 18, 0, 1, 9),
        struct.pack(">hhih", 999, 0, 1, -1),
        struct.pack(">hhih", ApiKey.METADATA, 99, 1, -1),
        struct.pack(">hhih", ApiKey.METADATA, 9, 1, -1) + b"\xff" * 20,
        struct.pack(">hhih", ApiKey.PRODUCE, 2, 1, -1) + bytes(20),
    ],
    ids=["empty", "one byte", "cut", "unknown API", "unknown version", "rubbish", "old version"],
)
def test_a_bad_frame_closes_its_connection_only(bootstrap: str, frame: bytes) -> None:
    with clients(bootstrap, 2) as (bad, good):
        bad.send_bytes(frame)
        assert bad.is_closed()
        assert good.ask(NAMED, ApiVersionsResponse, 3).error_code == 0


@pytest.mark.parametrize("size", [-1, 100 * 1024 * 1024 + 1, 0x7FFFFFFF, 0x48545450])
def test_a_frame_of_impossible_size(bootstrap: str, size: int) -> None:
    with clients(bootstrap, 2) as (bad, good):
        bad.send_plain(struct.pack(">i", size))
        assert bad.is_closed()
        assert good.ask(NAMED, ApiVersionsResponse, 3).error_code == 0


def test_a_request_in_pieces_and_many_at_once(client: Client) -> None:
    frame = encode_request(NAMED, 3, 5, "raw")
    whole = struct.pack(">i", len(frame)) + frame
    for at in range(len(whole)):
        client.send_plain(whole[at : at + 1])
    assert client.receive(ApiVersionsResponse, 3, 5).error_code == 0
    client.send_plain(whole * 300)
    for _ in range(300):
        client.receive(ApiVersionsResponse, 3, 5)


# ---- FindCoordinator ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(7))
def test_a_group_has_a_coordinator(client: Client, bootstrap: str, version: int) -> None:
    request = (
        FindCoordinatorRequest(coordinator_keys=["g", "h"])
        if version >= 4
        else FindCoordinatorRequest(key="g")
    )
    answer = client.ask(request, FindCoordinatorResponse, version)
    if version < 4:
        assert (answer.error_code, f"{answer.host}:{answer.port}") == (0, bootstrap)
        return
    assert [found.key for found in answer.coordinators] == ["g", "h"]
    assert {f"{found.host}:{found.port}" for found in answer.coordinators} == {bootstrap}


def test_groups_spread_over_the_nodes_and_move_when_one_dies() -> None:
    with Broker(3) as broker, Client(broker.bootstrap) as client:
        names = [f"group-{number}" for number in range(20)]
        request = FindCoordinatorRequest(coordinator_keys=names)
        before = client.ask(request, FindCoordinatorResponse, 4).coordinators
        assert {found.node_id for found in before} == {1, 2, 3}
        broker.kill(3)
        after = client.ask(request, FindCoordinatorResponse, 4).coordinators
        for old, new in zip(before, after, strict=True):
            assert new.node_id in ({1, 2} if old.node_id == 3 else {old.node_id})


def test_transactions_have_no_coordinator(broker: Broker) -> None:
    with Client(broker.bootstrap) as client:
        request = FindCoordinatorRequest(key="t", key_type=1)
        answer = client.ask(request, FindCoordinatorResponse, 3)
        assert (answer.error_code, answer.node_id) == (ErrorCode.INVALID_REQUEST, -1)


# ---- InitProducerId -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(6))
def test_every_producer_has_its_own_id(client: Client, version: int) -> None:
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
    first, second = (client.ask(request, InitProducerIdResponse, version) for _ in range(2))
    assert (first.error_code, first.producer_epoch, second.producer_epoch) == (0, 0, 0)
    assert 0 <= first.producer_id < second.producer_id


def test_a_producer_asks_for_its_next_epoch(broker: Broker) -> None:
    with Client(broker.bootstrap) as client:
        request = InitProducerIdRequest(transactional_id=None, producer_id=9, producer_epoch=3)
        answer = client.ask(request, InitProducerIdResponse, 3)
        assert (answer.producer_id, answer.producer_epoch) == (9, 4)
        request.producer_epoch = 0x7FFF - 1
        answer = client.ask(request, InitProducerIdResponse, 3)
        assert answer.producer_id != 9
        assert answer.producer_epoch == 0


def test_transactional_ids_are_refused(broker: Broker) -> None:
    with Client(broker.bootstrap) as client:
        request = InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1000)
        answer = client.ask(request, InitProducerIdResponse, 3)
        assert answer.error_code == ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


@pytest.mark.parametrize("end", ["reset by the client", "killed"])
def test_nothing_is_written_to_a_connection_that_is_gone(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Broker() as broker, Client(broker.bootstrap) as client:

        def gone(*_: object) -> None:
            if end == "killed":
                for server in broker._running()._servers.values():
                    for connection in server.connections:
                        connection.close()
            else:
                client.reset()

        broker.answer("ApiVersions", gone)
        frame = encode_request(NAMED, 4, 1, "raw")
        client.send_plain((struct.pack(">i", len(frame)) + frame) * 50)
        broker.wait_for("ApiVersions", 50)
    assert [record for record in caplog.records if record.name == "asyncio"] == []
