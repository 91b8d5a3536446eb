//! Fetched records: batches of magic 2 and message sets of magic 0 and 1.

use bytes::Bytes;
use ottla_core::bytes::checksum::{crc32, crc32c};
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::record::{DecodedBatch, RawBatch, iter_batches, scan_headers};

/// Small, so that a decompression bomb is cheap; larger than any content of the corpus.
const CAP: usize = 1 << 20;

/// Decodes fetched bytes: unchanged, and again with right checksums, which hardly any random input has.
pub fn decode_batches(data: &[u8]) {
    check(Bytes::copy_from_slice(data));
    check(with_right_checksums(data).into());
}

/// A nested set of magic 0 or 1: with right checksums, compressed, inside a message that is right in everything else.
///
/// The first byte chooses magic, codec and the kind of timestamp; the rest is the set.
pub fn legacy_message_set(data: &[u8]) {
    let Some((first, set)) = data.split_first() else {
        return;
    };
    let magic = first & 1;
    let (number, codec) =
        [(1, Codec::Gzip), (2, Codec::Snappy), (3, Codec::Lz4)][usize::from(first >> 1) % 3];
    let log_append = (first & 0x20) >> 2;
    let set = with_right_checksums(set);
    let mut compressor = Compressor::default();
    let Ok(value) = compressor.compress(codec, None, &set) else {
        return;
    };
    let mut body = vec![magic, number | log_append];
    if magic == 1 {
        body.extend_from_slice(&1_700_000_000_000_i64.to_be_bytes());
    }
    body.extend_from_slice(&(-1_i32).to_be_bytes());
    body.extend_from_slice(&(value.len() as i32).to_be_bytes());
    body.extend_from_slice(value);
    let mut message = last_offset(&set).to_be_bytes().to_vec();
    message.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    message.extend_from_slice(&crc32(&body).to_be_bytes());
    message.extend_from_slice(&body);
    check(message.into());
}

/// The offset of the last whole message, which its wrapper has too.
fn last_offset(mut set: &[u8]) -> i64 {
    let mut last = 0;
    while let (Some(offset), Some(len)) = (set.first_chunk(), whole_len(set)) {
        last = i64::from_be_bytes(*offset);
        set = &set[len..];
    }
    last
}

fn check(frame: Bytes) {
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
            check_records(raw, &batch);
        }
    }
}

fn check_records(raw: &RawBatch, batch: &DecodedBatch) {
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
        // Headers are decoded on access; an error is allowed.
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
    let len = whole_len(data)?;
    data.get_mut(..len)
}

/// The length of the batch or message that begins here, if all of it is there.
fn whole_len(data: &[u8]) -> Option<usize> {
    let size = i32::from_be_bytes(*data.get(8..)?.first_chunk()?);
    let len = usize::try_from(size).ok()?.checked_add(12)?;
    (len <= data.len()).then_some(len)
}
