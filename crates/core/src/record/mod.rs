//! Record batches: the bytes of the stations accumulator, batch and record.
//!
//! `encode` builds and seals a batch, `header` is its fixed part, `decode` reads fetched data, `legacy` the message sets
//! of magic 0 and 1 behind the same types. References: `DefaultRecordBatch.java`, `DefaultRecord.java`, KIP-98, KIP-31.

pub mod decode;
pub mod encode;
pub mod header;
mod legacy;
pub mod sealing;
pub mod span;

pub use decode::{
    DecodedBatch, HeaderScan, RawBatch, Record, RecordHeader, iter_batches, scan_headers,
};
pub use encode::{BatchBuilder, HeaderRef, ProducerFields, SealedBatch, seal, set_producer_fields};
pub use header::{BatchHeader, HEADER_LEN, TimestampType};
pub use span::{RecordPos, Span};
