//! Positions of the parts of a record in the bytes of its batch.

use crate::bytes::varint::Reader;
use crate::error::DecodeError;

/// A nullable range of a batch's bytes: `len` is -1 for null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: i32,
}

impl Span {
    pub const NULL: Self = Self { start: 0, len: -1 };

    #[inline]
    pub(super) fn range(self) -> Option<std::ops::Range<usize>> {
        let len = usize::try_from(self.len).ok()?;
        Some(self.start as usize..self.start as usize + len)
    }
}

/// Position of a record. `headers` starts at their count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPos {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Span,
    pub value: Span,
    pub headers: Span,
}

#[inline]
pub(super) fn read_span(reader: &mut Reader<'_>) -> Option<Span> {
    let len = reader.try_varint()?;
    if len == -1 {
        return Some(Span::NULL);
    }
    let start = reader.position() as u32;
    reader.try_skip(usize::try_from(len).ok()?)?;
    Some(Span { start, len })
}

/// Reads the next `len` bytes as a span; -1 is null.
#[inline]
pub(super) fn span_of(reader: &mut Reader<'_>, len: i32) -> Result<Span, DecodeError> {
    if len == -1 {
        return Ok(Span::NULL);
    }
    let start = reader.position() as u32;
    match usize::try_from(len) {
        Ok(n) => reader.bytes(n).map(|_| Span { start, len }),
        Err(_) => Err(DecodeError::corrupt(
            "length of a key or value",
            "-1 or more",
            len,
        )),
    }
}
