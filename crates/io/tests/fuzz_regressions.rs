//! The corpus of frames of `fuzz/` through its own harness, and random changes of it, on stable Rust.

#[path = "../../../fuzz/harness/changes.rs"]
mod changes;
#[path = "../../../fuzz/harness/frames.rs"]
mod frames;

#[test]
fn frames_of_a_stream() {
    changes::run("frames", frames::frames);
}
