//! Bytes without a meaning of their own: numbers, checksums, compression, buffers that are used again.

pub mod checksum;
pub mod compression;
pub mod fields;
pub mod pool;
pub mod varint;
