//! A batch of messages: open while it fills, then complete, sealed, sent.
//!
//! Stations: batch → outbox → request; under the producer's lock.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Identity, Micros};
use crate::produce::completion::Completion;
use crate::produce::wire::Answer;
use crate::record::encode::BatchBuilder;

/// Kafka's sequences go round after this one.
const LAST_SEQUENCE: i64 = i32::MAX as i64;

pub(crate) enum Content {
    /// Not sealed yet: sealing happens outside the lock, when the batch is first sent.
    Open(BatchBuilder),
    /// Not sealed yet, and so large that it is sealed before it may be sent.
    Queued(BatchBuilder),
    /// Sealed ahead; who produces is written into it when it is first sent.
    Ready(Vec<u8>),
    Sealed(Bytes),
    /// Being sealed.
    BeingSealed,
}

impl Content {
    /// Bytes in a request: before compression where it is not sealed.
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
    /// From its first attempt on, where the producer is idempotent.
    pub sequence: Option<Sequence>,
    /// How often it was put into a request.
    pub attempts: u32,
    pub attempt: Attempt,
    pub proof: Proof,
    /// Error code of its last answer, of this attempt or an earlier one; 0: no attempt was answered.
    pub refused: i16,
}

/// The attempt that nobody has decided about yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// There is none: the batch waits to be sent, for the first time or again.
    None,
    /// It is in a request without an answer.
    InFlight,
    /// The broker refused it.
    Refused(Answer),
    /// Its connection ended without an answer.
    Lost,
}

/// Whether earlier events show that the batch is in the log. The open attempt is not part of it: `Batch::may_be_written`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is not there: each attempt was refused before the append.
    None,
    /// It may be there: an attempt had no answer, or one that a broker also gives after an append.
    Maybe,
    /// It is there: a batch behind it was acknowledged under the same identity, and a broker accepts no gap.
    Appended,
}

/// The identity and number under which a broker recognizes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub identity: Identity,
    /// Of its first message.
    pub first: i32,
}

impl Batch {
    pub fn was_sent(&self) -> bool {
        self.attempts > 0
    }

    /// Whether its messages have their outcome already. Such a batch stays in flight until its answer or the end of its
    /// connection: its sequence is not free before.
    pub fn is_settled(&self) -> bool {
        !self.completion.is_pending()
    }

    pub fn is_appended(&self) -> bool {
        self.proof == Proof::Appended
    }

    /// Notes that it may be in the log, unless more is known.
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
    /// Of the batch that it becomes.
    pub id: u64,
    pub(super) builder: BatchBuilder,
    pub(super) completion: Arc<Completion>,
    pub created: Micros,
    /// What it weighs: the capacity of its buffer, itself, and what its messages charge_until_read beside their records.
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
