//! The errors of bytes that cannot be decompressed.

use crate::bytes::compression::codec::Codec;
use crate::error::{DecodeError, DecodeErrorKind};

#[cold]
pub(super) fn over_cap(max_bytes: usize) -> DecodeError {
    DecodeError::too_large("decompressed records", max_bytes, "more")
}

#[cold]
pub(super) fn refused(codec: Codec, error: impl ToString) -> DecodeError {
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
