//! What a message and a batch weigh against the budget: the memory that they hold, not their bytes.
//!
//! Station: accumulator; under the producer's lock. Why: `docs/adr/0016-one-budget-one-queue.md`.

use super::Accumulator;
use crate::completion::Completion;
use crate::produce_flow::Batch;
use crate::record::encode::{BatchBuilder, RECORD_SPARE};
use crate::record::header::HEADER_LEN;

/// What a batch takes beside its buffer: itself, its completion, its places in queues and requests.
pub(super) const BATCH_BYTES: usize = 512;
/// What a `Delivery` takes that is kept for readers of outcomes. The key and value in it are the caller's own objects.
pub(super) const DELIVERY_BYTES: usize = 128;
/// What a message can take beside the size of its record: a batch of its own. A message whose topic is not known takes less
/// than that: its entry in a list, and an allocation of no more bytes than its record.
pub(super) const fn beside_record(per_message: usize) -> usize {
    BATCH_BYTES + HEADER_LEN + RECORD_SPARE + per_message
}

/// What a batch weighs that was sealed: its buffer, or as much as its outcomes weigh until they are read.
///
/// `held`: what its buffer takes.
pub(crate) fn sealed_bytes(batch: &Batch, held: usize, per_message: usize) -> usize {
    let held = match per_message {
        0 => held,
        _ => held.max(batch.raw),
    };
    held + BATCH_BYTES + per_message * batch.count as usize
}

impl Accumulator {
    /// What a batch that is not sealed weighs.
    pub(crate) fn open_bytes(&self, builder: &BatchBuilder) -> usize {
        builder.capacity_bytes() + BATCH_BYTES + self.per_message * builder.count() as usize
    }

    /// Whether a record of this size has room, with all that it can take beside it.
    #[inline(always)]
    pub(super) fn has_room_for(&self, size: usize) -> bool {
        self.used + size <= self.full_at
    }

    /// What is left of the budget.
    pub(crate) fn left(&self) -> usize {
        self.settings.buffer_bytes.saturating_sub(self.used)
    }

    /// Bytes of buffers that wait to be used again; they are in no batch and count for none.
    pub fn idle_bytes(&self) -> usize {
        self.pool.idle_bytes()
    }

    /// Takes this much of the budget. Idle buffers lie in what is left of it.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.used += bytes;
        self.pool.keep_within(self.left());
    }

    /// Whether the bytes of what is resolved stay on the books until its outcomes are read.
    pub(crate) fn is_weighed(&self, completion: &Completion, bytes: usize) -> bool {
        self.settings.keeps_outcomes && completion.weigh(bytes)
    }

    /// What was taken already weighs so much more, or less.
    pub(crate) fn weighed_anew(&mut self, change: isize) {
        self.used = self.used.saturating_add_signed(change);
        self.pool.keep_within(self.left());
    }
}
