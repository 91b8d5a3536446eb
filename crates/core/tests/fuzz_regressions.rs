//! The corpus and the regressions of `fuzz/` through its own harness, and random changes of them, on stable Rust.

#[path = "../../../fuzz/harness/changes.rs"]
mod changes;
#[path = "../../../fuzz/harness/records.rs"]
mod records;
#[path = "../../../fuzz/harness/responses.rs"]
mod responses;

#[test]
fn record_batches() {
    changes::run("decode_batches", records::decode_batches);
}

#[test]
fn legacy_message_sets() {
    changes::run("legacy_message_set", records::legacy_message_set);
}

#[test]
fn produce_responses() {
    changes::run("produce_response", responses::produce_response);
}

#[test]
fn fetch_responses() {
    changes::run("fetch_response", responses::fetch_response);
}
