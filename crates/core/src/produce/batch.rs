//! A batch of messages: open while it fills, then complete, sealed, sent.
//!
//! Stations: batch → outbox → request; under the producer's lock.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::Micros;
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
    Away,
}

impl Content {
    /// Bytes in a request: before compression where it is not sealed.
    pub(super) fn len_bytes(&self) -> usize {
        match self {
            Self::Open(builder) | Self::Queued(builder) => builder.len_bytes(),
            Self::Ready(bytes) => bytes.len(),
            Self::Sealed(bytes) => bytes.len(),
            Self::Away => 0,
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
    /// Producer id, epoch and first sequence, from the first time that it was sent.
    pub sequence: Option<(i64, i16, i32)>,
    pub attempts: u32,
    pub sent: bool,
    /// An attempt ended without an answer.
    pub unanswered: bool,
    /// A batch behind it was acknowledged under the same identity. The broker accepts no gap, so this one is in the log.
    pub overtaken: bool,
    /// Its time is up and its messages have their outcome; it stays in line until its answer or the connection's end.
    pub expired: bool,
    /// Its attempt has ended, one way or the other.
    pub answered: bool,
    pub answer: Option<Answer>,
    /// The error code of the last attempt that was answered; 0: none was.
    pub refused: i16,
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
    /// What it weighs: the capacity of its buffer, itself, and what its messages weigh beside their records.
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
