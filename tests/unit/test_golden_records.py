"""Record batches and message sets as Kafka's own classes write them: read the same, and written the same.

`make golden` makes the vectors (tools/golden_records).
"""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

from ottla import _native
from ottla.testing import plain_records
from ottla.testing.compression import CODECS
from ottla.testing.crc32c import crc32c
from ottla.testing.plain_records import Record
from tests.cases import for_each

VECTORS = Path(__file__).parent / "golden_records" / "vectors.jsonl.xz"
CAP = 1 << 26
TRANSACTIONAL, CONTROL, LOG_APPEND, DELETE_HORIZON = 0x10, 0x20, 0x08, 0x40

Case = dict[str, Any]


@cache
def cases() -> list[Case]:
    lines = lzma.decompress(VECTORS.read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]


def named(*, magic: int | None = None, codec: str | None = None) -> list[Case]:
    """Return the cases of a magic and codec."""
    return [
        case
        for case in cases()
        if magic in (None, case["batches"][0]["magic"])
        and codec in (None, case["batches"][0]["codec"])
    ]


def unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def records_of(batch: Case) -> list[Record]:
    """Return what Kafka's reader found."""
    return [
        Record(offset, time, unhex(key), unhex(value), tuple((name, unhex(v)) for name, v in pairs))
        for offset, time, key, value, pairs in batch["records"]
    ]


def attributes_of(batch: Case) -> int:
    """Return the attributes without the codec."""
    return int(
        TRANSACTIONAL * batch["transactional"]
        | CONTROL * batch["control"]
        | LOG_APPEND * batch["log_append"]
        | DELETE_HORIZON * batch["delete_horizon"]
    )


def test_there_are_cases_of_every_codec_and_magic() -> None:
    found = {(batch["magic"], batch["codec"]) for case in cases() for batch in case["batches"]}
    codecs = ("none", "gzip", "snappy", "lz4")
    assert found == {(m, codec) for m in (0, 1, 2) for codec in codecs} | {(2, "zstd")}


@for_each(named())
def test_rust_reads_batches_of_kafka(case: Case) -> None:
    read = _native.decode_batches(bytes.fromhex(case["bytes"]), CAP)
    assert len(read) == len(case["batches"])
    for (header, records), batch in zip(read, case["batches"], strict=True):
        found = [
            Record(offset, time, key, value, tuple(pairs))
            for offset, time, key, value, pairs in records
        ]
        assert found == records_of(batch)
        assert header["magic"] == batch["magic"]
        assert header["crc"] == batch["crc"]
        assert header["batch_length"] + 12 == batch["size"]
        assert header["base_offset"] + header["last_offset_delta"] + 1 == batch["next_offset"]
        assert bool(header["attributes"] & LOG_APPEND) == batch["log_append"]
        assert CODECS[header["attributes"] & 7] == batch["codec"]


@for_each(named(magic=2))
def test_headers_are_kafkas(case: Case) -> None:
    [(header, records)] = _native.decode_batches(bytes.fromhex(case["bytes"]), CAP)
    [batch] = case["batches"]
    assert header["attributes"] & ~7 == attributes_of(batch)
    assert header["partition_leader_epoch"] == batch["leader_epoch"]
    assert header["record_count"] == len(records)
    for field in ("base_offset", "max_timestamp", "producer_id", "producer_epoch", "base_sequence"):
        assert header[field] == batch[field]


@for_each(named(magic=2))
def test_the_plain_twin_reads_batches_of_kafka(case: Case) -> None:
    [(header, data)] = plain_records.split_batches(bytes.fromhex(case["bytes"]))
    assert plain_records.decode_batch(data) == records_of(case["batches"][0])
    assert header.crc == case["batches"][0]["crc"]


def is_as_produced(case: Case) -> bool:
    return "compacted" not in case["name"]


UNCOMPRESSED = [case for case in named(magic=2, codec="none") if is_as_produced(case)]


@for_each(UNCOMPRESSED)
def test_both_write_the_bytes_that_kafka_writes(case: Case) -> None:
    wanted = bytes.fromhex(case["bytes"])
    [batch] = case["batches"]
    records = records_of(batch)
    if batch["log_append"]:
        # Only the bytes have the time of the producer: read it without the broker's time.
        records = created_times(wanted, records)
    plain = plain_records.encode_batch(
        records,
        producer_id=batch["producer_id"],
        producer_epoch=batch["producer_epoch"],
        base_sequence=batch["base_sequence"],
        partition_leader_epoch=batch["leader_epoch"],
        attributes=attributes_of(batch),
        max_timestamp=batch["max_timestamp"],
    )
    native = _native.encode_batch(
        [(record.timestamp, record.key, record.value, record.headers) for record in records],
        base_offset=batch["base_offset"],
        leader_epoch=batch["leader_epoch"],
        producer_id=batch["producer_id"],
        producer_epoch=batch["producer_epoch"],
        base_sequence=batch["base_sequence"],
        transactional=batch["transactional"],
        control=batch["control"],
        log_append_ms=batch["max_timestamp"] if batch["log_append"] else None,
    )
    assert plain == wanted
    assert native == wanted


def created_times(batch: bytes, records: list[Record]) -> list[Record]:
    """Return the records with the times that the producer gave them."""
    header = plain_records.read_header(batch)
    without = bytearray(batch)
    without[22] &= ~LOG_APPEND
    crc = crc32c(bytes(without[plain_records.CRC_FROM : header.size]))
    without[17:21] = crc.to_bytes(4, "big")
    created = plain_records.decode_batch(bytes(without))
    assert [record.offset for record in created] == [record.offset for record in records]
    return created
