"""Malformed messages of every kind raise DecodeError, and allocate nothing."""

from __future__ import annotations

import random
import tracemalloc
from contextlib import suppress

import pytest
from golden_vectors import Vector, all_classes, vectors, versions_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.errors import DecodeError, UnsupportedVersion
from ottla.protocol import headers
from ottla.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.protocol.messages.metadata import MetadataRequest, MetadataResponse
from ottla.protocol.primitives import (
    MAX_ARRAY_ELEMENTS,
    MAX_TAGS,
    read_count,
    read_nullable_struct,
    read_string,
    read_tags,
    read_uvarint,
    write_uvarint,
)
from tests.cases import for_each

MUTATIONS_PER_VERSION = 40
CUT_BYTES = 400
POISON = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x80\x80\x80\x80",
    b"\xff\xff\xff\xff\x07",
    b"\x00",
)


def _samples(name: str) -> dict[int, Vector]:
    """Return the fullest vector of each version that is not too long to be cut at every byte."""
    found: dict[int, Vector] = {}
    for vector in sorted(vectors()[name], key=lambda vector: len(vector.data)):
        if len(vector.data) <= CUT_BYTES or vector.version not in found:
            found[vector.version] = vector
    return found


@for_each(sorted(all_classes()))
def test_truncated_anywhere(name: str) -> None:
    cls = all_classes()[name]
    for version, vector in _samples(name).items():
        for end in range(len(vector.data)):
            with pytest.raises(DecodeError):
                cls.decode(vector.data[:end], version)


@for_each(sorted(all_classes()))
def test_bytes_left_over(name: str) -> None:
    for version, vector in _samples(name).items():
        with pytest.raises(DecodeError, match="left over"):
            all_classes()[name].decode(vector.data + b"\x00", version)


@for_each(sorted(all_classes()))
def test_damaged_bytes_decode_or_raise_decode_error(name: str) -> None:
    cls = all_classes()[name]
    for version in versions_of(cls):
        chance = random.Random(f"{name} {version}")
        originals = [vector for vector in vectors()[name] if vector.version == version]
        for _ in range(MUTATIONS_PER_VERSION):
            data = bytearray(chance.choice(originals).data)
            place = chance.randrange(len(data) + 1)
            poison = chance.choice((*POISON, chance.randbytes(chance.randint(1, 4))))
            data[place : place + len(poison)] = poison
            with suppress(DecodeError):
                cls.decode(bytes(data), version)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(sorted(all_classes())), st.integers(0, 18), st.binary(max_size=200))
def test_random_bytes(name: str, version: int, data: bytes) -> None:
    cls = all_classes()[name]
    with suppress(DecodeError):
        cls.decode(data, min(max(version, cls.MIN_VERSION), cls.MAX_VERSION))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=60), st.integers(0, 94), st.integers(0, 13))
def test_random_frames(tail: bytes, api_key: int, version: int) -> None:
    frame = api_key.to_bytes(2, "big") + version.to_bytes(2, "big") + tail
    with suppress(DecodeError, UnsupportedVersion):
        headers.decode_request(frame)


@pytest.mark.parametrize("flexible", [False, True])
@pytest.mark.parametrize("count", [2**31 - 2, 1_000_001, 5_000, 500])
def test_a_count_is_checked_before_anything_is_allocated(flexible: bool, count: int) -> None:
    data = bytearray(b"\x00\x00\x00\x00")  # throttle_time_ms, then the count of brokers
    if flexible:
        write_uvarint(data, count + 1)
    else:
        data += count.to_bytes(4, "big")
    data += bytes(1000)
    tracemalloc.start()
    with pytest.raises(DecodeError, match="count"):
        MetadataResponse.decode(bytes(data), 12 if flexible else 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_more_elements_than_java_takes() -> None:
    padding = bytes(MAX_ARRAY_ELEMENTS + 1)
    count = (MAX_ARRAY_ELEMENTS + 1).to_bytes(4, "big")
    with pytest.raises(DecodeError, match="is over"):
        read_count(count + padding, 0, False, 1)
    exact = MAX_ARRAY_ELEMENTS.to_bytes(4, "big")
    assert read_count(exact + padding, 0, False, 1) == (MAX_ARRAY_ELEMENTS, 4)


def test_negative_lengths_and_counts() -> None:
    for bad in (b"\xff\xfe", b"\x80\x00"):
        with pytest.raises(DecodeError, match="negative length"):
            read_string(bad, 0, False)
    with pytest.raises(DecodeError, match="negative count"):
        read_count(b"\xff\xff\xff\xfe", 0, False, 1)


def test_a_string_over_32767_bytes() -> None:
    data = bytearray()
    write_uvarint(data, 32768 + 1)
    with pytest.raises(DecodeError, match="32768"):
        read_string(bytes(data) + b"x" * 32768, 0, True)
    longest = bytearray()
    write_uvarint(longest, 32767 + 1)
    assert len(read_string(bytes(longest) + b"x" * 32767, 0, True)[0]) == 32767


def test_a_string_that_is_not_utf8() -> None:
    with pytest.raises(DecodeError, match=r"ApiVersionsRequest version 3.*utf-8"):
        ApiVersionsRequest.decode(b"\x02\xff\x02a\x00", 3)


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff\x08", b"\x80\x80\x80\x80\x80\x01", b"\xff" * 5, b"\x80" * 10]
)
def test_a_varint_over_31_bits(data: bytes) -> None:
    with pytest.raises(DecodeError, match="varint"):
        read_uvarint(data, 0)


@pytest.mark.parametrize(
    ("section", "text"),
    [
        (b"\x02\x05\x00\x05\x00", "tag 5 after tag 5"),
        (b"\x02\x05\x00\x04\x00", "tag 4 after tag 5"),
        (b"\x01\x05\x09\x00", "tag 5 of 9 bytes"),
        (b"\x7f\x05\x00", "127 tags"),
    ],
)
def test_a_tag_section_out_of_order_or_too_long(section: bytes, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        read_tags(section, 0)


def test_more_tags_than_java_takes() -> None:
    section = bytearray()
    write_uvarint(section, MAX_TAGS + 1)
    for tag in range(MAX_TAGS + 1):
        write_uvarint(section, tag)
        section.append(0)
    with pytest.raises(DecodeError, match="10001 tags"):
        read_tags(bytes(section), 0)


def test_a_tagged_field_shorter_than_its_payload() -> None:
    whole = ApiVersionsResponse(zk_migration_ready=True).encode(3)
    assert whole.endswith(b"\x01\x03\x01\x01")
    longer = whole[:-2] + b"\x02\x01\x00"
    with pytest.raises(DecodeError, match="tag 3 has 2 bytes, of which its field takes 1"):
        ApiVersionsResponse.decode(longer, 3)


def test_null_where_none_is_allowed() -> None:
    with pytest.raises(DecodeError, match="null where none is allowed"):
        MetadataRequest.decode(b"\xff\xff\xff\xff", 0)
    assert MetadataRequest.decode(b"\xff\xff\xff\xff", 1).topics is None
    assert read_nullable_struct(b"\x80", 0, 0, MetadataResponse._read) == (None, 1)
