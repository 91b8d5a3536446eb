//! Bytes without a meaning of their own: numbers, checksums, compression, reusable buffers.

pub mod checksum;
pub mod compression;
pub mod fields;
pub mod pool;
pub mod varint;
