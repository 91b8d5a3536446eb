"""ApiVersions: newest first, then what the broker offers, then version 0; never in a circle."""

from __future__ import annotations

import pytest

from ottla.errors import DecodeError, KafkaError, UnsupportedVersion
from ottla.protocol.headers import encode_response
from ottla.protocol.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.protocol.messages.api_versions import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from ottla.protocol.messages.init_producer_id import InitProducerIdRequest
from ottla.protocol.messages.metadata import MetadataRequest
from ottla.wire.throttle import mute_seconds
from ottla.wire.versions import (
    Agreed,
    AskAgain,
    Negotiation,
    VersionRange,
    choose,
    hello,
    own_range,
)

SPOKEN = [
    ApiVersion(api_key=3, min_version=0, max_version=9),
    ApiVersion(api_key=18, min_version=0, max_version=2),
]


def frame(version: int, error: int = 0, keys: list[ApiVersion] | None = None) -> bytes:
    spoken = SPOKEN if keys is None else keys
    return encode_response(ApiVersionsResponse(error_code=error, api_keys=spoken), version, 7)


def test_an_answer_in_the_version_asked_for() -> None:
    step = Negotiation().step(frame(4))
    assert isinstance(step, Agreed)
    assert step.versions[3] == VersionRange(0, 9)


def test_an_old_broker_answers_in_version_0_and_offers_its_own() -> None:
    negotiation = Negotiation()
    assert negotiation.step(frame(0, 35)) == AskAgain(2)
    assert isinstance(negotiation.step(frame(2)), Agreed)


def test_an_older_one_offers_nothing() -> None:
    negotiation = Negotiation()
    assert negotiation.step(frame(0, 35, [])) == AskAgain(0)
    assert isinstance(negotiation.step(frame(0)), Agreed)


def test_a_broker_that_refuses_its_own_offer_is_not_asked_for_ever() -> None:
    negotiation = Negotiation()
    boast = frame(0, 35, [ApiVersion(api_key=18, min_version=0, max_version=99)])
    asked = [negotiation.version]
    for _ in range(4):
        step = negotiation.step(boast)
        assert isinstance(step, AskAgain)
        asked.append(step.version)
    assert asked == [4, 3, 2, 1, 0]
    with pytest.raises(UnsupportedVersion):
        negotiation.step(boast)


def test_an_answer_in_the_old_layout_without_an_error_is_read_too() -> None:
    step = Negotiation().step(frame(0))
    assert isinstance(step, Agreed)
    assert step.versions[18] == VersionRange(0, 2)


def test_other_errors_and_junk_are_raised() -> None:
    with pytest.raises(KafkaError, match="INVALID_REQUEST"):
        Negotiation().step(frame(4, 42))
    for junk in (b"", b"\0\0\0\1", b"HTTP/1.1 400 Bad Request"):
        with pytest.raises(DecodeError):
            Negotiation().step(junk)


def test_the_client_names_itself_in_letters_that_brokers_accept() -> None:
    import re

    name = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
    request = hello()
    assert name.fullmatch(request.client_software_name)
    assert name.fullmatch(request.client_software_version)


def test_hidden_and_brokers_own_versions_are_not_used() -> None:
    assert own_range(InitProducerIdRequest) == VersionRange(0, 5)
    assert own_range(AddPartitionsToTxnRequest).high == 3
    assert own_range(ApiVersionsRequest) == VersionRange(0, 5)


def test_the_newest_common_version_is_chosen_or_both_ranges_are_named() -> None:
    assert choose(MetadataRequest, {3: VersionRange(0, 9)}) == 9
    assert choose(MetadataRequest, {3: VersionRange(5, 99)}) == 13
    with pytest.raises(UnsupportedVersion, match="supports 14-20, this client 0-13"):
        choose(MetadataRequest, {3: VersionRange(14, 20)})
    with pytest.raises(UnsupportedVersion, match="does not support MetadataRequest"):
        choose(MetadataRequest, {})


@pytest.mark.parametrize(
    ("api_key", "version", "throttle_ms", "seconds"),
    [
        (0, 5, 100, 0),
        (0, 6, 100, 0.1),
        (1, 7, 100, 0),
        (3, 6, 250, 0.25),
        (99, 0, 5, 0),
        (99, 1, 5, 0.005),
        (0, 9, -1, 0),
    ],
)
def test_silence_is_owed_from_certain_versions_on(
    api_key: int, version: int, throttle_ms: int, seconds: float
) -> None:
    assert mute_seconds(api_key, version, throttle_ms) == pytest.approx(seconds)
