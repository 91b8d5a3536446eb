//! Partitions that have batches: a turn of the I/O thread checks only these, however many partitions a topic has.
//!
//! An *active* partition has batches, in flight or not; linger and expiry are checked for it. A *listed* partition has batches to
//! be sent; it is once in the list of its connection (`produce/drain/todo.rs`), or in `unsorted` until it gets there.
//! Station: accumulator; under the producer's lock.

use crate::produce::partition::Partition;

#[derive(Default)]
pub(crate) struct Active {
    /// Indices, each once.
    parts: Vec<usize>,
    /// Partitions that were listed since `take_unsorted` was last called.
    unsorted: Vec<usize>,
}

impl Active {
    pub fn at(&self, place: usize) -> Option<usize> {
        self.parts.get(place).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().copied()
    }

    #[cfg(feature = "testing")]
    pub fn unsorted(&self) -> &[usize] {
        &self.unsorted
    }

    pub fn take_unsorted(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.unsorted)
    }

    /// Marks a partition that has a batch to be sent; it may be marked already.
    pub fn mark_active(&mut self, parts: &mut [Partition], part: usize) {
        let entry = &mut parts[part];
        if !std::mem::replace(&mut entry.active, true) {
            self.parts.push(part);
        }
        if !std::mem::replace(&mut entry.listed, true) {
            self.unsorted.push(part);
        }
    }

    /// Drops partitions without batches from the list of active ones.
    pub fn forget_idle(&mut self, parts: &mut [Partition]) {
        self.parts.retain(|part| {
            let entry = &mut parts[*part];
            entry.active = entry.has_work() || !entry.flight.is_empty();
            entry.active
        });
    }
}
