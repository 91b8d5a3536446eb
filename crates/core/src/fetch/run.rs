//! Records of one batch that are handed over together.
//!
//! Station: record. The inbox gives runs to callers; `Records` and `Record` refer to them.

use std::ops::Range;
use std::sync::Arc;

use crate::record::decode::DecodedBatch;

/// A part of a batch: its records from the position on, as far as they fit into one poll.
#[derive(Debug, Clone)]
pub struct Run {
    pub topic: Arc<str>,
    pub partition: i32,
    pub batch: Arc<DecodedBatch>,
    /// Indices into the batch; never empty.
    pub records: Range<usize>,
    /// The position after this run. Past the last record if offsets without a record follow (compaction).
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
