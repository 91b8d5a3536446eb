//! From messages to a sealed batch: one growing buffer in wire format, the header's 61 bytes reserved in front.
//!
//! Stations: accumulator (append) → batch (seal). Append runs in the caller's thread under the accumulator's lock and is
//! the hottest function of the project; seal runs outside of any lock. References: `MemoryRecordsBuilder.java`, KIP-98,
//! KIP-126 (split), KIP-360 (new sequence for a sealed batch).
//!
//! The checksum of large records is computed while they are copied (`BatchBuilder::summing`): they are in the caller's cache then.
//! Reading them later on the I/O thread, from another processor's cache, takes several times as long.

use crate::bytes::checksum::{Running, crc32c, crc32c_replace_head};
use crate::bytes::compression::codec::{Codec, Compression};
use crate::bytes::compression::compressor::Compressor;
use crate::bytes::pool::{Fit, Pool};
use crate::bytes::varint::{len_varint, len_varlong, zigzag32, zigzag64};
use crate::error::{DecodeError, EncodeError};
use crate::record::header::{
    ATTRIBUTES_AT, BatchHeader, CRC_AT, HEADER_LEN, LOG_OVERHEAD, PRODUCER_ID_AT, RECORDS_COUNT_AT,
    TRANSACTIONAL_BIT,
};

/// A header of a message: its name (UTF-8) and its value.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// Maximum length of the small fields of a record: length (5), attributes (1), timestamp delta (10), offset delta (5), key length
/// (5) and value length (5); one more, so that they can be written through a mask instead of bounds checks.
const FRONT_LEN: usize = 32;
/// Maximum length of the length of a value (5) after a key; a power of two like `FRONT_LEN`.
const MIDDLE_LEN: usize = 8;
/// Space that a record needs in a batch's buffer in addition to its own size.
pub const RECORD_SPARE: usize = FRONT_LEN + MIDDLE_LEN;
/// Bytes of the buffer that are initialized for writing at a time.
const READY_STEP: usize = 8 * 1024;

