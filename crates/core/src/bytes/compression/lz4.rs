//! The lz4 frame format, read block by block straight into the output.
//!
//! The output grows block by block and never by more than a block's bytes can give, so neither a declared content size nor a
//! declared block size costs memory. Linked blocks are read although Java refuses them. References: lz4's frame format
//! 1.6.4; `Lz4BlockInputStream.java`; KIP-57 (messages of magic 0 carry a wrong header checksum).

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};

use crate::bytes::checksum::xxh32;
use crate::bytes::compression::codec::Codec;
use crate::bytes::compression::refusal::{over_cap, refused};
use crate::bytes::varint::Reader;
use crate::error::DecodeError;

const MAGIC: u32 = 0x184d_2204;
const WINDOW: usize = 64 * 1024;
/// Maximum growth per byte: a byte of a block extends a match by at most 255 bytes.
const MOST_OUT_PER_BYTE: usize = 255;
const STORED_BIT: u32 = 1 << 31;

/// Whether the header's checksum counts: that of a message of magic 0 covers the wrong bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderChecksum {
    Verify,
    Ignore,
}

/// Decompresses all frames of `src` one after another; refuses more than `max_bytes`.
pub(crate) fn decompress(
    src: &[u8],
    max_bytes: usize,
    checksum: HeaderChecksum,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(src);
    loop {
        let frame = Frame::read(&mut reader, checksum)?;
        frame.append(&mut reader, out, max_bytes)?;
        if reader.remaining() == 0 {
            return Ok(());
        }
    }
}

/// Flags of a frame's descriptor.
#[derive(Debug)]
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_max: usize,
}

impl Frame {
    fn read(reader: &mut Reader<'_>, checksum: HeaderChecksum) -> Result<Self, DecodeError> {
        let magic = u32_le(reader)?;
        if magic != MAGIC {
            return Err(bad(format!("magic {magic:#010x} in front of a frame")));
        }
        let mut descriptor = reader.clone();
        let start = reader.position();
        let flags = reader.u8()?;
        let sizes = reader.u8()?;
        if flags & 0xc3 != 0x40 || sizes & 0x8f != 0 || sizes >> 4 < 4 {
            return Err(bad(format!("frame flags {flags:#04x} {sizes:#04x}")));
        }
        let content_size = match flags & 0x08 {
            0 => None,
            _ => {
                let low = u64::from(u32_le(reader)?);
                Some(low | u64::from(u32_le(reader)?) << 32)
            }
        };
        let described = descriptor.bytes(reader.position() - start)?;
        let stored = reader.u8()?;
        if checksum == HeaderChecksum::Verify && stored != (xxh32(described) >> 8) as u8 {
            return Err(bad("a wrong header checksum"));
        }
        Ok(Self {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            content_checksum: flags & 0x04 != 0,
            content_size,
            block_max: 1 << (8 + 2 * (sizes >> 4)),
        })
    }

    fn append(
        &self,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        max_bytes: usize,
    ) -> Result<(), DecodeError> {
        let start = out.len();
        loop {
            let word = u32_le(reader)?;
            if word == 0 {
                break;
            }
            let block = reader.bytes((word & !STORED_BIT) as usize)?;
            if self.block_checksums && u32_le(reader)? != xxh32(block) {
                return Err(bad("a wrong block checksum"));
            }
            if word & STORED_BIT == 0 {
                self.append_compressed(block, start, out, max_bytes)?;
            } else {
                self.append_stored(block, out, max_bytes)?;
            }
        }
        self.check_content(reader, &out[start..])
    }

    fn append_stored(
        &self,
        block: &[u8],
        out: &mut Vec<u8>,
        max_bytes: usize,
    ) -> Result<(), DecodeError> {
        if block.len() > self.block_max {
            return Err(bad("a block above the frame's block size"));
        }
        if block.len() > max_bytes.saturating_sub(out.len()) {
            return Err(over_cap(max_bytes));
        }
        out.extend_from_slice(block);
        Ok(())
    }

    fn append_compressed(
        &self,
        block: &[u8],
        frame_start: usize,
        out: &mut Vec<u8>,
        max_bytes: usize,
    ) -> Result<(), DecodeError> {
        let start = out.len();
        let possible = self
            .block_max
            .min(block.len().saturating_mul(MOST_OUT_PER_BYTE));
        let allowed = possible.min(max_bytes.saturating_sub(start));
        out.resize(start + allowed, 0);
        let (before, target) = out.split_at_mut(start);
        let done = if self.linked {
            let window = &before[frame_start.max(start.saturating_sub(WINDOW))..];
            decompress_into_with_dict(block, target, window)
        } else {
            decompress_into(block, target)
        };
        match done {
            Ok(n) => {
                out.truncate(start + n);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall { .. }) if allowed < possible => {
                Err(over_cap(max_bytes))
            }
            Err(error) => Err(bad(error)),
        }
    }

    fn check_content(&self, reader: &mut Reader<'_>, content: &[u8]) -> Result<(), DecodeError> {
        if self.content_checksum && u32_le(reader)? != xxh32(content) {
            return Err(bad("a wrong content checksum"));
        }
        match self.content_size {
            Some(size) if size != content.len() as u64 => Err(bad(format!(
                "{} bytes where the frame claims {size}",
                content.len()
            ))),
            _ => Ok(()),
        }
    }
}

fn u32_le(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    reader.u32().map(u32::swap_bytes)
}

#[cold]
fn bad(got: impl ToString) -> DecodeError {
    refused(Codec::Lz4, got)
}
