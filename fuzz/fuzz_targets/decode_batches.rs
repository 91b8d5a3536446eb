#![no_main]

#[allow(dead_code, reason = "the harness of every target")]
#[path = "../harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::decode_batches(data));