/// An open batch. The caller limits sizes: key, value and the whole record must each stay under 2 GiB.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Its bytes after `filled` are zeros or old contents of the buffer: never sent.
    buf: Vec<u8>,
    filled: usize,
    /// Number of initialized bytes.
    ready: usize,
    /// Checksum of the records up to `summed`, if the batch is sent uncompressed.
    sum: Option<Running>,
    summed: usize,
    count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// Opens a batch in `buf`, whose contents are dropped and whose capacity is used.
    pub fn with_buffer(mut buf: Vec<u8>) -> Self {
        if buf.len() < HEADER_LEN {
            buf.resize(HEADER_LEN, 0);
        }
        Self {
            ready: buf.len(),
            buf,
            filled: HEADER_LEN,
            sum: None,
            summed: HEADER_LEN,
            count: 0,
            base_timestamp_ms: -1,
            max_timestamp_ms: -1,
        }
    }

    /// Computes the checksum of records when they are appended, for a batch that is sent uncompressed. They are in this processor's
    /// cache then; when the batch is sealed they are not, and reading them would take most of the time.
    pub fn summing(mut self) -> Self {
        self.sum = Some(Running::default());
        self.ready = HEADER_LEN;
        self
    }

    /// Like `append_ready`, in a buffer that grows as needed.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> u32 {
        let size = record_size_upper_bound(key, value, headers);
        if !self.is_ready_for(size) {
            self.make_ready(size, |mut buf, least| {
                buf.reserve(least - buf.len());
                buf
            });
        }
        self.append_ready(timestamp_ms, key, value, headers)
    }

    /// Appends a record and returns its index, which is also its offset delta and its place in the sequence. The builder must be ready
    /// for its size.
    #[inline(always)]
    pub fn append_ready(
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
        let value_bytes = value.unwrap_or_default();
        let body_len = 1
            + len_varlong(timestamp_delta)
            + len_varint(index as i32)
            + len_varint(nullable_len(key))
            + key.map_or(0, <[u8]>::len)
            + len_varint(nullable_len(value))
            + value_bytes.len()
            + headers_len(headers);

        let rest = &mut self.buf[self.filled..];
        let mut front = Fields::<FRONT_LEN>::at(rest);
        front.varint(body_len as i32);
        front.byte(0);
        front.varlong(timestamp_delta);
        front.varint(index as i32);
        front.varint(nullable_len(key));
        let mut at = if let Some(key) = key {
            let at = front.len;
            let at = put(rest, at, key);
            put_varint(rest, at, nullable_len(value))
        } else {
            front.varint(nullable_len(value));
            front.len
        };
        at = put(rest, at, value_bytes);
        at = if headers.is_empty() {
            put_varint(rest, at, 0)
        } else {
            put_headers(rest, at, headers)
        };
        self.filled += at;
        self.count = index + 1;
        index
    }

    /// Whether a record of at most this size can be written without `make_ready`.
    #[inline(always)]
    pub fn is_ready_for(&self, size: usize) -> bool {
        self.ready - self.filled >= size + RECORD_SPARE
    }

    /// Makes the builder ready for a record of this size. `grow` exchanges the buffer for one of at least the given capacity, with
    /// the same contents.
    #[cold]
    pub fn make_ready(&mut self, size: usize, grow: impl FnOnce(Vec<u8>, usize) -> Vec<u8>) {
        self.sum_up();
        let needed = size + RECORD_SPARE;
        let least = self.filled + needed;
        if least > self.buf.capacity() {
            let mut small = std::mem::take(&mut self.buf);
            // Only the contents are copied, not bytes that are only initialized.
            small.truncate(self.filled);
            self.buf = grow(small, least);
        }
        let ready = (self.filled + needed.max(READY_STEP)).min(self.buf.capacity());
        if self.buf.len() < ready {
            self.buf.resize(ready, 0);
        }
        self.ready = match self.sum {
            Some(_) => ready,
            None => self.buf.len(),
        };
    }

    fn sum_up(&mut self) {
        if let Some(sum) = &mut self.sum {
            sum.update(&self.buf[self.summed..self.filled]);
            self.summed = self.filled;
        }
    }

    /// Size of the batch uncompressed, header included.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.filled
    }

    #[inline]
    pub fn capacity_bytes(&self) -> usize {
        self.buf.capacity()
    }

    /// Whether a record of at most this size needs no larger buffer.
    pub fn has_spare(&self, size: usize) -> bool {
        self.buf.capacity() - self.filled >= size + RECORD_SPARE
    }

    /// Frees the unfilled capacity.
    pub fn shrink(&mut self) {
        self.buf.truncate(self.filled);
        self.buf.shrink_to_fit();
        self.ready = self.filled;
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

    /// The buffer of a batch that is dropped.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buf
    }
}

/// Maximum size of a record, at any place in a batch.
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

/// Correct also for a field that no record could hold, so that the bound on a record's size catches it.
fn header_field_len(field: Option<&[u8]>) -> usize {
    let len = field.map_or(0, <[u8]>::len);
    len_varint(i32::try_from(len).unwrap_or(i32::MAX)) + len
}

// Each function writes from `at` on and returns its end. The buffer has space for every field and `MIDDLE_LEN` more.

#[inline(always)]
fn put(rest: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    rest[at..at + bytes.len()].copy_from_slice(bytes);
    at + bytes.len()
}

#[inline(always)]
fn put_varint(rest: &mut [u8], at: usize, v: i32) -> usize {
    let mut field = Fields::<MIDDLE_LEN>::at(&mut rest[at..]);
    field.varint(v);
    at + field.len
}

fn put_headers(rest: &mut [u8], at: usize, headers: &[HeaderRef<'_>]) -> usize {
    let mut at = put_varint(rest, at, headers.len() as i32);
    for (name, value) in headers {
        at = put_varint(rest, at, name.len() as i32);
        at = put(rest, at, name);
        at = put_varint(rest, at, nullable_len(*value));
        at = put(rest, at, value.unwrap_or_default());
    }
    at
}

/// Small fields one after the other, in at most N bytes, N a power of two.
struct Fields<'a, const N: usize> {
    bytes: &'a mut [u8; N],
    len: usize,
}

