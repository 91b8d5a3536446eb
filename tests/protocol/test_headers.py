"""Whole frames: header versions, the correlation id, and payloads of classic groups."""

from __future__ import annotations

import pytest
from golden_vectors import all_classes, versions_of

from ottla.errors import DecodeError, UnsupportedVersion
from ottla.protocol import headers
from ottla.protocol.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    decode_assignment,
    decode_subscription,
    encode_payload,
)
from ottla.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.protocol.messages.metadata import MetadataRequest, MetadataResponse
from ottla.protocol.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse
from ottla.protocol.registry import request_class
from tests.cases import for_each


@for_each(sorted(n for n in all_classes() if n.endswith("Request")))
def test_every_request_and_response_as_a_frame(name: str) -> None:
    request_type = all_classes()[name]
    response_type = all_classes()[name.removesuffix("Request") + "Response"]
    for version in versions_of(request_type):
        frame = headers.encode_request(request_type(), version, 77, "client")
        header, message = headers.decode_request(frame)
        assert (header.request_api_version, header.correlation_id) == (version, 77)
        assert (header.client_id, message) == ("client", request_type())
        assert frame[4:8] == (77).to_bytes(4, "big")
        answer = headers.encode_response(response_type(), version, 78)
        assert headers.decode_response(response_type, version, answer) == (78, response_type())


def test_header_versions() -> None:
    assert headers.request_header_version(MetadataRequest, 8) == 1
    assert headers.request_header_version(MetadataRequest, 9) == 2
    assert headers.response_header_version(MetadataResponse, 8) == 0
    assert headers.response_header_version(MetadataResponse, 9) == 1
    assert headers.request_header_version(SaslHandshakeRequest, 1) == 1
    assert headers.response_header_version(SaslHandshakeResponse, 1) == 0


def test_api_versions_response_always_has_header_0() -> None:
    for version in range(6):
        frame = headers.encode_response(ApiVersionsResponse(), version, 5)
        assert frame == (5).to_bytes(4, "big") + ApiVersionsResponse().encode(version)
    assert headers.request_header_version(ApiVersionsRequest, 3) == 2


def test_a_broker_can_answer_a_version_that_it_does_not_know() -> None:
    frame = bytearray(headers.encode_request(ApiVersionsRequest(), 3, 9, "c"))
    frame[2:4] = (99).to_bytes(2, "big")
    with pytest.raises(UnsupportedVersion):
        headers.decode_request(bytes(frame))
    header = headers.peek_request_header(bytes(frame))
    assert (header.request_api_key, header.request_api_version) == (18, 99)
    assert (header.correlation_id, header.client_id) == (9, "c")


def test_an_api_that_is_not_known() -> None:
    frame = bytearray(headers.encode_request(ApiVersionsRequest(), 3, 9))
    frame[0:2] = (52).to_bytes(2, "big")
    with pytest.raises(UnsupportedVersion, match="API key 52"):
        headers.decode_request(bytes(frame))
    with pytest.raises(UnsupportedVersion):
        request_class(999)


def test_bytes_left_over_and_frames_cut_short() -> None:
    frame = headers.encode_request(MetadataRequest(topics=[]), 12, 1, "c")
    with pytest.raises(DecodeError, match="left over"):
        headers.decode_request(frame + b"\x00")
    for end in range(len(frame)):
        with pytest.raises(DecodeError):
            headers.decode_request(frame[:end])
    answer = headers.encode_response(MetadataResponse(), 12, 1)
    with pytest.raises(DecodeError, match="left over"):
        headers.decode_response(MetadataResponse, 12, answer + b"\x00")
    for end in range(len(answer)):
        with pytest.raises(DecodeError):
            headers.decode_response(MetadataResponse, 12, answer[:end])


def test_a_frame_may_be_a_memoryview() -> None:
    frame = memoryview(headers.encode_request(MetadataRequest(topics=None), 12, 1, None))
    assert headers.decode_request(frame)[1] == MetadataRequest(topics=None)


def test_group_payloads() -> None:
    subscription = ConsumerProtocolSubscription(topics=["a", "b"], user_data=b"x")
    for version in range(4):
        payload = encode_payload(subscription, version)
        assert decode_subscription(payload) == (version, subscription)
    assignment = ConsumerProtocolAssignment(user_data=None)
    assert decode_assignment(encode_payload(assignment, 1)) == (1, assignment)
    assert decode_assignment(b"") == (0, ConsumerProtocolAssignment())


def test_group_payload_of_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    subscription = ConsumerProtocolSubscription(topics=["a"], rack_id="r")
    payload = (7).to_bytes(2, "big") + subscription.encode(3) + b"something new"
    assert decode_subscription(payload) == (7, subscription)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\xff\xff\x00\x00", b"\x00\x01\x00\x00"])
def test_group_payloads_that_are_none(payload: bytes) -> None:
    with pytest.raises(DecodeError, match="ConsumerProtocolSubscription"):
        decode_subscription(payload)
