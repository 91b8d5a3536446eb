//! A batch of messages: open while it fills, then complete, sealed, sent.
//!
//! Stations: batch → outbox → request; under the producer's lock.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Identity, Micros};
use crate::produce::completion::Completion;
use crate::produce::wire::Answer;
use crate::record::encode::BatchBuilder;

/// Highest sequence of Kafka; the next one is 0.
const LAST_SEQUENCE: i64 = i32::MAX as i64;

pub(crate) enum Content {
    /// Not sealed yet: sealing happens outside the lock, when the batch is first sent.
    Open(BatchBuilder),
    /// Not sealed yet, and so large that it is sealed before it may be sent.
    Queued(BatchBuilder),
    /// Sealed ahead; the producer id, epoch and sequence are written into it when it is first sent.
    Ready(Vec<u8>),
    Sealed(Bytes),
    /// Being sealed.
    BeingSealed,
}

impl Content {
    /// Size in a request; where it is not sealed, the size before compression.
    pub(super) fn len_bytes(&self) -> usize {
        match self {
            Self::Open(builder) | Self::Queued(builder) => builder.len_bytes(),
            Self::Ready(bytes) => bytes.len(),
            Self::Sealed(bytes) => bytes.len(),
            Self::BeingSealed => 0,
        }
    }
}

pub(crate) struct Batch {
    pub id: u64,
    pub content: Content,
    pub completion: Arc<Completion>,
    pub count: u32,
    pub created: Micros,
    /// Its size before compression.
    pub raw: usize,
    pub accounted: usize,
    /// Set at the first attempt of an idempotent producer.
    pub sequence: Option<Sequence>,
    /// Number of requests that contained it.
    pub attempts: u32,
    pub attempt: Attempt,
    pub proof: Proof,
    /// Error code of its last answer, to this attempt or an earlier one; 0: no attempt was answered.
    pub refused: i16,
}

/// State of the current attempt, about which nothing has been decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// No attempt: the batch waits to be sent, for the first time or again.
    None,
    /// The batch is in a request without an answer.
    InFlight,
    /// The broker refused the batch.
    Refused(Answer),
    /// The connection ended without an answer.
    Lost,
}

/// Whether earlier events show that the batch is in the log. For the current attempt see `Batch::may_be_written`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is not in the log: each attempt was refused before the append.
    None,
    /// It may be in the log: an attempt had no answer, or one that a broker also gives after an append.
    Maybe,
    /// It is in the log: a batch behind it was acknowledged under the same identity, and a broker accepts no gap.
    Appended,
}

/// The identity and number under which a broker recognizes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub identity: Identity,
    /// Sequence of its first message.
    pub first: i32,
}

impl Batch {
    pub fn was_sent(&self) -> bool {
        self.attempts > 0
    }

    /// Whether its messages have their outcome already. Such a batch stays in flight until its answer arrives or its connection
    /// ends: its sequence is in use until then.
    pub fn is_settled(&self) -> bool {
        !self.completion.is_pending()
    }

    pub fn is_appended(&self) -> bool {
        self.proof == Proof::Appended
    }

    /// Notes that it may be in the log, unless it is known to be there.
    pub fn doubt(&mut self) {
        if self.proof == Proof::None {
            self.proof = Proof::Maybe;
        }
    }
}

pub(super) fn sequence_after(first: i32, count: u32) -> i32 {
    ((i64::from(first) + i64::from(count)) % (LAST_SEQUENCE + 1)) as i32
}

/// An open batch.
pub(crate) struct Open {
    /// Number of the batch that it becomes.
    pub id: u64,
    pub(super) builder: BatchBuilder,
    pub(super) completion: Arc<Completion>,
    pub created: Micros,
    /// Bytes charged: capacity of its buffer, its own memory, and the overhead of its messages in addition to their records.
    pub accounted: usize,
    /// Bytes at which it is full.
    pub(super) limit: usize,
}

impl Open {
    /// Whether a message of this size fits.
    #[inline(always)]
    pub(super) fn takes(&self, size: usize) -> bool {
        self.builder.len_bytes() + size <= self.limit
    }

    pub fn len_bytes(&self) -> usize {
        self.builder.len_bytes()
    }

    pub fn count(&self) -> u32 {
        self.builder.count()
    }
}
