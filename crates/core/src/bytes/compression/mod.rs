//! The codecs of record batches: `codec` names them, `compressor` and `decompress` do the work.
//!
//! References: `CompressionType.java`; xerial's `SnappyOutputStream` framing; `Lz4BlockInputStream` refuses linked blocks.

pub mod codec;
pub mod compressor;
pub mod decompress;
pub(crate) mod lz4;
mod refusal;
mod snappy;
