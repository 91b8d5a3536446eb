//! What a produce flow and the engine say to each other: events out, decisions in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::failure::Failure;
use crate::ids::{ConnId, Identity, Micros};
use crate::produce::batch::Proof;
use crate::produce::wire::Answer;
use crate::seam::LostCause;

/// What stopped a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldCause {
    /// An error code.
    Answer,
    /// A batch in flight whose time was over.
    Expired,
    /// The engine's `hold`.
    Asked,
    /// Another topic under the same name.
    Recreated,
    /// The end of its connection.
    Lost(LostCause),
}

/// An unresolved batch of a held partition.
#[derive(Debug, Clone)]
pub struct HeldBatch {
    pub records: u32,
    pub bytes: usize,
    /// Times that it was sent; 0: never.
    pub attempts: u32,
    /// Its messages have their outcome.
    pub expired: bool,
    /// By the attempts before the last one.
    pub proof: Proof,
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
        cause: HoldCause,
        batches: Vec<HeldBatch>,
        /// The partition writes under it; None: it has sent nothing yet.
        identity: Option<Identity>,
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

/// What becomes of a held batch.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Sent again, with the same bytes and sequence.
    Retry,
    /// Several batches in its place: the broker takes no batch of this size.
    Split,
    /// It is in the log.
    Written,
    /// Its messages have their outcome: only its memory is given back.
    Drop,
    Fail(Failure),
    /// These records fail; the rest is a new batch.
    FailRecords(BTreeMap<u32, Failure>),
}

/// Decisions that contradict what the flow knows of the batches. Nothing was carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRelease {
    #[error("{decisions} decisions about {batches} held batches")]
    Count { decisions: usize, batches: usize },
    #[error(
        "batch {0} is in the log, and is neither to fail nor to be sent under another identity"
    )]
    Overtaken(usize),
    #[error("the messages of batch {0} have no outcome, and it is not to be dropped")]
    Dropped(usize),
}
