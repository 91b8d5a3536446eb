//! Compression of produced batches: one compressor for each thread that seals batches.
//!
//! It retains the state of a codec from one batch to the next, because setting it up costs more than compressing a small batch, and
//! it compresses into a buffer of its own, so that a batch's buffer is never larger than its bytes.
//! References: `KafkaLZ4BlockOutputStream`, `Lz4BlockOutputStream` (level 9 is the fast one); xerial's `SnappyOutputStream`.

use std::io;

use flate2::{Compress, Crc, FlushCompress, Status};
use lz4::block::CompressionMode;
use zstd::bulk::Compressor as Zstd;

use crate::bytes::checksum::xxh32;
use crate::bytes::compression::codec::{Codec, LZ4_FAST_LEVEL};
use crate::bytes::compression::snappy::{XERIAL_BLOCK, XERIAL_MAGIC};
use crate::error::EncodeError;

/// A gzip member without name and time.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const ZSTD_DEFAULT_LEVEL: i32 = 3;

/// Highest level of lz4: Java accepts levels up to 17, and lz4 itself treats those above 12 as 12.
const LZ4_BEST_LEVEL: i32 = 12;
const LZ4_MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
/// Version 1, independent blocks, no checksums; blocks of at most 64 KiB. Java refuses linked blocks.
const LZ4_DESCRIPTOR: [u8; 2] = [0x60, 0x40];
const LZ4_BLOCK: usize = 64 * 1024;
/// Flag of a block that did not become smaller and is stored uncompressed.
const LZ4_STORED_BIT: u32 = 1 << 31;
/// Maximum capacity of the buffer that is retained after a batch.
const MAX_RETAINED_BYTES: usize = 8 * 1024 * 1024;

#[derive(Default)]
pub struct Compressor {
    out: Vec<u8>,
    snappy: Option<snap::raw::Encoder>,
    gzip: Option<(i32, Compress)>,
    zstd: Option<(i32, Zstd<'static>)>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compressor({} bytes)", self.out.capacity())
    }
}

impl Compressor {
    /// Returns `src` compressed; the slice is valid until the next call. Levels: gzip -1 and 1 to 9, lz4 1 to 17, zstd -131072 to
    /// 22, `None` the codec's default; snappy has no levels.
    pub fn compress(
        &mut self,
        codec: Codec,
        level: Option<i32>,
        src: &[u8],
    ) -> Result<&[u8], EncodeError> {
        if self.out.capacity() > MAX_RETAINED_BYTES {
            self.out = Vec::new();
        }
        let done = match codec {
            Codec::None => Ok(self.copy(src)),
            Codec::Gzip => self.gzip(level, src),
            Codec::Snappy => self.snappy(src),
            Codec::Lz4 => self.lz4(level, src),
            Codec::Zstd => self.zstd(level, src),
        };
        let len = done.map_err(|source| EncodeError::Compress {
            codec: codec.name(),
            source,
        })?;
        Ok(&self.out[..len])
    }

    fn copy(&mut self, src: &[u8]) -> usize {
        self.out.clear();
        self.out.extend_from_slice(src);
        src.len()
    }

    fn gzip(&mut self, level: Option<i32>, src: &[u8]) -> io::Result<usize> {
        let level = level.unwrap_or(-1);
        let strength = match level {
            -1 => flate2::Compression::default(),
            1..=9 => flate2::Compression::new(level as u32),
            _ => return Err(bad_level("-1 or 1 to 9", level)),
        };
        let deflate = retained(&mut self.gzip, level, || Ok(Compress::new(strength, false)))?;
        deflate.reset();
        self.out.clear();
        self.out.reserve(src.len() / 2 + 64);
        self.out.extend_from_slice(&GZIP_HEADER);
        loop {
            let read = deflate.total_in() as usize;
            let rest = src.get(read..).unwrap_or_default();
            let status = deflate.compress_vec(rest, &mut self.out, FlushCompress::Finish);
            if status.map_err(io::Error::other)? == Status::StreamEnd {
                break;
            }
            self.out.reserve(src.len() / 4 + 64);
        }
        let mut crc = Crc::new();
        crc.update(src);
        self.out.extend_from_slice(&crc.sum().to_le_bytes());
        self.out.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(self.out.len())
    }

