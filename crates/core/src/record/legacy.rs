//! Message sets of magic 0 and 1, read only: every outer message is a batch, plain or with one nested set inside.
//!
//! References: `LegacyRecord.java`, `AbstractLegacyRecordBatch.java`, KIP-31 (relative inner offsets), KIP-32 (timestamps).

use bytes::Bytes;

use crate::bytes::checksum::crc32;
use crate::bytes::compression::codec::Codec;
use crate::bytes::compression::decompress::decompress;
use crate::bytes::compression::lz4::{self, HeaderChecksum};
use crate::bytes::varint::Reader;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::record::header::{
    BatchHeader, CODEC_MASK, LOG_OVERHEAD, TIMESTAMP_TYPE_BIT, TimestampType,
};
use crate::record::span::{RecordPos, Span, span_of};

const CRC_END: usize = 16;

struct Message {
    offset: i64,
    crc: u32,
    magic: i8,
    attributes: i8,
    timestamp_ms: i64,
    key: Span,
    value: Span,
}

impl Message {
    /// Codec and, from magic 1 on, the type of the timestamp.
    fn known_attributes(&self) -> i16 {
        let mask = if self.magic == 0 {
            CODEC_MASK
        } else {
            CODEC_MASK | TIMESTAMP_TYPE_BIT
        };
        i16::from(self.attributes) & mask
    }
}

/// Reads one message; spans are relative to the reader's whole slice. Nothing has checked yet that `size` lies inside of it.
fn read_message(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let offset = reader.i64()?;
    let size = reader.i32()?;
    let start = reader.position();
    let end = match usize::try_from(size) {
        Ok(n) if n <= reader.remaining() => start + n,
        _ => {
            return Err(DecodeError::corrupt(
                "size of a message",
                "the remaining bytes",
                size,
            ));
        }
    };
    let crc = reader.u32()?;
    let magic = reader.i8()?;
    if !(0..=1).contains(&magic) {
        return Err(DecodeError::new(
            DecodeErrorKind::Unsupported,
            "magic of a message",
            "0 or 1",
            magic.to_string(),
        ));
    }
    let attributes = reader.i8()?;
    let timestamp_ms = if magic == 1 { reader.i64()? } else { -1 };
    let key_len = reader.i32()?;
    let key = span_of(reader, key_len)?;
    let value_len = reader.i32()?;
    let value = span_of(reader, value_len)?;
    if reader.position() != end {
        return Err(DecodeError::corrupt(
            "fields of a message",
            "its size",
            size,
        ));
    }
    Ok(Message {
        offset,
        crc,
        magic,
        attributes,
        timestamp_ms,
        key,
        value,
    })
}

/// The header of an outer message, in the form of a batch header.
pub(super) fn message_header(data: &[u8]) -> Result<BatchHeader, DecodeError> {
    let message = read_message(&mut Reader::new(data))?;
    let header = BatchHeader {
        base_offset: message.offset,
        batch_length: (data.len() - LOG_OVERHEAD) as i32,
        partition_leader_epoch: -1,
        magic: message.magic,
        crc: message.crc,
        attributes: message.known_attributes(),
        last_offset_delta: 0,
        base_timestamp: message.timestamp_ms,
        max_timestamp: message.timestamp_ms,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: 1,
    };
    header.check_last_offset()?;
    Ok(header)
}

pub(super) fn check_crc(data: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(data.get(LOG_OVERHEAD..).unwrap_or_default());
    let expected = reader.u32()?;
    let got = crc32(data.get(CRC_END..).unwrap_or_default());
    if got == expected {
        return Ok(());
    }
    Err(DecodeError::new(
        DecodeErrorKind::Checksum,
        "CRC-32 of a message",
        format!("{expected:#010x}"),
        format!("{got:#010x}"),
    ))
}

/// The records of an outer message, and the bytes that they refer to.
pub(super) fn decode(
    header: &BatchHeader,
    data: &Bytes,
    max_bytes: usize,
) -> Result<(Bytes, Vec<RecordPos>), DecodeError> {
    let outer = read_message(&mut Reader::new(data))?;
    let codec = header.codec()?;
    if codec == Codec::None {
        return Ok((
            data.clone(),
            vec![position(&outer, outer.offset, outer.timestamp_ms)],
        ));
    }
    let start = outer.value.start as usize;
    let len = usize::try_from(outer.value.len)
        .map_err(|_| DecodeError::corrupt("compressed message", "a value", "null"))?;
    let compressed = data.slice(start..start + len);
    let cap = max_bytes.min(i32::MAX as usize);
    let inner = match (codec, outer.magic) {
        (Codec::Zstd, _) => {
            return Err(DecodeError::new(
                DecodeErrorKind::Unsupported,
                "codec of a message",
                "0 to 3",
                "4",
            ));
        }
        (Codec::Lz4, 0) => {
            let mut out = Vec::new();
            lz4::decompress(&compressed, cap, HeaderChecksum::Ignore, &mut out)?;
            out
        }
        _ => decompress(codec, &compressed, cap)?,
    };
    let records = inner_records(header, &outer, &inner)?;
    Ok((Bytes::from(inner), records))
}

fn inner_records(
    header: &BatchHeader,
    outer: &Message,
    data: &[u8],
) -> Result<Vec<RecordPos>, DecodeError> {
    let mut reader = Reader::new(data);
    let mut records: Vec<RecordPos> = Vec::new();
    while reader.remaining() > 0 {
        let start = reader.position();
        let message = read_message(&mut reader)?;
        if message.magic != outer.magic || message.attributes & 7 != 0 {
            return Err(DecodeError::corrupt(
                "message inside a compressed message",
                "uncompressed, of the same magic",
                format!("magic {}, attributes {}", message.magic, message.attributes),
            ));
        }
        check_crc(data.get(start..reader.position()).unwrap_or_default())?;
        let timestamp_ms = match header.timestamp_type() {
            TimestampType::LogAppend if outer.magic == 1 => outer.timestamp_ms,
            _ => message.timestamp_ms,
        };
        records.push(position(&message, message.offset, timestamp_ms));
    }
    place(&mut records, outer)?;
    Ok(records)
}

/// Checks that the inner offsets rise up to the wrapper's offset, which is that of the last one; makes the relative ones of magic 1
/// absolute.
fn place(records: &mut [RecordPos], outer: &Message) -> Result<(), DecodeError> {
    let Some(last) = records.last().map(|record| record.offset) else {
        return Err(DecodeError::corrupt(
            "compressed message",
            "messages",
            "none",
        ));
    };
    let rising = records.is_sorted_by(|a, b| a.offset < b.offset);
    if !rising || records[0].offset < 0 || last > outer.offset {
        return Err(DecodeError::corrupt(
            "offsets inside a compressed message",
            format!("rising up to {}", outer.offset),
            format!("{} to {last}", records[0].offset),
        ));
    }
    if outer.magic == 1 {
        let base = outer.offset - last;
        for record in records {
            record.offset += base;
        }
    }
    Ok(())
}

fn position(message: &Message, offset: i64, timestamp_ms: i64) -> RecordPos {
    // A span of length zero at the start: a message has no headers.
    let headers = Span { start: 0, len: 0 };
    RecordPos {
        offset,
        timestamp_ms,
        key: message.key,
        value: message.value,
        headers,
    }
}
