"""The record codec in Rust against its twin in plain Python: two implementations, one format."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla import _native
from ottla.errors import DecodeError
from ottla.testing import compression, plain_records
from ottla.testing.plain_records import Record

CAP = 1 << 26
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TRANSACTIONAL, CONTROL, LOG_APPEND = 0x10, 0x20, 0x08

int64 = st.integers(-(2**63), 2**63 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
int16 = st.integers(-(2**15), 2**15 - 1)
content = (
    st.none()
    | st.binary(max_size=40)
    | st.builds(bytes.__mul__, st.binary(max_size=9), st.integers(0, 300))
)
# Deltas are 64 bits on the wire; larger ones wrap in Rust and Java, which Python's integers do not model.
timestamp = (
    st.integers(1_600_000_000_000, 1_800_000_000_000) | st.just(-1) | st.integers(-(2**60), 2**60)
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
headers = st.lists(st.tuples(text, content), max_size=3)
messages = st.lists(st.tuples(timestamp, content, content, headers), min_size=1, max_size=12)
fields = st.fixed_dictionaries(
    {
        "base_offset": st.integers(0, 2**62),
        "leader_epoch": int32,
        "producer_id": int64,
        "producer_epoch": int16,
        "base_sequence": int32,
        "transactional": st.booleans(),
        "control": st.booleans(),
        "log_append_ms": st.none() | int64,
    }
)
PLAIN_FIELDS: dict[str, Any] = {
    "base_offset": 0,
    "leader_epoch": -1,
    "producer_id": -1,
    "producer_epoch": -1,
    "base_sequence": -1,
    "transactional": False,
    "control": False,
    "log_append_ms": None,
}
# pytest-randomly seeds hypothesis; a slow machine is no failure.
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Message = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def plain(sent: list[Message], codec: str, header: dict[str, Any]) -> bytes:
    """Return the batch as the twin writes it."""
    attributes = TRANSACTIONAL * header["transactional"] | CONTROL * header["control"]
    append_ms = header["log_append_ms"]
    if append_ms is not None:
        attributes |= LOG_APPEND
    return plain_records.encode_batch(
        [
            Record(header["base_offset"] + index, time, key, value, tuple(pairs))
            for index, (time, key, value, pairs) in enumerate(sent)
        ],
        codec=codec,
        producer_id=header["producer_id"],
        producer_epoch=header["producer_epoch"],
        base_sequence=header["base_sequence"],
        partition_leader_epoch=header["leader_epoch"],
        attributes=attributes,
        max_timestamp=append_ms,
    )


def native_records(data: bytes, cap: int = CAP) -> list[Record]:
    """Return the records of all batches as Rust reads them."""
    return [
        Record(offset, time, key, value, tuple(pairs))
        for _, records in _native.decode_batches(data, cap)
        for offset, time, key, value, pairs in records
    ]


def expected(sent: list[Message], header: dict[str, Any]) -> list[Record]:
    append_ms = header["log_append_ms"]
    return [
        Record(
            header["base_offset"] + index,
            time if append_ms is None else append_ms,
            key,
            value,
            tuple(pairs),
        )
        for index, (time, key, value, pairs) in enumerate(sent)
    ]


@relaxed
@given(messages, fields)
def test_uncompressed_batches_are_byte_identical(
    sent: list[Message], header: dict[str, Any]
) -> None:
    assert _native.encode_batch(sent, **header) == plain(sent, "none", header)


@pytest.mark.parametrize("codec", CODECS)
@relaxed
@given(sent=messages, header=fields)
def test_the_twin_reads_batches_of_rust(
    codec: str, sent: list[Message], header: dict[str, Any]
) -> None:
    batch = _native.encode_batch(sent, codec=codec, **header)
    assert plain_records.decode_batch(batch) == expected(sent, header)


@pytest.mark.parametrize("codec", CODECS)
@relaxed
@given(sent=messages, header=fields)
def test_rust_reads_batches_of_the_twin(
    codec: str, sent: list[Message], header: dict[str, Any]
) -> None:
    batch = plain(sent, codec, header)
    assert native_records(batch) == expected(sent, header)
    [(read, _)] = _native.decode_batches(batch, CAP)
    plain_header = plain_records.read_header(batch)
    assert read == {name: getattr(plain_header, name) for name in read}


@pytest.mark.parametrize("codec", CODECS)
@relaxed
@given(sent=messages, data=st.data())
def test_broken_batches_are_refused_by_both(
    codec: str, sent: list[Message], data: st.DataObject
) -> None:
    batch = bytearray(plain(sent, codec, PLAIN_FIELDS))
    at = data.draw(st.integers(plain_records.CRC_FROM, len(batch) - 1))
    batch[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecodeError):
        native_records(bytes(batch))
    with pytest.raises(DecodeError):
        plain_records.decode_batch(bytes(batch))


@pytest.mark.parametrize("codec", CODECS[1:])
def test_large_batches_that_compress(codec: str) -> None:
    sent: list[Message] = [
        (1_700_000_000_000 + i, b"key %d" % (i % 10), b"value of %d, " % i * 20, [])
        for i in range(3000)
    ]
    batch = _native.encode_batch(sent, codec=codec)
    assert plain_records.read_header(batch).codec == codec
    assert len(batch) < sum(len(value or b"") for _, _, value, _ in sent) / 3
    assert plain_records.decode_batch(batch) == expected(sent, PLAIN_FIELDS)
    with pytest.raises(DecodeError, match="at most 100000 bytes"):
        native_records(batch, cap=100_000)


@pytest.mark.parametrize(
    ("codec", "level"), [("gzip", 0), ("gzip", 10), ("zstd", 23), ("none?", 1)]
)
def test_unknown_codecs_and_levels_are_value_errors(codec: str, level: int) -> None:
    with pytest.raises(ValueError, match=r"codec|level"):
        _native.encode_batch([(0, None, b"x" * 100, [])], codec=codec, level=level)


@relaxed
@given(st.binary(max_size=200), st.sampled_from(CODECS))
def test_the_plain_codecs_read_their_own_output(data: bytes, codec: str) -> None:
    assert compression.can_read(codec)
    assert compression.decompress(codec, compression.compress(codec, data)) == data


@pytest.mark.parametrize("codec", CODECS[1:])
@relaxed
@given(noise=st.binary(max_size=100), data=st.data())
def test_the_plain_codecs_refuse_broken_input(
    codec: str, noise: bytes, data: st.DataObject
) -> None:
    packed = compression.compress(codec, b"some text, " * 9)
    at = data.draw(st.integers(0, len(packed)))
    for broken in (noise, packed[:at], packed[:at] + noise + packed[at:]):
        try:
            compression.decompress(codec, broken)
        except ValueError:
            continue
