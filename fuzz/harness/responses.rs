//! Responses that Rust reads: Produce, and Fetch as far as the records that a caller takes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::fetch::flow::Settings;
use ottla_core::fetch::shared::FetchShared;
use ottla_core::fetch::take::Take;
use ottla_core::fetch::wire as fetch;
use ottla_core::ids::ConnId;
use ottla_core::produce::wire as produce;
use ottla_core::record::iter_batches;
use ottla_core::seam::{Bell, Flow};

/// Minimum size of a partition in a response, which bounds the number of partitions of a frame.
const PARTITION_BYTES: usize = 22;
const MOST_PARTITIONS: usize = 16;
const MOST_TAKES: usize = 1_000;
const CAP: usize = 1 << 20;

/// Input: a version, then a Produce response.
pub fn produce_response(data: &[u8]) {
    let Some((first, frame)) = data.split_first() else {
        return;
    };
    let versions = produce::MAX_VERSION - produce::MIN_VERSION + 1;
    let version = produce::MIN_VERSION + i16::from(*first) % versions;
    if let Ok(response) = produce::decode_response(version, frame) {
        assert!(response.partitions.len() <= frame.len() / PARTITION_BYTES);
    }
}

/// Input: a byte of version and settings, then a Fetch response, which answers the request of a flow.
pub fn fetch_response(data: &[u8]) {
    let Some((first, frame)) = data.split_first() else {
        return;
    };
    let versions = fetch::MAX_VERSION - fetch::MIN_VERSION + 1;
    let version = fetch::MIN_VERSION + i16::from(first & 0x0f) % versions;
    let frame = Bytes::copy_from_slice(frame);
    let decoded = fetch::decode_response(version, &frame).ok();
    let partitions = decoded.map_or_else(Vec::new, |response| response.partitions);
    assert!(partitions.len() <= frame.len() / PARTITION_BYTES);
    let records: usize = partitions
        .iter()
        .map(|part| part.answer.records.len())
        .sum();
    assert!(records <= frame.len());
    let flow = FetchShared::new(
        settings(first & 0x10 != 0, first & 0x20 != 0),
        Arc::new(Silent),
    );
    answer(&flow, version, &partitions, frame);
}

fn settings(read_committed: bool, check_crcs: bool) -> Settings {
    Settings {
        client_id: "fuzz".into(),
        rack: String::new(),
        isolation: i8::from(read_committed),
        min_bytes: 1,
        max_bytes: 1 << 20,
        partition_bytes: 1 << 18,
        max_wait: 500_000,
        request_timeout: 30_000_000,
        buffer_bytes: CAP,
        decompressed_bytes: CAP,
        check_crcs,
    }
}

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

fn answer(flow: &FetchShared, version: i16, partitions: &[fetch::PartitionAnswer], frame: Bytes) {
    let conn: ConnId = 1;
    flow.attach(conn, version, 1, "broker:9092");
    let mut positions = HashMap::new();
    for part in partitions.iter().take(MOST_PARTITIONS) {
        let topic = if fetch::uses_topic_ids(version) {
            format!("{:?}", part.id)
        } else {
            part.name.to_string()
        };
        let first = iter_batches(&part.answer.records)
            .next()
            .and_then(Result::ok);
        let offset = first.map_or(0, |batch| batch.header().base_offset.max(0));
        flow.assign(&topic, part.id, part.partition);
        flow.position(&topic, part.partition, offset, -1);
        flow.route(&topic, part.partition, conn, -1);
        positions.insert((topic, part.partition), offset);
    }
    let Some(request) = flow.next_request(conn, 1, 1_000) else {
        return;
    };
    // A response that is not readable, or names other partitions than the request, is an error or is ignored.
    let _ = flow.on_response(conn, request.token, frame, 2_000);
    take_everything(flow, positions);
    flow.take_events();
}

/// Takes all records; the offsets of a partition have to rise for any response.
fn take_everything(flow: &FetchShared, mut positions: HashMap<(String, i32), i64>) {
    for _ in 0..MOST_TAKES {
        let runs = match flow.take(100, None) {
            Take::Runs(runs) => runs,
            Take::Moved => continue,
            // It is raised until the position is set again.
            Take::Failed(_) | Take::Nothing => return,
            Take::Ended | Take::Woken | Take::Closed => unreachable!("it was not requested"),
        };
        for run in runs {
            let position = positions
                .get_mut(&(run.topic.to_string(), run.partition))
                .expect("a partition that was assigned");
            assert!(!run.is_empty());
            for record in &run.batch.positions()[run.records.clone()] {
                assert!(record.offset >= *position);
                *position = record.offset + 1;
            }
            assert!(run.next_offset >= *position);
            *position = run.next_offset;
        }
    }
}
