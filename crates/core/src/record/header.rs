//! The fixed 61 bytes in front of a batch of magic 2, and the places of its fields.

use crate::bytes::compression::codec::Codec;
use crate::bytes::varint::Reader;
use crate::error::{DecodeError, DecodeErrorKind};

pub const HEADER_LEN: usize = 61;
/// Length of the offset and length fields, which `batchLength` does not count.
pub const LOG_OVERHEAD: usize = 12;
pub const CRC_AT: usize = 17;
/// Start of the bytes that the checksum covers.
pub const ATTRIBUTES_AT: usize = 21;
pub const PRODUCER_ID_AT: usize = 43;
/// End of the fields that `set_producer_fields` rewrites.
pub const RECORDS_COUNT_AT: usize = 57;

pub const CODEC_MASK: i16 = 0x07;
pub const TIMESTAMP_TYPE_BIT: i16 = 0x08;
pub const TRANSACTIONAL_BIT: i16 = 0x10;
pub const CONTROL_BIT: i16 = 0x20;
pub const DELETE_HORIZON_BIT: i16 = 0x40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    Create,
    LogAppend,
}

/// The header of a batch. For a v0/v1 message it is filled in: no producer, no epoch, its own offset as base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field: the whole batch has 12 more.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchHeader {
    /// Parses the 61 bytes; checks magic, length and count for plausibility, not the checksum.
    pub fn parse(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let base_offset = reader.i64()?;
        Self::parse_rest(base_offset, &mut reader).map_err(|e| e.at_batch(base_offset))
    }

    fn parse_rest(base_offset: i64, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Self {
            base_offset,
            batch_length: reader.i32()?,
            partition_leader_epoch: reader.i32()?,
            magic: reader.i8()?,
            crc: reader.u32()?,
            attributes: reader.i16()?,
            last_offset_delta: reader.i32()?,
            base_timestamp: reader.i64()?,
            max_timestamp: reader.i64()?,
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
            base_sequence: reader.i32()?,
            records_count: reader.i32()?,
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.magic != 2 {
            return Err(DecodeError::new(
                DecodeErrorKind::Unsupported,
                "magic of a record batch",
                "2",
                self.magic.to_string(),
            ));
        }
        if self.total_len() < HEADER_LEN {
            return Err(DecodeError::corrupt(
                "length of a record batch",
                "at least 49",
                self.batch_length,
            ));
        }
        if self.records_count < 0 {
            return Err(DecodeError::corrupt(
                "count of records",
                "0 or more",
                self.records_count,
            ));
        }
        self.check_last_offset()
    }

    /// The position after the batch is a number, and larger than every offset in it: else a reader would never pass it.
    pub(super) fn check_last_offset(&self) -> Result<(), DecodeError> {
        if self.last_offset_delta < 0 || self.last_offset().is_none() {
            return Err(DecodeError::corrupt(
                "last offset delta",
                "0 or more, inside 64 bits",
                self.last_offset_delta,
            ));
        }
        Ok(())
    }

    /// Size of the whole batch in bytes; 0 when the length field is negative.
    pub fn total_len(&self) -> usize {
        usize::try_from(self.batch_length).map_or(0, |n| n.saturating_add(LOG_OVERHEAD))
    }

    fn last_offset(&self) -> Option<i64> {
        self.base_offset
            .checked_add(i64::from(self.last_offset_delta))?
            .checked_add(1)
    }

    /// The position after this batch. Not "last record + 1": compaction may have removed the last records.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().unwrap_or(i64::MAX)
    }

    pub fn codec(&self) -> Result<Codec, DecodeError> {
        Codec::from_attributes(self.attributes).map_err(|e| e.at_batch(self.base_offset))
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::Create
        } else {
            TimestampType::LogAppend
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// With a delete horizon, `base_timestamp` is the time when tombstones may be removed; deltas are relative to it nevertheless.
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// Encodes the 61 bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let fields: [&[u8]; 13] = [
            &self.base_offset.to_be_bytes(),
            &self.batch_length.to_be_bytes(),
            &self.partition_leader_epoch.to_be_bytes(),
            &self.magic.to_be_bytes(),
            &self.crc.to_be_bytes(),
            &self.attributes.to_be_bytes(),
            &self.last_offset_delta.to_be_bytes(),
            &self.base_timestamp.to_be_bytes(),
            &self.max_timestamp.to_be_bytes(),
            &self.producer_id.to_be_bytes(),
            &self.producer_epoch.to_be_bytes(),
            &self.base_sequence.to_be_bytes(),
            &self.records_count.to_be_bytes(),
        ];
        let mut rest = &mut out[..];
        for field in fields {
            let (here, after) = rest.split_at_mut(field.len());
            here.copy_from_slice(field);
            rest = after;
        }
        out
    }
}
