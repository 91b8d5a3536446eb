//! From fetched bytes to records: batches by their headers, records by index without copying.
//!
//! Stations: inbox → batch → record. No lock and no thread of its own. An uncompressed batch aliases the fetched frame, a
//! compressed one owns the decompressed bytes. References: `DefaultRecordBatch.java`, KIP-74 (cut and oversized batches).

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::bytes::checksum::crc32c;
use crate::bytes::compression::codec::Codec;
use crate::bytes::compression::decompress::decompress_into;
use crate::bytes::pool::{Fit, Pool, Pooled};
use crate::bytes::varint::Reader;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::record::header::{ATTRIBUTES_AT, BatchHeader, HEADER_LEN, LOG_OVERHEAD, TimestampType};
use crate::record::legacy;
use crate::record::span::{RecordPos, Span, read_span, span_of};

/// Buffers of decompressed batches, used again by all consumers of the process.
static OUTPUTS: LazyLock<Arc<Pool>> = LazyLock::new(Arc::default);

const MAGIC_AT: usize = 16;
/// Minimum length of a record: length, attributes, two deltas, key length, value length, header count, one byte each.
const MIN_RECORD_LEN: usize = 7;

/// A record as slices of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// A header of a record: name (UTF-8, checked) and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    pub name: &'a str,
    pub value: Option<&'a [u8]>,
}

/// A whole batch of fetched data of which only the header was read.
#[derive(Debug, Clone)]
pub struct RawBatch {
    header: BatchHeader,
    data: Bytes,
}

/// A batch with a correct checksum whose records are located. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct DecodedBatch {
    header: BatchHeader,
    data: Bytes,
    records: Arc<[RecordPos]>,
}

/// Iterates over the batches of `frame`, which must hold the records of one partition. It ends at a cut last batch or an error.
pub fn iter_batches(frame: &Bytes) -> BatchIter {
    BatchIter {
        rest: frame.clone(),
    }
}

#[derive(Debug)]
pub struct BatchIter {
    rest: Bytes,
}

impl Iterator for BatchIter {
    type Item = Result<RawBatch, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match peek_header(&self.rest) {
            Ok(Some((header, total))) => {
                let data = self.rest.split_to(total);
                Some(Ok(RawBatch { header, data }))
            }
            Ok(None) => None,
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}

/// The header and size of the first batch; `None` when there is none or it is cut.
fn peek_header(data: &[u8]) -> Result<Option<(BatchHeader, usize)>, DecodeError> {
    let Some(&magic) = data.get(MAGIC_AT) else {
        return Ok(None);
    };
    let mut reader = Reader::new(data);
    let offset = reader.i64()?;
    let length = reader.i32()?;
    let Ok(size) = usize::try_from(length) else {
        return Err(
            DecodeError::corrupt("length of a batch", "0 or more", length).at_batch(offset),
        );
    };
    let total = size.saturating_add(LOG_OVERHEAD);
    if data.len() < total {
        return Ok(None);
    }
    let header = match magic {
        0 | 1 => legacy::message_header(&data[..total]),
        _ => BatchHeader::parse(&data[..total]),
    };
    header
        .map(|header| Some((header, total)))
        .map_err(|e| e.at_batch(offset))
}

/// Summary of the headers of fetched data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderScan {
    /// The position after the last whole batch; `None` when there is no whole batch.
    pub next_offset: Option<i64>,
    pub batches: usize,
    /// Number of records by the headers; a compressed v0/v1 message counts as one.
    pub records: u64,
    /// Bytes of the whole batches.
    pub whole_bytes: usize,
}

/// Reads only batch headers, so that the next fetch can leave before anything is decoded.
pub fn scan_headers(frame: &[u8]) -> Result<HeaderScan, DecodeError> {
    let mut scan = HeaderScan::default();
    while let Some((header, total)) = peek_header(&frame[scan.whole_bytes..])? {
        scan.next_offset = Some(header.next_offset());
        scan.batches += 1;
        scan.records += u64::from(header.records_count.unsigned_abs());
        scan.whole_bytes += total;
    }
    Ok(scan)
}

