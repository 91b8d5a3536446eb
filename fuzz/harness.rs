//! What is done with each input: by the fuzz targets, and by `crates/core/tests/fuzz_regressions.rs` on stable Rust.

use bytes::Bytes;
use ottla_core::bytes::checksum::{crc32, crc32c};
use ottla_core::produce::wire;
use ottla_core::record::{DecodedBatch, RawBatch, iter_batches, scan_headers};

/// Small, so that a bomb is cheap; larger than what the corpus holds.
const CAP: usize = 1 << 20;

/// Fetched bytes: as they are, and again with right checksums, behind which hardly any input would come otherwise.
pub fn decode_batches(data: &[u8]) {
    look(Bytes::copy_from_slice(data));
    look(with_right_checksums(data).into());
}

/// A version, then a Produce response.
pub fn produce_response(data: &[u8]) {
    let Some((first, frame)) = data.split_first() else {
        return;
    };
    let versions = wire::MAX_VERSION - wire::MIN_VERSION + 1;
    let version = wire::MIN_VERSION + i16::from(*first) % versions;
    if let Ok(response) = wire::decode_response(version, frame) {
        // Every partition takes at least 22 bytes; an array cannot make more of them than there is room for.
        assert!(response.partitions.len() <= frame.len() / 22);
    }
}

fn look(frame: Bytes) {
    let raw: Vec<RawBatch> = iter_batches(&frame).map_while(Result::ok).collect();
    if let Ok(scan) = scan_headers(&frame) {
        assert_eq!(scan.batches, raw.len());
        assert_eq!(
            scan.next_offset,
            raw.last().map(|raw| raw.header().next_offset())
        );
        assert_eq!(
            scan.whole_bytes,
            raw.iter().map(|raw| raw.data().len()).sum::<usize>()
        );
    }
    for raw in &raw {
        if let Ok(batch) = raw.decode(CAP) {
            look_at_records(raw, &batch);
        }
    }
}

fn look_at_records(raw: &RawBatch, batch: &DecodedBatch) {
    assert!(batch.data().len() <= CAP.max(raw.data().len()));
    let offsets: Vec<i64> = batch.positions().iter().map(|p| p.offset).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b));
    assert!(
        offsets
            .last()
            .is_none_or(|last| *last < batch.header().next_offset())
    );
    for (index, position) in batch.positions().iter().enumerate() {
        let record = batch.record(index);
        let key = record.as_ref().and_then(|record| record.key);
        assert_eq!(key.is_none(), position.key.len < 0);
        assert_eq!(batch.first_index_at(position.offset), index);
        assert_eq!(
            batch.bytes(position.value).as_deref(),
            record.and_then(|record| record.value)
        );
        // Headers are read when they are asked for; that they may be refused is all there is to say.
        let _ = batch.headers(index);
    }
    assert!(batch.record(batch.len()).is_none());
}

fn with_right_checksums(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    let mut at = 0;
    while let Some(batch) = whole_batch(&mut out[at..]) {
        let len = batch.len();
        if len > 21 && batch[16] >= 2 {
            let crc = crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
        } else if len > 16 && batch[16] < 2 {
            let crc = crc32(&batch[16..]);
            batch[12..16].copy_from_slice(&crc.to_be_bytes());
        }
        at += len;
    }
    out
}

fn whole_batch(data: &mut [u8]) -> Option<&mut [u8]> {
    let size = i32::from_be_bytes(*data.get(8..)?.first_chunk()?);
    let total = usize::try_from(size).ok()?.checked_add(12)?;
    data.get_mut(..total)
}
