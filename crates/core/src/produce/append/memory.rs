//! The memory of a producer, which `buffer_memory` limits: how much is charged, and how much is left.
//!
//! Station: accumulator; under the producer's lock. Charges of messages and batches: `charges.rs`. Why it is a hard limit:
//! `docs/adr/0022-the-budget-is-a-hard-limit.md`.

use std::sync::Arc;

use crate::bytes::pool::Pool;
use crate::produce::append::charges::{BATCH_BYTES, record_overhead};
use crate::record::encode::BatchBuilder;

pub(in crate::produce) struct Memory {
    /// Charged for messages without an outcome and, where outcomes are read one by one, for those that are not read yet.
    used: usize,
    /// The limit.
    cap: usize,
    /// A record is accepted while `used` and its size are together no more than this. The rest of `cap` covers the overhead of one
    /// record, so `used` never exceeds `cap`, and the check costs a message one comparison.
    full_at: usize,
    /// Charge of a message in addition to its record: that of its delivery where outcomes are read one by one, else 0.
    per_message: usize,
    /// Idle buffers. They are charged to no batch and lie in the part of `cap` that is left.
    pub pool: Arc<Pool>,
}

impl Memory {
    pub fn new(cap: usize, per_message: usize) -> Self {
        Self {
            used: 0,
            cap,
            full_at: cap.saturating_sub(record_overhead(per_message)),
            per_message,
            pool: Arc::new(Pool::new(cap)),
        }
    }

    #[inline(always)]
    pub fn used(&self) -> usize {
        self.used
    }

    pub fn full_at(&self) -> usize {
        self.full_at
    }

    pub fn per_message(&self) -> usize {
        self.per_message
    }

    pub fn left(&self) -> usize {
        self.cap.saturating_sub(self.used)
    }

    /// Whether the budget has space for a record of this size and its overhead.
    #[inline(always)]
    pub fn has_space_for(&self, size: usize) -> bool {
        self.used + size <= self.full_at
    }

    /// Charges these bytes; drops idle buffers that no longer fit into the rest of the budget.
    pub fn take(&mut self, bytes: usize) {
        self.used += bytes;
        self.pool.keep_within(self.left());
    }

    /// Charges a message in addition to its record, which its batch is charged for. Returns how much.
    #[inline(always)]
    pub fn take_message(&mut self) -> usize {
        self.used += self.per_message;
        self.per_message
    }

    pub fn give_back(&mut self, bytes: usize) {
        self.used -= bytes;
    }

    /// Corrects the charge of batches, which turned out larger or smaller when they were sealed.
    pub fn adjust(&mut self, change: isize) {
        self.used = self.used.saturating_add_signed(change);
        self.pool.keep_within(self.left());
    }

    /// Charge of a batch that is not sealed.
    pub fn of_open(&self, builder: &BatchBuilder) -> usize {
        builder.capacity_bytes() + BATCH_BYTES + self.per_message * builder.count() as usize
    }
}