impl RawBatch {
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The original bytes, header included.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Checks the stored checksum.
    pub fn check_crc(&self) -> Result<(), DecodeError> {
        if self.header.magic < 2 {
            return legacy::check_crc(&self.data);
        }
        let got = crc32c(self.data.get(ATTRIBUTES_AT..).unwrap_or_default());
        if got == self.header.crc {
            return Ok(());
        }
        Err(DecodeError::new(
            DecodeErrorKind::Checksum,
            "CRC-32C of a record batch",
            format!("{:#010x}", self.header.crc),
            format!("{got:#010x}"),
        ))
    }

    /// Checks the batch, decompresses it to at most `max_bytes`, and locates its records.
    pub fn decode(&self, max_bytes: usize) -> Result<DecodedBatch, DecodeError> {
        self.decode_with(max_bytes, true)
    }

    /// Like `decode`; the checksum only if wanted.
    pub fn decode_with(
        &self,
        max_bytes: usize,
        check_crc: bool,
    ) -> Result<DecodedBatch, DecodeError> {
        self.decode_inner(max_bytes, check_crc)
            .map_err(|e| e.at_batch(self.header.base_offset))
    }

    fn decode_inner(&self, max_bytes: usize, check_crc: bool) -> Result<DecodedBatch, DecodeError> {
        if check_crc {
            self.check_crc()?;
        }
        if self.header.magic < 2 {
            let (data, records) = legacy::decode(&self.header, &self.data, max_bytes)?;
            return Ok(DecodedBatch {
                header: self.header,
                data,
                records: records.into(),
            });
        }
        let data = self.records_section(max_bytes)?;
        let records = parse_records(&self.header, &data)?;
        Ok(DecodedBatch {
            header: self.header,
            data,
            records: records.into(),
        })
    }

    fn records_section(&self, max_bytes: usize) -> Result<Bytes, DecodeError> {
        let section = self.data.slice(HEADER_LEN.min(self.data.len())..);
        match self.header.codec()? {
            Codec::None => Ok(section),
            _ if self.header.records_count == 0 && section.is_empty() => Ok(section),
            codec => {
                let cap = max_bytes.min(i32::MAX as usize);
                // Compressed records are about a quarter of their size.
                let guess = section.len().saturating_mul(4).min(cap);
                let used = OUTPUTS.take_empty(Fit::about(guess));
                let buffer = decompress_into(codec, &section, cap, used)?;
                let pool = Arc::clone(&OUTPUTS);
                Ok(Bytes::from_owner(Pooled { buffer, pool }))
            }
        }
    }
}

fn parse_records(header: &BatchHeader, data: &[u8]) -> Result<Vec<RecordPos>, DecodeError> {
    let count = header.records_count.unsigned_abs() as usize;
    if count > data.len() / MIN_RECORD_LEN {
        return Err(DecodeError::corrupt(
            "count of records",
            format!(
                "at most {} in {} bytes",
                data.len() / MIN_RECORD_LEN,
                data.len()
            ),
            count,
        ));
    }
    let log_append =
        (header.timestamp_type() == TimestampType::LogAppend).then_some(header.max_timestamp);
    let mut records = Vec::with_capacity(count);
    let mut reader = Reader::new(data);
    let mut last_delta = -1;
    for _ in 0..count {
        let start = reader.position();
        let Some(delta) = read_record(header, &mut reader, log_append, &mut records) else {
            return Err(record_error(data, start));
        };
        if delta <= last_delta || delta > header.last_offset_delta {
            return Err(DecodeError::corrupt(
                "offset delta of a record",
                format!(
                    "{} to {}",
                    last_delta.saturating_add(1),
                    header.last_offset_delta
                ),
                delta,
            ));
        }
        last_delta = delta;
    }
    if reader.remaining() != 0 {
        return Err(DecodeError::corrupt(
            "bytes after the last record",
            "0",
            reader.remaining(),
        ));
    }
    Ok(records)
}

/// Appends the next record's position and returns its offset delta: the hottest function of consuming. `None` instead of an error
/// keeps every step in registers, and pushing at once saves a second copy.
#[inline]
fn read_record(
    header: &BatchHeader,
    reader: &mut Reader<'_>,
    log_append: Option<i64>,
    records: &mut Vec<RecordPos>,
) -> Option<i32> {
    let len = usize::try_from(reader.try_varint()?).ok()?;
    if len > reader.remaining() {
        return None;
    }
    let end = reader.position() + len;
    reader.try_skip(1)?;
    let timestamp_delta = reader.try_varlong()?;
    let delta = reader.try_varint()?;
    let key = read_span(reader)?;
    let value = read_span(reader)?;
    let start = reader.position();
    let headers_len = end.checked_sub(start).filter(|n| *n > 0)?;
    reader.try_skip(headers_len)?;
    let created = header.base_timestamp.wrapping_add(timestamp_delta);
    records.push(RecordPos {
        offset: header.base_offset.wrapping_add(i64::from(delta)),
        timestamp_ms: log_append.unwrap_or(created),
        key,
        value,
        headers: Span {
            start: start as u32,
            len: headers_len as i32,
        },
    });
    Some(delta)
}

