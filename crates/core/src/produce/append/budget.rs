//! The budget of a producer: what is taken of it, and what is left.
//!
//! Station: accumulator; under the producer's lock. What weighs how much: `weight.rs`.

use crate::produce::append::accumulator::Accumulator;
use crate::produce::append::weight::BATCH_BYTES;
use crate::record::encode::BatchBuilder;

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

    /// What was taken already weighs so much more, or less.
    pub(crate) fn weighed_anew(&mut self, change: isize) {
        self.used = self.used.saturating_add_signed(change);
        self.pool.keep_within(self.left());
    }
}