    fn snappy(&mut self, src: &[u8]) -> io::Result<usize> {
        let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        let most = snap::raw::max_compress_len(XERIAL_BLOCK.min(src.len()));
        let mut frame = Frame::new(&mut self.out, src.len().div_ceil(XERIAL_BLOCK), most);
        frame.put(&XERIAL_MAGIC);
        frame.put(&1i32.to_be_bytes());
        frame.put(&1i32.to_be_bytes());
        for chunk in src.chunks(XERIAL_BLOCK) {
            frame.block(|head, body| {
                let len = encoder.compress(chunk, body)?;
                head.copy_from_slice(&(len as u32).to_be_bytes());
                Ok(len)
            })?;
        }
        Ok(frame.len)
    }

    fn lz4(&mut self, level: Option<i32>, src: &[u8]) -> io::Result<usize> {
        let level = level.unwrap_or(LZ4_FAST_LEVEL);
        if !(1..=17).contains(&level) {
            return Err(bad_level("1 to 17", level));
        }
        let most = lz4_flex::block::get_maximum_output_size(LZ4_BLOCK.min(src.len()));
        let mut frame = Frame::new(&mut self.out, src.len().div_ceil(LZ4_BLOCK), most);
        frame.put(&LZ4_MAGIC);
        frame.put(&LZ4_DESCRIPTOR);
        frame.put(&[(xxh32(&LZ4_DESCRIPTOR) >> 8) as u8]);
        for chunk in src.chunks(LZ4_BLOCK) {
            frame.block(|head, body| {
                let len = lz4_block(level, chunk, body)?;
                if len < chunk.len() {
                    head.copy_from_slice(&(len as u32).to_le_bytes());
                    return Ok(len);
                }
                let word = chunk.len() as u32 | LZ4_STORED_BIT;
                head.copy_from_slice(&word.to_le_bytes());
                body[..chunk.len()].copy_from_slice(chunk);
                Ok(chunk.len())
            })?;
        }
        frame.put(&0u32.to_le_bytes());
        Ok(frame.len)
    }

    fn zstd(&mut self, level: Option<i32>, src: &[u8]) -> io::Result<usize> {
        let level = level.unwrap_or(ZSTD_DEFAULT_LEVEL);
        if !(-131_072..=22).contains(&level) {
            return Err(bad_level("-131072 to 22", level));
        }
        let encoder = retained(&mut self.zstd, level, || Zstd::new(level))?;
        self.out.clear();
        self.out.reserve(zstd::zstd_safe::compress_bound(src.len()));
        encoder.compress_to_buffer(src, &mut self.out)
    }
}

/// Blocks with their sizes in front, written one after the other into a buffer that is allocated once for all of them.
struct Frame<'a> {
    out: &'a mut Vec<u8>,
    len: usize,
    most: usize,
}

impl<'a> Frame<'a> {
    /// `most`: maximum size of a compressed block.
    fn new(out: &'a mut Vec<u8>, blocks: usize, most: usize) -> Self {
        let needed = 64 + blocks * (4 + most);
        if out.len() < needed {
            out.resize(needed, 0);
        }
        Self { out, len: 0, most }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Writes a block: `fill` writes its size and returns its length.
    fn block(
        &mut self,
        fill: impl FnOnce(&mut [u8], &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let block = &mut self.out[self.len..self.len + 4 + self.most];
        let (head, body) = block.split_at_mut(4);
        self.len += 4 + fill(head, body)?;
        Ok(())
    }
}

/// Compresses a block with one of two lz4s: the Rust one is faster at the fast level, the C one has the slow levels.
fn lz4_block(level: i32, chunk: &[u8], block: &mut [u8]) -> io::Result<usize> {
    if level == LZ4_FAST_LEVEL {
        return lz4_flex::block::compress_into(chunk, block).map_err(io::Error::other);
    }
    let mode = CompressionMode::HIGHCOMPRESSION(level.min(LZ4_BEST_LEVEL));
    lz4::block::compress_to_buffer(chunk, Some(mode), false, block)
}

/// The retained state for this level, or a new one.
fn retained<T>(
    slot: &mut Option<(i32, T)>,
    level: i32,
    make: impl FnOnce() -> io::Result<T>,
) -> io::Result<&mut T> {
    if slot.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
        *slot = Some((level, make()?));
    }
    match slot {
        Some((_, encoder)) => Ok(encoder),
        None => unreachable!("it was made just now"),
    }
}

fn bad_level(allowed: &str, level: i32) -> io::Error {
    let text = format!("compression level {level} is not {allowed}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
