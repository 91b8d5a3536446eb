//! CRC-32C (batches of magic 2, in hardware where the processor has it) and CRC-32 (message sets of magic 0 and 1).

pub fn crc32c(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
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
    let difference = crc32c(old_head) ^ crc32c(new_head);
    old ^ crc32c::crc32c_combine(difference, 0, tail_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_both_polynomials() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
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
