"""Offset of the error code in a heartbeat response, in every version."""

from __future__ import annotations

import struct

import pytest

from ottla.consumer.group.beat import error_offset
from ottla.protocol.headers import encode_response
from ottla.protocol.messages.heartbeat import HeartbeatResponse


@pytest.mark.parametrize(
    "version", range(HeartbeatResponse.MIN_VERSION, HeartbeatResponse.MAX_VERSION + 1)
)
def test_error_offset_is_where_the_code_is(version: int) -> None:
    frame = encode_response(HeartbeatResponse(error_code=27), version, 77)
    assert struct.unpack_from(">h", frame, error_offset(version)) == (27,)
