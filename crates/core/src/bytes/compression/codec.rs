//! The codecs by name and number, and the cost of compressing with each.

use crate::error::{DecodeError, DecodeErrorKind};

/// The level of the fast lz4; every other level selects the slow one that compresses better, as in Java.
pub const LZ4_FAST_LEVEL: i32 = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Codec and level of batches. Level `None`: the codec's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    pub codec: Codec,
    pub level: Option<i32>,
}

/// Cost of compressing a batch for the thread that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Less than one or two milliseconds per megabyte: the I/O thread compresses between two turns.
    Low,
    /// Several milliseconds or more: other threads compress.
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

    /// Size from which on a batch is sealed ahead of the request that takes it. A smaller one takes some tens of microseconds, which
    /// is not worth the detour. Measured: ADR 0014.
    pub fn ahead_from(self) -> usize {
        match (self.codec, self.cost()) {
            (Codec::None, _) => usize::MAX,
            (_, Cost::Low) => 64 * 1024,
            (_, Cost::High) => 16 * 1024,
        }
    }
}

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