/// Reads the record at byte `start` once more to describe its error.
#[cold]
fn record_error(data: &[u8], start: usize) -> DecodeError {
    let mut reader = Reader::new(data.get(start..).unwrap_or_default());
    let mut fields = || -> Result<i32, DecodeError> {
        let len = reader.varint()?;
        if usize::try_from(len).map_or(true, |len| len > reader.remaining()) {
            return Err(DecodeError::corrupt(
                "length of a record",
                format!("0 to {}", reader.remaining()),
                len,
            ));
        }
        reader.i8()?;
        reader.varlong()?;
        reader.varint()?;
        for _ in ["key", "value"] {
            let len = reader.varint()?;
            span_of(&mut reader, len)?;
        }
        Ok(len)
    };
    match fields() {
        Ok(len) => DecodeError::corrupt("fields of a record", "inside its length", len),
        Err(error) => error,
    }
}

impl DecodedBatch {
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn positions(&self) -> &[RecordPos] {
        &self.records
    }

    /// The bytes that the spans refer to.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Index of the first record at or after `offset`: a fetch may start inside a batch.
    pub fn first_index_at(&self, offset: i64) -> usize {
        self.records
            .partition_point(|record| record.offset < offset)
    }

    #[inline]
    pub fn slice(&self, span: Span) -> Option<&[u8]> {
        self.data.get(span.range()?)
    }

    /// The bytes of a span without copying; they retain the whole frame.
    pub fn bytes(&self, span: Span) -> Option<Bytes> {
        let range = span.range()?;
        (range.end <= self.data.len()).then(|| self.data.slice(range))
    }

    #[inline]
    pub fn record(&self, index: usize) -> Option<Record<'_>> {
        let position = self.records.get(index)?;
        Some(Record {
            offset: position.offset,
            timestamp_ms: position.timestamp_ms,
            key: self.slice(position.key),
            value: self.slice(position.value),
        })
    }

    /// The headers of a record, in order and with repeated names; none for an index past the end.
    pub fn headers(&self, index: usize) -> Result<Vec<RecordHeader<'_>>, DecodeError> {
        let Some(position) = self.records.get(index) else {
            return Ok(Vec::new());
        };
        let section = self.slice(position.headers).unwrap_or_default();
        parse_headers(section).map_err(|e| e.at_batch(self.header.base_offset))
    }
}

fn parse_headers(section: &[u8]) -> Result<Vec<RecordHeader<'_>>, DecodeError> {
    if section.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(section);
    let count = reader.varint()?;
    let most = reader.remaining() / 2;
    let count = match usize::try_from(count) {
        Ok(n) if n <= most => n,
        _ => {
            return Err(DecodeError::corrupt(
                "count of headers",
                format!("0 to {most}"),
                count,
            ));
        }
    };
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        headers.push(parse_header(&mut reader)?);
    }
    if reader.remaining() != 0 {
        return Err(DecodeError::corrupt(
            "bytes after the headers",
            "0",
            reader.remaining(),
        ));
    }
    Ok(headers)
}

fn parse_header<'a>(reader: &mut Reader<'a>) -> Result<RecordHeader<'a>, DecodeError> {
    let name_len = reader.varint()?;
    let Ok(name_len) = usize::try_from(name_len) else {
        return Err(DecodeError::corrupt(
            "name of a header",
            "not null",
            name_len,
        ));
    };
    let name = std::str::from_utf8(reader.bytes(name_len)?)
        .map_err(|error| DecodeError::corrupt("name of a header", "UTF-8", error))?;
    let value_len = reader.varint()?;
    let value = match value_len {
        -1 => None,
        n => match usize::try_from(n) {
            Ok(n) => Some(reader.bytes(n)?),
            Err(_) => {
                return Err(DecodeError::corrupt(
                    "value of a header",
                    "-1 or more",
                    value_len,
                ));
            }
        },
    };
    Ok(RecordHeader { name, value })
}
