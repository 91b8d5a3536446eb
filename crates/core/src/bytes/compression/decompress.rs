//! Decompression of any codec. Output never grows past the cap of the caller, and memory grows with the actual output,
//! never by the claims of a header.

use std::io::{self, Read};

use crate::bytes::compression::codec::Codec;
use crate::bytes::compression::lz4::{self, HeaderChecksum};
use crate::bytes::compression::refusal::{over_cap, refused};
use crate::bytes::compression::snappy;
use crate::error::DecodeError;

/// Smallest and largest limit of the zstd window, as logarithms; in between it is the cap. The window is allocated before the first
/// byte of output. Every decoder should accept 8 MiB (RFC 8878), which level 19 uses also for small batches of unknown size; level 22
/// uses 128 MiB.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

/// Returns `src` decompressed; refuses more than `max_bytes`.
pub fn decompress(codec: Codec, src: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    match codec {
        Codec::None if src.len() > max_bytes => Err(over_cap(max_bytes)),
        Codec::None => Ok(src.to_vec()),
        Codec::Gzip => read_capped(flate2::read::MultiGzDecoder::new(src), codec, max_bytes),
        Codec::Snappy => snappy::decompress(src, max_bytes),
        Codec::Lz4 => lz4::decompress(src, max_bytes, HeaderChecksum::Verify),
        Codec::Zstd => decompress_zstd(src, max_bytes),
    }
}

/// Reads `source` to its end; one byte more than the cap is read to detect an excess.
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
