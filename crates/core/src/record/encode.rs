//! From messages to a sealed batch: one growing buffer in wire format, the header's 61 bytes reserved in front.
//!
//! Stations: accumulator (append) → batch (seal). Append runs in the caller's thread under the accumulator's lock and is
//! the hottest function of the project; seal runs outside of any lock. References: `MemoryRecordsBuilder.java`, KIP-98,
//! KIP-126 (split), KIP-360 (new sequence for a sealed batch).

use crate::checksum::{crc32c, crc32c_replace_head};
use crate::compression::{self, Codec};
use crate::error::{DecodeError, EncodeError};
use crate::record::header::{
    ATTRIBUTES_AT, BatchHeader, CRC_AT, HEADER_LEN, LOG_OVERHEAD, PRODUCER_ID_AT, RECORDS_COUNT_AT,
    TRANSACTIONAL_BIT,
};
use crate::varint::{len_varint, write_varint, zigzag32, zigzag64};

/// A header of a message: its name (UTF-8) and its value.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// Length (5), attributes (1), timestamp delta (10), offset delta (5), key length (5), value length (5), and room so
/// that the array is copied in whole vectors.
const PREFIX_LEN: usize = 32;
/// The most that a record's length takes.
const LENGTH_LEN: usize = 5;

/// An open batch. Sizes are the caller's to limit: key, value and all of a record must each stay under 2 GiB.
#[derive(Debug)]
pub struct BatchBuilder {
    buf: Vec<u8>,
    count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// An open batch over `buf`, whose content is dropped and whose capacity is kept.
    pub fn with_buffer(mut buf: Vec<u8>) -> Self {
        buf.clear();
        buf.resize(HEADER_LEN, 0);
        Self {
            buf,
            count: 0,
            base_timestamp_ms: -1,
            max_timestamp_ms: -1,
        }
    }

    /// Appends a record and returns its index, which is its offset delta and its place in the sequence.
    #[inline(always)]
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> u32 {
        let index = self.count;
        if index == 0 {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        } else if timestamp_ms > self.max_timestamp_ms {
            self.max_timestamp_ms = timestamp_ms;
        }
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        let mut front = Prefix::after_length();
        front.byte(0);
        front.varlong(timestamp_delta);
        front.varint(index as i32);
        front.varint(nullable_len(key));
        let mut middle = Prefix::new();
        let behind_key = if key.is_some() {
            &mut middle
        } else {
            &mut front
        };
        behind_key.varint(nullable_len(value));
        let body_len = front.len() - LENGTH_LEN
            + key.map_or(0, <[u8]>::len)
            + middle.len()
            + value.map_or(0, <[u8]>::len)
            + headers_len(headers);
        self.buf.reserve(2 * PREFIX_LEN + body_len);

        front.flush_with_length(body_len as i32, &mut self.buf);
        if let Some(key) = key {
            self.buf.extend_from_slice(key);
            middle.flush(&mut self.buf);
        }
        if let Some(value) = value {
            self.buf.extend_from_slice(value);
        }
        if headers.is_empty() {
            self.buf.push(0);
        } else {
            write_headers(&mut self.buf, headers);
        }
        self.count = index + 1;
        index
    }

    /// Bytes of the batch as it would be sent uncompressed.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.buf.len()
    }

    #[inline]
    pub fn capacity_bytes(&self) -> usize {
        self.buf.capacity()
    }

    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Timestamp of the first record in ms; -1 while there is none.
    #[inline]
    pub fn base_timestamp(&self) -> i64 {
        self.base_timestamp_ms
    }

    #[inline]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp_ms
    }

    /// The buffer of a batch that is given up.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buf
    }
}

