//! Runs a corpus and its regressions, and random changes of them, on stable Rust: for the tests of the crates.

use std::fs;
use std::path::{Path, PathBuf};

const CHANGES_PER_FILE: u64 = 300;

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut found = Vec::new();
    for kind in ["corpus", "regressions"] {
        let folder = fuzz.join(kind).join(target);
        for entry in fs::read_dir(&folder).expect("the folder is in the repository") {
            let path = entry.expect("readable").path();
            let data = fs::read(&path).expect("readable");
            found.push((path, data));
        }
    }
    assert!(found.len() > 5, "the corpus of {target} is too small");
    found
}

/// xorshift: the same changes each time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most.max(1)
    }
}

/// Changes an input as a fuzzer does: bytes changed, cut, repeated, numbers at their limits.
fn change(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if data.is_empty() {
            return;
        }
        let at = random.below(data.len());
        match random.below(6) {
            0 => data[at] = random.below(256) as u8,
            1 => data[at] ^= 1 << random.below(8),
            2 => data.truncate(at),
            3 => {
                let piece = data[at..].to_vec();
                data.extend_from_slice(&piece);
            }
            4 => {
                let limits = [0u8, 0x7f, 0x80, 0xff];
                let byte = limits[random.below(4)];
                let end = data.len().min(at + 4);
                data[at..end].fill(byte);
            }
            _ => {
                data.remove(at);
            }
        }
    }
}

pub fn run(target: &str, each: fn(&[u8])) {
    for (path, data) in inputs(target) {
        each(&data);
        for seed in 1..=CHANGES_PER_FILE {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut changed = data.clone();
            change(&mut changed, &mut random);
            let outcome = std::panic::catch_unwind(|| each(&changed));
            assert!(outcome.is_ok(), "{} changed by seed {seed}", path.display());
        }
    }
}
