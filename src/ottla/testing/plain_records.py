"""Record batches (magic 2) in plain, readable Python: the oracle for the codec in Rust, and the codec of the embedded broker.

A batch is a header of 61 bytes and its records. The CRC-32C covers everything behind the CRC field, from
`attributes` on, so a broker may set base offset and leader epoch without touching it. Records hold differences: offset
against the base offset, timestamp against the base timestamp, as zigzag varints. The compression codecs are in
`ottla.testing.compression`. References: KIP-98; Java: `DefaultRecordBatch`, `DefaultRecord`.

The embedded broker shares the generated message classes with the client, which golden vectors of Kafka's own classes check; it
never shares the record codec: this module is its second implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from struct import Struct

from ottla.errors import DecodeError
from ottla.testing.compression import CODECS, compress, decompress
from ottla.testing.crc32c import crc32c

Header = tuple[str, bytes | None]

HEADER_BYTES = 61
LENGTH_AT = 12
"""Bytes that `batch_length` does not count: base offset and the length itself."""
MAGIC, MAGIC_AT = 2, 16
CRC_FROM = 21
"""First byte under the CRC."""

_HEADER = Struct(">qiibIhiqqqhii")
_CODEC_BITS, _TIMESTAMP_BIT, _TRANSACTIONAL_BIT, _CONTROL_BIT = 0x07, 0x08, 0x10, 0x20


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """The header of one batch, as it stands on the wire."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return LENGTH_AT + self.batch_length

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> str:
        """Name of the compression, or its number if no codec has it."""
        number = self.attributes & _CODEC_BITS
        return CODECS[number] if number < len(CODECS) else str(number)

    @property
    def is_log_append_time(self) -> bool:
        """Whether `max_timestamp` is the broker's time and stands for every record."""
        return bool(self.attributes & _TIMESTAMP_BIT)

    @property
    def is_transactional(self) -> bool:
        """Whether the batch is part of a transaction."""
        return bool(self.attributes & _TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        """Whether the batch holds a transaction marker instead of records."""
        return bool(self.attributes & _CONTROL_BIT)


@dataclass(frozen=True, slots=True)
class Record:
    """One record with its place in the log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


def read_header(data: bytes | memoryview, pos: int = 0) -> BatchHeader:
    """Read the header of the batch at byte `pos`; the batch lies whole in `data` when this returns.

    Raises:
        DecodeError: The bytes end too early, or it is not a batch of magic 2.
    """
    if len(data) - pos < HEADER_BYTES:
        raise DecodeError(f"a batch header has {HEADER_BYTES} bytes, not {len(data) - pos}")
    header = BatchHeader(*_HEADER.unpack_from(data, pos))
    if header.magic != MAGIC:
        raise DecodeError(f"record batch of magic {header.magic}, not 2")
    if not HEADER_BYTES <= header.size <= len(data) - pos:
        raise DecodeError(f"batch of {header.size} bytes where {len(data) - pos} are left")
    if header.record_count < 0 or header.last_offset_delta < 0:
        raise DecodeError(
            f"batch of {header.record_count} records, last offset delta {header.last_offset_delta}"
        )
    return header


def check_crc(data: bytes | memoryview, header: BatchHeader, pos: int = 0) -> None:
    """Compare the CRC of the batch at `pos` with its header.

    Raises:
        DecodeError: They differ.
    """
    found = crc32c(memoryview(data)[pos + CRC_FROM : pos + header.size])
    if found != header.crc:
        raise DecodeError(f"CRC {header.crc:#010x} in the header, {found:#010x} of the bytes")


def stamp(
    header: BatchHeader, batch: bytes | memoryview, append_time_ms: int
) -> tuple[BatchHeader, bytes]:
    """Return header and batch with the broker's time, which from then on stands for every record's."""
    stamped = replace(
        header, attributes=header.attributes | _TIMESTAMP_BIT, max_timestamp=append_time_ms
    )
    data = bytearray(write_header(stamped))
    data += batch[HEADER_BYTES:]
    crc = crc32c(memoryview(data)[CRC_FROM:])
    stamped = replace(stamped, crc=crc)
    data[:HEADER_BYTES] = write_header(stamped)
    return stamped, bytes(data)


def split_batches(data: bytes | memoryview) -> Iterator[tuple[BatchHeader, bytes]]:
    """Yield each whole batch; a cut one at the end, as Fetch may return it, ends the iteration."""
    pos = 0
    while len(data) - pos >= HEADER_BYTES:
        size = LENGTH_AT + int.from_bytes(data[pos + 8 : pos + LENGTH_AT], "big")
        if pos + size > len(data):
            return
        header = read_header(data, pos)
        yield header, bytes(data[pos : pos + size])
        pos += size


def decode_batch(batch: bytes | memoryview) -> list[Record]:
    """Return the records of one batch.

    Raises:
        DecodeError: The CRC is wrong, the codec cannot be read here, or the records do not fill
            the batch exactly.
    """
    header = read_header(batch)
    check_crc(batch, header)
    payload = bytes(batch[HEADER_BYTES : header.size])
    if header.record_count or payload:
        try:
            payload = decompress(header.codec, payload)
        except ValueError as cause:
            raise DecodeError(str(cause), offset=header.base_offset) from cause
    records, pos = [], 0
    try:
        for _ in range(header.record_count):
            record, pos = _read_record(payload, pos, header)
            records.append(record)
    except (IndexError, UnicodeDecodeError) as cause:
        raise DecodeError(f"record {len(records)}: {cause}", offset=header.base_offset) from cause
    if pos != len(payload):
        raise DecodeError(f"{len(payload) - pos} bytes left over", offset=header.base_offset)
    return records


def _read_record(data: bytes, pos: int, header: BatchHeader) -> tuple[Record, int]:
    size, pos = _read_varint(data, pos)
    end = pos + size
    if size < 0 or end > len(data):
        raise IndexError(f"record of {size} bytes where {len(data) - pos} are left")
    timestamp_delta, pos = _read_varint(data, pos + 1)  # behind the attributes, which are unused
    offset_delta, pos = _read_varint(data, pos)
    key, pos = _read_bytes(data, pos)
    value, pos = _read_bytes(data, pos)
    count, pos = _read_varint(data, pos)
    headers: list[Header] = []
    for _ in range(count):
        name, pos = _read_bytes(data, pos)
        content, pos = _read_bytes(data, pos)
        if name is None:
            raise IndexError("a header without a name")
        headers.append((name.decode(), content))
    if pos != end:
        raise IndexError(f"record of {size} bytes is read to byte {pos - end + size}")
    timestamp = header.base_timestamp + timestamp_delta
    if header.is_log_append_time:
        timestamp = header.max_timestamp
    return Record(header.base_offset + offset_delta, timestamp, key, value, tuple(headers)), end


def _read_varint(data: bytes, pos: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), pos
        shift += 7
        if shift > 63:
            raise IndexError("a varint of more than ten bytes")


def _read_bytes(data: bytes, pos: int) -> tuple[bytes | None, int]:
    size, pos = _read_varint(data, pos)
    if size < 0:
        return None, pos
    if pos + size > len(data):
        raise IndexError(f"{size} bytes where {len(data) - pos} are left")
    return data[pos : pos + size], pos + size


def encode_batch(
    records: Sequence[Record],
    *,
    codec: str = "none",
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    partition_leader_epoch: int = -1,
    attributes: int = 0,
    max_timestamp: int | None = None,
) -> bytes:
    """Return one batch of the records, whose offsets rise.

    Args:
        records: At least one.
        codec: A name of `CODECS`; snappy, lz4 and zstd get their framing and do not become smaller.
        producer_id: With epoch and base sequence, of an idempotent producer.
        producer_epoch: -1 without one.
        base_sequence: Sequence of the first record.
        partition_leader_epoch: -1 until a broker sets it.
        attributes: Bits in addition to the codec.
        max_timestamp: The broker's time if the attributes demand it; None: the maximum of the records.

    Raises:
        ValueError: No records, or no such codec.
    """
    if not records:
        raise ValueError("a batch has at least one record")
    base_offset, base_timestamp = records[0].offset, records[0].timestamp
    plain = b"".join(_record(record, base_offset, base_timestamp) for record in records)
    payload = compress(codec, plain)
    header = BatchHeader(
        base_offset=base_offset,
        batch_length=HEADER_BYTES - LENGTH_AT + len(payload),
        partition_leader_epoch=partition_leader_epoch,
        magic=2,
        crc=0,
        attributes=attributes | CODECS.index(codec),
        last_offset_delta=records[-1].offset - base_offset,
        base_timestamp=base_timestamp,
        max_timestamp=(
            max(record.timestamp for record in records) if max_timestamp is None else max_timestamp
        ),
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        record_count=len(records),
    )
    batch = bytearray(write_header(header) + payload)
    batch[CRC_FROM - 4 : CRC_FROM] = crc32c(memoryview(batch)[CRC_FROM:]).to_bytes(4, "big")
    return bytes(batch)


def write_header(header: BatchHeader) -> bytes:
    """Return the 61 bytes of a header."""
    return _HEADER.pack(
        header.base_offset,
        header.batch_length,
        header.partition_leader_epoch,
        header.magic,
        header.crc,
        header.attributes,
        header.last_offset_delta,
        header.base_timestamp,
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.record_count,
    )


def _record(record: Record, base_offset: int, base_timestamp: int) -> bytes:
    body = bytearray(1)
    _write_varint(body, record.timestamp - base_timestamp)
    _write_varint(body, record.offset - base_offset)
    _write_bytes(body, record.key)
    _write_bytes(body, record.value)
    _write_headers(body, record.headers)
    out = bytearray()
    _write_varint(out, len(body))
    return bytes(out + body)


def _write_headers(out: bytearray, headers: Iterable[Header]) -> None:
    pairs = list(headers)
    _write_varint(out, len(pairs))
    for name, content in pairs:
        _write_bytes(out, name.encode())
        _write_bytes(out, content)


def _write_varint(out: bytearray, value: int) -> None:
    number = value << 1 if value >= 0 else ~(value << 1)
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _write_bytes(out: bytearray, data: bytes | None) -> None:
    _write_varint(out, -1 if data is None else len(data))
    out += data or b""
