//! CRC-32C (batches of magic 2, in hardware where the processor has it), CRC-32 (message sets of magic 0 and 1) and
//! xxHash32 (lz4 frames).

use crc_fast::CrcAlgorithm::Crc32Iscsi;
use crc_fast::Digest;

pub fn crc32c(data: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, data) as u32
}

/// A CRC-32C over bytes that arrive in pieces.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    state: u64,
    bytes: u64,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            state: Digest::new(Crc32Iscsi).get_state(),
            bytes: 0,
        }
    }
}

impl Running {
    pub fn update(&mut self, data: &[u8]) {
        let mut digest = Digest::new_with_init_state(Crc32Iscsi, self.state);
        digest.update(data);
        self.state = digest.get_state();
        self.bytes += data.len() as u64;
    }

    /// The CRC-32C of `head` followed by all pieces.
    pub fn behind(self, head: &[u8]) -> u32 {
        let tail = Digest::new_with_init_state(Crc32Iscsi, self.state).finalize();
        shifted(crc32c(head), self.bytes) ^ tail as u32
    }
}

pub fn crc32(data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    crc.sum()
}

/// The CRC-32C of `head + tail` when only `head` changed, without reading `tail` again.
///
/// A CRC is linear: `crc(head + tail) = shift(crc(head), len(tail)) ^ crc(tail)`, so the tail's part cancels out.
pub fn crc32c_replace_head(old: u32, old_head: &[u8], new_head: &[u8], tail_len: usize) -> u32 {
    old ^ shifted(crc32c(old_head) ^ crc32c(new_head), tail_len as u64)
}

/// Polynomial of CRC-32C, bits in the order of the CRC.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x to the power of 8, 16, 32 and so on, modulo the polynomial: the effect of 1, 2, 4, … bytes that follow on a CRC.
const BYTES_BEHIND: [u32; u64::BITS as usize] = {
    let mut powers = [0x0080_0000; u64::BITS as usize];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = product(powers[at - 1], powers[at - 1]);
        at += 1;
    }
    powers
};

/// The part of `crc` in the CRC of its bytes followed by `bytes` more. `crc_fast::checksum_combine` does the same with matrices,
/// and takes longer for it than the checksum of a whole batch takes.
fn shifted(crc: u32, mut bytes: u64) -> u32 {
    let mut result = crc;
    for power in BYTES_BEHIND {
        if bytes == 0 {
            break;
        }
        if bytes & 1 == 1 {
            result = product(power, result);
        }
        bytes >>= 1;
    }
    result
}

/// Product of two polynomials modulo the polynomial of the CRC. The highest bit is the lowest power.
const fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        if a & bit != 0 {
            sum ^= b;
        }
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
        bit >>= 1;
    }
    sum
}

const XXH: [u32; 5] = [
    0x9e37_79b1,
    0x85eb_ca77,
    0xc2b2_ae3d,
    0x27d4_eb2f,
    0x1656_67b1,
];

/// xxHash32 with seed 0.
pub(crate) fn xxh32(data: &[u8]) -> u32 {
    let (stripes, tail) = data.as_chunks::<16>();
    let mut hash = if stripes.is_empty() {
        XXH[4]
    } else {
        xxh32_stripes(stripes)
    };
    hash = hash.wrapping_add(data.len() as u32);
    let (words, bytes) = tail.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(XXH[2]));
        hash = hash.rotate_left(17).wrapping_mul(XXH[3]);
    }
    for byte in bytes {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(XXH[4]));
        hash = hash.rotate_left(11).wrapping_mul(XXH[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(XXH[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(XXH[2]);
    hash ^ (hash >> 16)
}

fn xxh32_stripes(stripes: &[[u8; 16]]) -> u32 {
    let mut lanes = [
        XXH[0].wrapping_add(XXH[1]),
        XXH[1],
        0,
        XXH[0].wrapping_neg(),
    ];
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = lane.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(XXH[1]));
            *lane = lane.rotate_left(13).wrapping_mul(XXH[0]);
        }
    }
    lanes
        .iter()
        .zip([1, 7, 12, 18])
        .fold(0u32, |sum, (lane, turn)| {
            sum.wrapping_add(lane.rotate_left(turn))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_checksum_is_that_of_the_whole() {
        let data: Vec<u8> = (0..50_000u32).map(|at| ((at * at) >> 5) as u8).collect();
        for head in [0, 1, 40, 5000] {
            for step in [1, 7, 384, 8192, 50_000] {
                let mut running = Running::default();
                data[head..]
                    .chunks(step)
                    .for_each(|part| running.update(part));
                assert_eq!(running.behind(&data[..head]), crc32c(&data));
            }
        }
    }

    #[test]
    fn check_values_of_both_polynomials() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// Values of the reference implementation (`xxhsum -H0`).
    #[test]
    fn xxh32_is_that_of_the_reference() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"a"), 0x550d_7456);
        assert_eq!(xxh32(b"123456789"), 0x937b_ad67);
        assert_eq!(
            xxh32(b"Nobody inspects the spammish repetition"),
            0xe229_3b2f
        );
    }

    #[test]
    fn replaced_head_gives_the_crc_of_the_whole() {
        for tail_len in [0, 1, 7, 64, 1000, 70_000] {
            let tail = vec![0xa5u8; tail_len];
            let whole = |head: &[u8]| crc32c(&[head, &tail].concat());
            let (old, new) = (b"abcdef", b"ghijkl");
            assert_eq!(
                crc32c_replace_head(whole(old), old, new, tail_len),
                whole(new)
            );
        }
    }
}
