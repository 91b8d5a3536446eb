#![no_main]

#[allow(dead_code, reason = "another target has the rest of it")]
#[path = "../harness/responses.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::produce_response(data));
