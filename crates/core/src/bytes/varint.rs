//! Kafka's variable-length integers and a bounds-checked reader of big-endian fields.
//!
//! Records use zig-zag varints, the flexible protocol versions unsigned ones. References: `ByteUtils.java`, KIP-482.

use crate::error::DecodeError;

/// Maximum length of an encoded number: five bytes for 32 bits, ten for 64.
pub const MAX_VARINT_LEN: usize = 5;
pub const MAX_VARLONG_LEN: usize = 10;

#[inline]
pub const fn zigzag32(v: i32) -> u32 {
    ((v << 1) ^ (v >> 31)) as u32
}

#[inline]
pub const fn zigzag64(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

#[inline]
pub fn write_uvarint(buf: &mut Vec<u8>, mut v: u32) {
    while v >= 0x80 {
        buf.push(v as u8 | 0x80);
        v >>= 7;
    }
    buf.push(v as u8);
}

#[inline]
pub fn write_varint(buf: &mut Vec<u8>, v: i32) {
    write_uvarint(buf, zigzag32(v));
}

#[inline]
pub fn write_varlong(buf: &mut Vec<u8>, v: i64) {
    let mut v = zigzag64(v);
    while v >= 0x80 {
        buf.push(v as u8 | 0x80);
        v >>= 7;
    }
    buf.push(v as u8);
}

#[inline]
pub const fn len_uvarint(v: u32) -> usize {
    len_of_bits(32 - (v | 1).leading_zeros() as usize)
}

#[inline]
pub const fn len_varint(v: i32) -> usize {
    len_uvarint(zigzag32(v))
}

#[inline]
pub const fn len_varlong(v: i64) -> usize {
    len_of_bits(64 - (zigzag64(v) | 1).leading_zeros() as usize)
}

/// A seventh, rounded up: exact for 1 to 64, and without a division.
const fn len_of_bits(bits: usize) -> usize {
    (bits * 9 + 64) / 64
}

/// Reads fields from a slice; every read is checked against the remaining bytes, nothing is allocated.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// Bytes read so far.
    #[inline]
    pub const fn position(&self) -> usize {
        self.position
    }

    #[inline]
    pub const fn remaining(&self) -> usize {
        self.data.len() - self.position
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        match rest.first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(DecodeError::truncated(what, N, rest.len())),
        }
    }

    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array::<1>("int8").map(i8::from_be_bytes)
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>("uint8").map(u8::from_be_bytes)
    }

    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array::<2>("int16").map(i16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array::<4>("int32").map(i32::from_be_bytes)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array::<4>("uint32").map(u32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array::<8>("int64").map(i64::from_be_bytes)
    }

    #[inline]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.position.checked_add(n);
        match end.and_then(|end| self.data.get(self.position..end)) {
            Some(slice) => {
                self.position += n;
                Ok(slice)
            }
            None => Err(DecodeError::truncated("bytes", n, self.remaining())),
        }
    }

    /// `varint` for the hottest loop: the error is determined only after a failure.
    #[inline]
    pub(crate) fn try_varint(&mut self) -> Option<i32> {
        let first = *self.data.get(self.position)?;
        if first < 0x80 {
            self.position += 1;
            return Some(i32::from(first >> 1) ^ -i32::from(first & 1));
        }
        let second = *self.data.get(self.position + 1)?;
        if second < 0x80 {
            self.position += 2;
            let raw = i32::from(first & 0x7f) | i32::from(second) << 7;
            return Some(raw >> 1 ^ -(raw & 1));
        }
        self.try_long_varint()
    }

    fn try_long_varint(&mut self) -> Option<i32> {
        self.varint().ok()
    }

    /// Like `try_varint`, of 64 bits.
    #[inline]
    pub(crate) fn try_varlong(&mut self) -> Option<i64> {
        let first = *self.data.get(self.position)?;
        if first < 0x80 {
            self.position += 1;
            return Some(i64::from(first >> 1) ^ -i64::from(first & 1));
        }
        self.try_long_varlong()
    }

    fn try_long_varlong(&mut self) -> Option<i64> {
        self.varlong().ok()
    }

    #[inline]
    pub(crate) fn try_skip(&mut self, n: usize) -> Option<()> {
        if n > self.remaining() {
            return None;
        }
        self.position += n;
        Some(())
    }

    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        let mut v = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.u8()?;
            v |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                if shift == 28 && byte > 0x0f {
                    break;
                }
                return Ok(v);
            }
        }
        Err(DecodeError::corrupt("varint", "at most 32 bits", "more"))
    }

    #[inline]
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let mut v = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            v |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((v >> 1) as i64 ^ -((v & 1) as i64));
            }
        }
        Err(DecodeError::corrupt("varlong", "at most 64 bits", "more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_length() {
        for shift in 0..32 {
            for v in [
                1i32 << shift,
                (1i32 << shift).wrapping_neg(),
                (1i32 << shift).wrapping_sub(1),
            ] {
                let mut buf = Vec::new();
                write_varint(&mut buf, v);
                assert_eq!(buf.len(), len_varint(v));
                assert_eq!(Reader::new(&buf).varint(), Ok(v));
            }
        }
        for shift in 0..64 {
            for v in [
                1i64 << shift,
                (1i64 << shift).wrapping_neg(),
                (1i64 << shift).wrapping_sub(1),
            ] {
                let mut buf = Vec::new();
                write_varlong(&mut buf, v);
                assert_eq!(buf.len(), len_varlong(v));
                assert_eq!(Reader::new(&buf).varlong(), Ok(v));
            }
        }
    }

    /// Every two bytes, and the beginnings of longer numbers.
    #[test]
    fn quick_readers_agree_with_the_others() {
        for word in 0..=u16::MAX {
            let [a, b] = word.to_be_bytes();
            for data in [&[a][..], &[a, b], &[a, b, 0x01], &[a, b, 0x80, 0x80, 0x10]] {
                let (mut quick, mut slow) = (Reader::new(data), Reader::new(data));
                let read = slow.varint().ok();
                assert_eq!(quick.try_varint(), read, "{data:?}");
                assert!(read.is_none() || quick.position() == slow.position());
                let (mut quick, mut slow) = (Reader::new(data), Reader::new(data));
                let read = slow.varlong().ok();
                assert_eq!(quick.try_varlong(), read, "{data:?}");
                assert!(read.is_none() || quick.position() == slow.position());
            }
        }
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!((reader.try_skip(4), reader.try_skip(3)), (None, Some(())));
    }

    #[test]
    fn too_long_varints_are_refused() {
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
        assert!(Reader::new(&[0xff; 11]).varlong().is_err());
        assert!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x10])
                .uvarint()
                .is_err()
        );
        assert!(Reader::new(&[0xff]).uvarint().is_err());
    }

    #[test]
    fn reader_never_passes_the_end() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert!(reader.i32().is_err());
        assert!(reader.bytes(usize::MAX).is_err());
        assert_eq!(reader.bytes(3), Ok(&[1u8, 2, 3][..]));
        assert_eq!(reader.remaining(), 0);
    }
}
