//! The codecs of record batches. Output never grows past the caller's cap, and memory grows with the bytes that come
//! out, never by what a header claims.
//!
//! References: `CompressionType.java`; xerial's `SnappyOutputStream` framing; `Lz4BlockInputStream` refuses linked blocks.

use std::io::{self, Read};

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::varint::Reader;

mod compressor;
pub(crate) mod lz4;

pub use compressor::{Compressor, LZ4_FAST_LEVEL};
use lz4::HeaderChecksum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// How batches are compressed. Level `None`: the codec's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    pub codec: Codec,
    pub level: Option<i32>,
}

/// What compressing a batch means for the thread that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// A megabyte takes less than one or two milliseconds: the I/O thread does it between two turns.
    Low,
    /// It takes several or many: other threads do it.
    High,
}

impl Compression {
    pub fn cost(self) -> Cost {
        match self.codec {
            Codec::None | Codec::Snappy => Cost::Low,
            Codec::Lz4 if self.level.unwrap_or(LZ4_FAST_LEVEL) == LZ4_FAST_LEVEL => Cost::Low,
            Codec::Lz4 | Codec::Zstd | Codec::Gzip => Cost::High,
        }
    }

    /// From how many bytes on a batch is sealed ahead of the request that takes it. What is smaller takes some tens of
    /// microseconds and is not worth a detour. Measured: ADR 0014.
    pub fn ahead_from(self) -> usize {
        match (self.codec, self.cost()) {
            (Codec::None, _) => usize::MAX,
            (_, Cost::Low) => 64 * 1024,
            (_, Cost::High) => 16 * 1024,
        }
    }
}

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Where a block's size is expected, this says that another stream begins: no block is that large.
const XERIAL_MAGIC_HEAD: u32 = 0x8253_4e41;
const XERIAL_HEADER_LEN: usize = 16;
const XERIAL_BLOCK: usize = 32 * 1024;
/// A copy of 64 bytes takes three.
const SNAPPY_MOST_OUT_PER_BYTE: usize = 22;
/// A zstd window is allocated before the first byte comes out: at most the cap, between these. 8 MiB is what every
/// decoder should accept (RFC 8878) and level 19 uses, also for small batches of unknown size; 128 MiB is level 22.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

impl Codec {
    /// Bits 0-2 of a batch's attributes.
    pub const fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.name() == name)
    }

    pub fn from_attributes(attributes: i16) -> Result<Self, DecodeError> {
        match attributes & 7 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(DecodeError::new(
                DecodeErrorKind::Unsupported,
                "codec of a record batch",
                "0 to 4",
                other.to_string(),
            )),
        }
    }
}

/// Appends `src` compressed to `dst`, as `Compressor::compress` does it.
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

/// All of `src` decompressed, which is refused when it is more than `max_bytes`.
pub fn decompress(codec: Codec, src: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    match codec {
        Codec::None if src.len() > max_bytes => Err(over_cap(max_bytes)),
        Codec::None => Ok(src.to_vec()),
        Codec::Gzip => read_capped(flate2::read::MultiGzDecoder::new(src), codec, max_bytes),
        Codec::Snappy => decompress_snappy(src, max_bytes),
        Codec::Lz4 => lz4::decompress(src, max_bytes, HeaderChecksum::Verify),
        Codec::Zstd => decompress_zstd(src, max_bytes),
    }
}

#[cold]
fn over_cap(max_bytes: usize) -> DecodeError {
    DecodeError::too_large("decompressed records", max_bytes, "more")
}

#[cold]
fn refused(codec: Codec, error: impl ToString) -> DecodeError {
    let what = match codec {
        Codec::None => "records",
        Codec::Gzip => "gzip records",
        Codec::Snappy => "snappy records",
        Codec::Lz4 => "lz4 records",
        Codec::Zstd => "zstd records",
    };
    DecodeError::new(
        DecodeErrorKind::Decompress,
        what,
        "a valid stream",
        error.to_string(),
    )
}

/// What `source` gives until its end; one byte more than the cap is read to see an excess.
fn read_capped(source: impl Read, codec: Codec, max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    source
        .take((max_bytes as u64).saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|error| refused(codec, error))?;
    if out.len() > max_bytes {
        return Err(over_cap(max_bytes));
    }
    Ok(out)
}

fn decompress_snappy(src: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    if !src.starts_with(&XERIAL_MAGIC) {
        append_snappy_block(src, &mut out, max_bytes)?;
        return Ok(out);
    }
    let mut reader = Reader::new(src);
    reader.bytes(XERIAL_HEADER_LEN)?;
    while reader.remaining() > 0 {
        let n = reader.u32()?;
        if n == XERIAL_MAGIC_HEAD {
            reader.bytes(XERIAL_HEADER_LEN - 4)?;
            continue;
        }
        append_snappy_block(reader.bytes(n as usize)?, &mut out, max_bytes)?;
    }
    Ok(out)
}

/// A snappy block says its size in front; one that claims more than its bytes can hold is refused before anything is
/// allocated.
fn append_snappy_block(
    block: &[u8],
    out: &mut Vec<u8>,
    max_bytes: usize,
) -> Result<(), DecodeError> {
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

fn decompress_zstd(src: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    if let Ok(Some(claimed)) = zstd::zstd_safe::get_frame_content_size(src)
        && claimed > max_bytes as u64
    {
        return Err(over_cap(max_bytes));
    }
    let window_log = usize::BITS - max_bytes.leading_zeros();
    let window_log = window_log.clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end());
    let open = || -> io::Result<_> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(src)?;
        decoder.window_log_max(window_log)?;
        Ok(decoder)
    };
    let decoder = open().map_err(|error| refused(Codec::Zstd, error))?;
    read_capped(decoder, Codec::Zstd, max_bytes)
}
