//! The hashes by which other clients choose a key's partition; `murmur2` has Java's.
//!
//! Station: partition. References: librdkafka `rdcrc32.h`, `rdfnv1a.c`; sarama `partitioner.go`.

const CRC32: [u32; 256] = crc32_table();

const fn crc32_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = value & 1;
            value >>= 1;
            if carry != 0 {
                value ^= 0xedb8_8320;
            }
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// CRC-32 of zlib: librdkafka's `consistent`. (Batches use another polynomial.)
pub fn crc32(key: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| CRC32[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8);
    !key.iter().fold(!0, step)
}

/// FNV-1a of 32 bits as a signed number made positive: sarama makes it positive after its modulo, librdkafka before. The two agree
/// everywhere, at the lowest number too, which stays 2^31 in both.
pub fn fnv1a_positive(key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    key.iter()
        .fold(0x811c_9dc5, step)
        .cast_signed()
        .unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_the_published_ones() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(
            fnv1a_positive(b"foobar"),
            0xbf9c_f968_u32.cast_signed().unsigned_abs()
        );
        assert_eq!(
            fnv1a_positive(b""),
            0x811c_9dc5_u32.cast_signed().unsigned_abs()
        );
    }
}
