//! Decompression of any codec. Output never grows past the cap of the caller, and memory grows with the actual output,
//! never by the claims of a header.

use std::cell::Cell;
use std::io::Read;

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use crate::bytes::compression::codec::Codec;
use crate::bytes::compression::lz4::{self, HeaderChecksum};
use crate::bytes::compression::refusal::{over_cap, refused};
use crate::bytes::compression::snappy;
use crate::error::DecodeError;

/// Smallest and largest limit of the zstd window, as logarithms; in between it is the cap. The window is allocated before the first
/// byte of output. Every decoder should accept 8 MiB (RFC 8878), which level 19 uses also for small batches of unknown size; level 22
/// uses 128 MiB.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

/// Memory of a zstd context that its thread retains.
const RETAINED_CONTEXT: usize = 2 << 20;
/// Maximum growth per byte for which memory is taken at once, by the claim of a header.
const TRUSTED_GROWTH: usize = 32;

thread_local! {
    /// A context costs an allocation and its initialization for each batch.
    static CONTEXT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

/// Returns `src` decompressed; refuses more than `max_bytes`.
pub fn decompress(codec: Codec, src: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    decompress_into(codec, src, max_bytes, Vec::new())
}

/// Like `decompress`, into an empty buffer that has been used before, so that its memory is used again.
pub fn decompress_into(
    codec: Codec,
    src: &[u8],
    max_bytes: usize,
    mut out: Vec<u8>,
) -> Result<Vec<u8>, DecodeError> {
    out.clear();
    match codec {
        Codec::None if src.len() > max_bytes => return Err(over_cap(max_bytes)),
        Codec::None => out.extend_from_slice(src),
        Codec::Gzip => {
            let decoder = flate2::read::MultiGzDecoder::new(src);
            read_capped(decoder, codec, max_bytes, &mut out)?;
        }
        Codec::Snappy => snappy::decompress(src, max_bytes, &mut out)?,
        Codec::Lz4 => lz4::decompress(src, max_bytes, HeaderChecksum::Verify, &mut out)?,
        Codec::Zstd => decompress_zstd(src, max_bytes, &mut out)?,
    }
    Ok(out)
}

/// Reads `source` to its end; one byte more than the cap is read to detect an excess.
fn read_capped(
    source: impl Read,
    codec: Codec,
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    source
        .take((max_bytes as u64).saturating_add(1))
        .read_to_end(out)
        .map_err(|error| refused(codec, error))?;
    if out.len() > max_bytes {
        return Err(over_cap(max_bytes));
    }
    Ok(())
}

fn decompress_zstd(src: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let claimed = zstd::zstd_safe::get_frame_content_size(src).ok().flatten();
    if claimed.is_some_and(|claimed| claimed > max_bytes as u64) {
        return Err(over_cap(max_bytes));
    }
    let most = max_bytes.saturating_add(1);
    let claimed = claimed.and_then(|claimed| usize::try_from(claimed).ok());
    let trusted = src.len().saturating_mul(TRUSTED_GROWTH);
    reserve(
        out,
        claimed.map_or(src.len(), |claimed| claimed.min(trusted)),
        most,
    );
    let mut context = CONTEXT.take().unwrap_or_else(DCtx::create);
    let done = run_zstd(&mut context, src, max_bytes, out);
    if context.sizeof() <= RETAINED_CONTEXT {
        CONTEXT.set(Some(context));
    }
    done
}

/// Writes all frames of `src`. An output that has the space for a whole frame is written without a detour over zstd's window.
fn run_zstd(
    context: &mut DCtx<'static>,
    src: &[u8],
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let failed = |code| refused(Codec::Zstd, zstd::zstd_safe::get_error_name(code));
    let window_log = usize::BITS - max_bytes.leading_zeros();
    let window_log = window_log.clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end());
    context.reset(ResetDirective::SessionOnly).map_err(failed)?;
    let window = DParameter::WindowLogMax(window_log);
    context.set_parameter(window).map_err(failed)?;
    let mut input = InBuffer::around(src);
    loop {
        let before = (out.len(), input.pos());
        let at = out.len();
        let hint = {
            let mut output = OutBuffer::around_pos(out, at);
            context.decompress_stream(&mut output, &mut input)
        };
        let hint = hint.map_err(failed)?;
        if out.len() > max_bytes {
            return Err(over_cap(max_bytes));
        }
        let ended = input.pos() == src.len();
        if ended && hint == 0 {
            return Ok(());
        }
        if out.len() == out.capacity() {
            reserve(out, out.len().max(1024), max_bytes.saturating_add(1));
        } else if ended || before == (out.len(), input.pos()) {
            return Err(refused(Codec::Zstd, "incomplete frame"));
        }
    }
}

/// Makes space for `more` bytes, up to a length of `most`, but for one byte at least.
fn reserve(out: &mut Vec<u8>, more: usize, most: usize) {
    let wanted = out.len().saturating_add(more).min(most);
    out.reserve_exact(wanted.saturating_sub(out.len()).max(1));
}