/// Bytes that a record can take at most, whatever its place in a batch.
#[inline]
pub fn record_size_upper_bound(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[HeaderRef<'_>],
) -> usize {
    5 + 1
        + 10
        + 5
        + 5
        + key.map_or(0, <[u8]>::len)
        + 5
        + value.map_or(0, <[u8]>::len)
        + headers_len(headers)
}

#[inline]
fn nullable_len(field: Option<&[u8]>) -> i32 {
    field.map_or(-1, |f| f.len() as i32)
}

#[inline]
fn headers_len(headers: &[HeaderRef<'_>]) -> usize {
    if headers.is_empty() {
        return 1;
    }
    let fields: usize = headers
        .iter()
        .map(|(name, value)| header_field_len(Some(name)) + header_field_len(*value))
        .sum();
    len_varint(headers.len() as i32) + fields
}

/// Also right for a field that no record could hold, so that the bound on a record's size catches it.
fn header_field_len(field: Option<&[u8]>) -> usize {
    let len = field.map_or(0, <[u8]>::len);
    len_varint(i32::try_from(len).unwrap_or(i32::MAX)) + len
}

fn write_headers(buf: &mut Vec<u8>, headers: &[HeaderRef<'_>]) {
    write_varint(buf, headers.len() as i32);
    for (name, value) in headers {
        write_varint(buf, name.len() as i32);
        buf.extend_from_slice(name);
        write_varint(buf, nullable_len(*value));
        buf.extend_from_slice(value.unwrap_or_default());
    }
}

/// The small fields of a record, collected on the stack and copied as one block of constant size.
struct Prefix {
    bytes: [u8; BLOCK_LEN],
    len: usize,
}

/// What a block is copied from: a prefix that starts at most `LENGTH_LEN` bytes in.
const BLOCK_LEN: usize = 64;

impl Prefix {
    #[inline(always)]
    fn new() -> Self {
        Self {
            bytes: [0; BLOCK_LEN],
            len: 0,
        }
    }

    /// With room in front for the length of what follows, which is known last.
    #[inline(always)]
    fn after_length() -> Self {
        Self {
            bytes: [0; BLOCK_LEN],
            len: LENGTH_LEN,
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn byte(&mut self, b: u8) {
        // The mask keeps the bounds check away; all fields together never need more than 31 bytes.
        self.bytes[self.len & (BLOCK_LEN - 1)] = b;
        self.len += 1;
    }

    #[inline(always)]
    fn varint(&mut self, v: i32) {
        let mut v = zigzag32(v);
        while v >= 0x80 {
            self.byte(v as u8 | 0x80);
            v >>= 7;
        }
        self.byte(v as u8);
    }

    #[inline(always)]
    fn varlong(&mut self, v: i64) {
        let mut v = zigzag64(v);
        while v >= 0x80 {
            self.byte(v as u8 | 0x80);
            v >>= 7;
        }
        self.byte(v as u8);
    }

    #[inline(always)]
    fn flush(&self, buf: &mut Vec<u8>) {
        let end = buf.len() + self.len;
        buf.extend_from_slice(&self.bytes[..PREFIX_LEN]);
        buf.truncate(end);
    }

    /// Of a prefix made by `after_length`.
    #[inline(always)]
    fn flush_with_length(&mut self, length: i32, buf: &mut Vec<u8>) {
        let end = self.len;
        let start = LENGTH_LEN.saturating_sub(len_varint(length));
        self.len = start;
        self.varint(length);
        let total = buf.len() + end - start;
        buf.extend_from_slice(&self.bytes[start..start + PREFIX_LEN]);
        buf.truncate(total);
    }
}

/// Who produces, for the header. `NONE` is the producer without idempotence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerFields {
    pub producer_id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
    pub transactional: bool,
}

impl ProducerFields {
    pub const NONE: Self = Self {
        producer_id: -1,
        epoch: -1,
        base_sequence: -1,
        transactional: false,
    };
}

/// A batch as it goes to the wire. Only `set_producer_fields` may still change it.
#[derive(Debug)]
pub struct SealedBatch {
    pub bytes: Vec<u8>,
    pub count: u32,
    /// Size before compression, header included.
    pub uncompressed_len: usize,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    /// What was used: `None` also when compression would have made the batch larger.
    pub codec: Codec,
    /// The builder's buffer when the batch was compressed into another one: for the pool.
    pub spare: Option<Vec<u8>>,
}

/// Compresses (when that makes it smaller), writes the header and the checksum.
pub fn seal(
    builder: BatchBuilder,
    codec: Codec,
    level: Option<i32>,
    producer: ProducerFields,
) -> Result<SealedBatch, EncodeError> {
    let BatchBuilder {
        buf,
        count,
        base_timestamp_ms,
        max_timestamp_ms,
    } = builder;
    let uncompressed_len = buf.len();
    let (mut bytes, spare, codec) = compress_records(buf, codec, level)?;
    let batch_length = i32::try_from(bytes.len() - LOG_OVERHEAD)
        .map_err(|_| EncodeError::TooLarge { bytes: bytes.len() })?;
    let transactional = if producer.transactional {
        TRANSACTIONAL_BIT
    } else {
        0
    };
    let header = BatchHeader {
        base_offset: 0,
        batch_length,
        partition_leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: codec.id() | transactional,
        last_offset_delta: (count as i32).saturating_sub(1).max(0),
        base_timestamp: base_timestamp_ms,
        max_timestamp: max_timestamp_ms,
        producer_id: producer.producer_id,
        producer_epoch: producer.epoch,
        base_sequence: producer.base_sequence,
        records_count: count as i32,
    };
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    write_crc(&mut bytes);
    Ok(SealedBatch {
        bytes,
        count,
        uncompressed_len,
        base_timestamp_ms,
        max_timestamp_ms,
        codec,
        spare,
    })
}

type Compressed = (Vec<u8>, Option<Vec<u8>>, Codec);

fn compress_records(
    buf: Vec<u8>,
    codec: Codec,
    level: Option<i32>,
) -> Result<Compressed, EncodeError> {
    if codec == Codec::None {
        return Ok((buf, None, Codec::None));
    }
    let mut out = Vec::with_capacity(HEADER_LEN + buf.len() / 2);
    out.resize(HEADER_LEN, 0);
    compression::compress(codec, level, &buf[HEADER_LEN..], &mut out)?;
    if out.len() < buf.len() {
        Ok((out, Some(buf), codec))
    } else {
        Ok((buf, Some(out), Codec::None))
    }
}

fn write_crc(bytes: &mut [u8]) {
    let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// Gives a sealed batch its producer id, epoch and sequence, and corrects the checksum without reading the records.
pub fn set_producer_fields(
    buf: &mut [u8],
    producer_id: i64,
    epoch: i16,
    base_sequence: i32,
) -> Result<(), DecodeError> {
    if buf.len() < HEADER_LEN {
        return Err(DecodeError::truncated(
            "header of a record batch",
            HEADER_LEN,
            buf.len(),
        ));
    }
    let mut reader = crate::varint::Reader::new(&buf[CRC_AT..]);
    let old_crc = reader.u32()?;
    let mut old_head = [0; RECORDS_COUNT_AT - ATTRIBUTES_AT];
    old_head.copy_from_slice(&buf[ATTRIBUTES_AT..RECORDS_COUNT_AT]);
    let fields = &mut buf[PRODUCER_ID_AT..RECORDS_COUNT_AT];
    fields[..8].copy_from_slice(&producer_id.to_be_bytes());
    fields[8..10].copy_from_slice(&epoch.to_be_bytes());
    fields[10..].copy_from_slice(&base_sequence.to_be_bytes());
    let new_head = &buf[ATTRIBUTES_AT..RECORDS_COUNT_AT];
    let crc = crc32c_replace_head(old_crc, &old_head, new_head, buf.len() - RECORDS_COUNT_AT);
    buf[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}