impl<'a, const N: usize> Fields<'a, N> {
    #[inline(always)]
    fn at(rest: &'a mut [u8]) -> Self {
        let Some(bytes) = rest.first_chunk_mut::<N>() else {
            unreachable!("the buffer was made ready for every field");
        };
        Self { bytes, len: 0 }
    }

    #[inline(always)]
    fn byte(&mut self, b: u8) {
        // The mask avoids the bounds check; the fields never need more than N bytes.
        self.bytes[self.len & (N - 1)] = b;
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
}

/// The producer fields of the header. `NONE` is the producer without idempotence.
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

/// A batch in wire format. Only `set_producer_fields` may still change it.
#[derive(Debug)]
pub struct SealedBatch {
    pub bytes: Vec<u8>,
    pub count: u32,
    /// Size before compression, header included.
    pub uncompressed_len: usize,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    /// The codec that was used: `None` also when compression would have made the batch larger.
    pub codec: Codec,
    /// The builder's buffer when the batch went into another one: to be returned to the pool.
    pub spare: Option<Vec<u8>>,
}

/// Tools for sealing: a thread has a compressor of its own, and all threads share the pool of buffers.
pub struct Tools<'a> {
    pub compressor: &'a mut Compressor,
    pub pool: &'a Pool,
}

/// Compresses (if that makes the batch smaller) and writes the header and the checksum, with tools for one batch.
pub fn seal(
    builder: BatchBuilder,
    codec: Codec,
    level: Option<i32>,
    producer: ProducerFields,
) -> Result<SealedBatch, EncodeError> {
    let tools = Tools {
        compressor: &mut Compressor::default(),
        pool: &Pool::default(),
    };
    seal_with(tools, builder, Compression { codec, level }, producer)
}

/// Like `seal`, with reusable tools.
pub fn seal_with(
    tools: Tools<'_>,
    mut builder: BatchBuilder,
    compression: Compression,
    producer: ProducerFields,
) -> Result<SealedBatch, EncodeError> {
    builder.sum_up();
    let BatchBuilder {
        mut buf,
        filled,
        sum,
        count,
        base_timestamp_ms,
        max_timestamp_ms,
        ..
    } = builder;
    buf.truncate(filled);
    let uncompressed_len = filled;
    let (mut bytes, spare, codec) = compress_records(tools, buf, compression)?;
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
    write_crc(&mut bytes, sum.filter(|_| codec == Codec::None));
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
    tools: Tools<'_>,
    buf: Vec<u8>,
    Compression { codec, level }: Compression,
) -> Result<Compressed, EncodeError> {
    if codec != Codec::None {
        let records = tools
            .compressor
            .compress(codec, level, &buf[HEADER_LEN..])?;
        if HEADER_LEN + records.len() < buf.len() {
            // Never a larger buffer than the old one: the charge of a batch does not grow when it is sealed.
            let fit = Fit::within(HEADER_LEN + records.len(), buf.capacity());
            let mut out = tools.pool.take_empty(fit);
            out.resize(HEADER_LEN, 0);
            out.extend_from_slice(records);
            return Ok((out, Some(buf), codec));
        }
    }
    // A few records in a large buffer: while they wait for their answer, the buffer can serve other batches.
    if buf.len() < buf.capacity() / 4 {
        let mut out = tools.pool.take_empty(Fit::about(buf.len()));
        out.extend_from_slice(&buf);
        return Ok((out, Some(buf), Codec::None));
    }
    Ok((buf, None, Codec::None))
}

/// `sum`: checksum of the records, if it is known.
fn write_crc(bytes: &mut [u8], sum: Option<Running>) {
    let crc = match sum {
        Some(sum) => sum.behind(&bytes[ATTRIBUTES_AT..HEADER_LEN]),
        None => crc32c(&bytes[ATTRIBUTES_AT..]),
    };
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// Writes producer id, epoch and sequence into a sealed batch and corrects the checksum without reading the records.
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
    let mut reader = crate::bytes::varint::Reader::new(&buf[CRC_AT..]);
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
