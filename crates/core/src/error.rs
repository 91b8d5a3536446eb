//! Errors of bytes: typed, with fields, so that one mapping makes the Python exception.

use std::borrow::Cow;

use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// Fewer bytes than the field or count needs.
    Truncated,
    /// The stored checksum does not match the bytes.
    Checksum,
    /// A value that the format does not allow.
    Corrupt,
    /// The decompressor refused the bytes.
    Decompress,
    /// More than the cap allows.
    TooLarge,
    /// A magic byte or codec that this client does not know.
    Unsupported,
}

/// Bytes that violate the format. `batch_offset` is the base offset of the batch, once it is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: expected {expected}, got {got} (batch at offset {})", OffsetText(*batch_offset))]
pub struct DecodeError {
    pub kind: DecodeErrorKind,
    pub what: &'static str,
    pub batch_offset: Option<i64>,
    pub expected: Cow<'static, str>,
    pub got: Cow<'static, str>,
}

struct OffsetText(Option<i64>);

impl std::fmt::Display for OffsetText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(offset) => write!(f, "{offset}"),
            None => f.write_str("unknown"),
        }
    }
}

impl DecodeError {
    #[cold]
    pub fn new(
        kind: DecodeErrorKind,
        what: &'static str,
        expected: impl Into<Cow<'static, str>>,
        got: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            what,
            batch_offset: None,
            expected: expected.into(),
            got: got.into(),
        }
    }

    #[cold]
    pub fn truncated(what: &'static str, needed: usize, remaining: usize) -> Self {
        Self::new(
            DecodeErrorKind::Truncated,
            what,
            format!("{needed} bytes"),
            format!("{remaining} bytes"),
        )
    }

    #[cold]
    pub fn corrupt(
        what: &'static str,
        expected: impl Into<Cow<'static, str>>,
        got: impl ToString,
    ) -> Self {
        Self::new(DecodeErrorKind::Corrupt, what, expected, got.to_string())
    }

    #[cold]
    pub fn too_large(what: &'static str, cap_bytes: usize, got: impl ToString) -> Self {
        Self::new(
            DecodeErrorKind::TooLarge,
            what,
            format!("at most {cap_bytes} bytes"),
            got.to_string(),
        )
    }

    /// Adds the batch; the innermost one that was given stays.
    #[must_use]
    pub fn at_batch(mut self, base_offset: i64) -> Self {
        self.batch_offset.get_or_insert(base_offset);
        self
    }
}

/// Reason why a batch could not be sealed.
#[derive(Debug, Error)]
pub enum EncodeError {
    #[error("{codec} compression failed: {source}")]
    Compress {
        codec: &'static str,
        source: std::io::Error,
    },
    #[error("a batch of {bytes} bytes does not fit the format's 32-bit length")]
    TooLarge { bytes: usize },
}
