"""The consumer's policy: positions, groups, commits. The bytes come through Rust's fetch flow and inbox."""
