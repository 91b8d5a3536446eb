//! Records of one batch that are handed over together.
//!
//! Station: record. What the inbox gives to a caller, and what `Records` and `Record` look into.

use std::ops::Range;
use std::sync::Arc;

use crate::record::decode::DecodedBatch;

/// A part of a batch: what of it belongs to the position it was fetched for and fits into one poll.
#[derive(Debug, Clone)]
pub struct Run {
    pub topic: Arc<str>,
    pub partition: i32,
    pub batch: Arc<DecodedBatch>,
    /// Indices into the batch; never empty.
    pub records: Range<usize>,
    /// The position after this run. Past the last record where offsets follow that have no record (compaction).
    pub next_offset: i64,
}

impl Run {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn leader_epoch(&self) -> i32 {
        self.batch.header().partition_leader_epoch
    }
}
