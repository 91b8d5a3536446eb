//! Records as owned values, batches out of them and back.

use bytes::Bytes;
use ottla_core::bytes::checksum::crc32c;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::error::{DecodeError, EncodeError};
use ottla_core::record::encode::HeaderRef;
use ottla_core::record::{
    BatchBuilder, BatchHeader, DecodedBatch, HEADER_LEN, ProducerFields, SealedBatch, iter_batches,
    seal,
};

pub const CAP: usize = 64 << 20;
pub const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Gzip,
    Codec::Snappy,
    Codec::Lz4,
    Codec::Zstd,
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rec {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Rec {
    pub fn of(offset: i64, value: &[u8]) -> Self {
        Self {
            offset,
            timestamp_ms: 1_700_000_000_000 + offset,
            key: Some(format!("key {offset}").into_bytes()),
            value: Some(value.to_vec()),
            headers: Vec::new(),
        }
    }
}

/// `count` records whose values compress well.
pub fn sample(count: usize) -> Vec<Rec> {
    (0..count)
        .map(|i| Rec::of(i as i64, format!("value {} ", i % 7).repeat(8).as_bytes()))
        .collect()
}

pub fn builder(records: &[Rec]) -> BatchBuilder {
    let mut builder = BatchBuilder::with_buffer(Vec::new());
    for record in records {
        let headers: Vec<HeaderRef<'_>> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_deref()))
            .collect();
        builder.append(
            record.timestamp_ms,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder
}

pub fn sealed(records: &[Rec], codec: Codec) -> SealedBatch {
    seal(builder(records), codec, None, ProducerFields::NONE).expect("seals")
}

/// The one batch of `bytes`, decoded.
pub fn decode(bytes: &[u8]) -> Result<DecodedBatch, DecodeError> {
    let frame = Bytes::copy_from_slice(bytes);
    let mut batches = iter_batches(&frame);
    let raw = batches.next().expect("a whole batch")?;
    raw.decode(CAP)
}

/// Every record of a batch, read through every method.
pub fn records_of(batch: &DecodedBatch) -> Result<Vec<Rec>, DecodeError> {
    (0..batch.len())
        .map(|index| {
            let record = batch.record(index).expect("inside the length");
            let headers = batch.headers(index)?;
            let position = batch.positions()[index];
            let key = batch.bytes(position.key);
            assert_eq!(key.as_deref(), record.key);
            Ok(Rec {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers
                    .iter()
                    .map(|h| (h.name.to_owned(), h.value.map(<[u8]>::to_vec)))
                    .collect(),
            })
        })
        .collect()
}

pub fn round_trip(bytes: &[u8]) -> Vec<Rec> {
    records_of(&decode(bytes).expect("decodes")).expect("headers")
}

/// Reads everything in `frame`; the content does not matter here, only that the reading ends.
pub fn read_everything(frame: &[u8], cap: usize) -> usize {
    let frame = Bytes::copy_from_slice(frame);
    let mut records = 0;
    for batch in iter_batches(&frame).flatten() {
        if let Ok(batch) = batch.decode(cap) {
            records += records_of(&batch).map_or(0, |records| records.len());
        }
    }
    records
}

/// The batch with another header, its checksum and length right.
pub fn with_header(bytes: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(bytes).expect("a header");
    change(&mut header);
    with_raw_header(header, &bytes[HEADER_LEN..])
}

/// A batch of this header and these records, its checksum and length right.
pub fn with_raw_header(mut header: BatchHeader, records: &[u8]) -> Vec<u8> {
    header.batch_length = (HEADER_LEN - 12 + records.len()) as i32;
    let mut out = header.to_bytes().to_vec();
    out.extend_from_slice(records);
    fix_crc(&mut out);
    out
}

pub fn fix_crc(batch: &mut [u8]) {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Bytes that look random, always the same.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Appends `src` compressed to `dst`, like `Compressor::compress`.
pub fn compress(
    codec: Codec,
    level: Option<i32>,
    src: &[u8],
    dst: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut compressor = Compressor::default();
    dst.extend_from_slice(compressor.compress(codec, level, src)?);
    Ok(())
}
