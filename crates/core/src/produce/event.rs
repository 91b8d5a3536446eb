//! What a produce flow and the engine say to each other: events out, decisions in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::failure::Failure;
use crate::ids::{ConnId, Micros};
use crate::produce::wire::Answer;

/// A batch of a held partition as the engine is told.
#[derive(Debug, Clone)]
pub struct HeldBatch {
    pub base_sequence: i32,
    pub records: u32,
    pub bytes: usize,
    pub attempts: u32,
    pub sent: bool,
    pub expired: bool,
    pub unanswered: bool,
    /// Any of its attempts may have written it, the last one included.
    pub may_be_written: bool,
    pub answer: Option<Answer>,
}

/// What the engine is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// Messages wait for a topic's metadata.
    Topic(Arc<str>),
    /// Batches wait and there is no route.
    Wanted(Arc<str>, i32),
    Held {
        topic: Arc<str>,
        partition: i32,
        cause: String,
        batches: Vec<HeldBatch>,
        /// Producer id and epoch that the partition writes under; None: it has sent nothing yet.
        identity: Option<(i64, i16)>,
    },
    Failed {
        topic: Arc<str>,
        partition: i32,
        records: u64,
        failure: Failure,
    },
    Throttled(ConnId, i32),
    /// A batch is in the log. Only where somebody listens, as the two below.
    Acked {
        topic: Arc<str>,
        partition: i32,
        records: u32,
        bytes: usize,
        base_offset: i64,
        attempts: u32,
        created: Micros,
    },
    /// The first sender waits for room.
    Full {
        used: usize,
    },
    /// No sender waits any more.
    Free {
        used: usize,
    },
    /// A message was refused for lack of room, and so many were accepted before. Told again once the engine has found room.
    Lacking {
        accepted: u64,
    },
}

/// What is to become of a held batch.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Again, the same bytes and sequence.
    Retry,
    Fail(Failure),
    /// Only these records fail; the rest is a new batch.
    FailRecords(BTreeMap<u32, String>, i16),
    /// Several batches in its place: the broker takes no batch of this size.
    Split,
    Written(i64),
}
