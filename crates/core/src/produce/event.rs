//! Interface of a produce flow to the engine: events out, decisions in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::failure::Failure;
use crate::ids::{ConnId, Identity, Micros};
use crate::produce::batch::Proof;
use crate::produce::wire::Answer;
use crate::seam::LostCause;

/// Cause for which a partition stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldCause {
    /// An error code.
    Answer,
    /// The expiry of a batch in flight.
    Expired,
    /// A call of `hold` by the engine.
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
    /// Number of times that it was sent.
    pub attempts: u32,
    /// Its messages have their outcome already.
    pub expired: bool,
    /// Proof from the attempts before the last one.
    pub proof: Proof,
    /// Any of its attempts may have written it, including the last one.
    pub may_be_written: bool,
    pub answer: Option<Answer>,
}

/// Events for the engine.
#[derive(Debug, Clone)]
pub enum Event {
    /// Messages wait for a topic's metadata.
    TopicWanted(Arc<str>),
    /// Batches of a partition wait and there is no route.
    RouteWanted(Arc<str>, i32),
    Held {
        topic: Arc<str>,
        partition: i32,
        cause: HoldCause,
        batches: Vec<HeldBatch>,
        /// Identity that the partition writes under; None: it has sent nothing yet.
        identity: Option<Identity>,
    },
    MessagesFailed {
        topic: Arc<str>,
        partition: i32,
        records: u64,
        failure: Failure,
    },
    Throttled(ConnId, i32),
    /// A batch is in the log. This event and the two below are queued only where a listener wants them.
    BatchAcked {
        topic: Arc<str>,
        partition: i32,
        records: u32,
        bytes: usize,
        base_offset: i64,
        attempts: u32,
        created: Micros,
    },
    /// The first sender waits for free buffer space.
    BufferFilled {
        used: usize,
    },
    /// The last sender stopped waiting.
    BufferFreed {
        used: usize,
    },
    /// A message was refused because the buffer is full; `accepted`: number of messages accepted before. Queued again only after
    /// `still_full` has returned None.
    SpaceLacking {
        accepted: u64,
    },
}

/// Decision about a held batch.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It is sent again, with the same bytes and sequence.
    Retry,
    /// It is split into several batches: the broker accepts none of this size.
    Split,
    /// It is in the log.
    Written,
    /// Its messages have their outcome: only its memory is released.
    Drop,
    Fail(Failure),
    /// These records fail; the others form a new batch.
    FailRecords(BTreeMap<u32, Failure>),
}

/// Decisions that contradict the state of the batches. Nothing was carried out.
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
