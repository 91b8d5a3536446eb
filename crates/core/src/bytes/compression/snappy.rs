//! Snappy, as a single block or in xerial's stream of blocks.
//!
//! Reference: xerial's `SnappyOutputStream`.

use crate::bytes::compression::codec::Codec;
use crate::bytes::compression::refusal::{over_cap, refused};
use crate::bytes::varint::Reader;
use crate::error::DecodeError;

pub(super) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// At the place of a block's size it announces another stream: no block is that large.
const XERIAL_MAGIC_HEAD: u32 = 0x8253_4e41;
const XERIAL_HEADER_LEN: usize = 16;
pub(super) const XERIAL_BLOCK: usize = 32 * 1024;
/// Maximum growth per byte: a copy of 64 bytes takes three.
const SNAPPY_MOST_OUT_PER_BYTE: usize = 22;

pub(super) fn decompress(
    src: &[u8],
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    if !src.starts_with(&XERIAL_MAGIC) {
        return append_block(src, out, max_bytes);
    }
    let mut reader = Reader::new(src);
    reader.bytes(XERIAL_HEADER_LEN)?;
    while reader.remaining() > 0 {
        let n = reader.u32()?;
        if n == XERIAL_MAGIC_HEAD {
            reader.bytes(XERIAL_HEADER_LEN - 4)?;
            continue;
        }
        append_block(reader.bytes(n as usize)?, out, max_bytes)?;
    }
    Ok(())
}

/// A snappy block begins with its size; one that claims more than its bytes can hold is refused before anything is allocated.
fn append_block(block: &[u8], out: &mut Vec<u8>, max_bytes: usize) -> Result<(), DecodeError> {
    let len = snap::raw::decompress_len(block).map_err(|error| refused(Codec::Snappy, error))?;
    if len > max_bytes.saturating_sub(out.len()) {
        return Err(over_cap(max_bytes));
    }
    if len / SNAPPY_MOST_OUT_PER_BYTE > block.len() {
        return Err(refused(
            Codec::Snappy,
            "a claim of more bytes than the block can hold",
        ));
    }
    let start = out.len();
    out.resize(start + len, 0);
    let n = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| refused(Codec::Snappy, error))?;
    out.truncate(start + n);
    Ok(())
}
