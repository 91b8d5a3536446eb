//! Which partitions have batches: a turn of the I/O thread looks at no other, however many a topic has.
//!
//! *Active* is a partition with batches anywhere, for what time asks for. *Listed* is one with batches to be sent, once, in the list
//! of its connection (`produce/drain/todo.rs`), or on its way there in `unsorted`.
//! Station: accumulator; under the producer's lock.

use crate::produce::partition::Partition;

#[derive(Default)]
pub(crate) struct Active {
    /// Indices, each once.
    parts: Vec<usize>,
    /// Listed since the lists of the connections were last looked at.
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

    /// A partition has a batch to be sent, which it may have had before.
    pub fn mark_active(&mut self, parts: &mut [Partition], part: usize) {
        let entry = &mut parts[part];
        if !std::mem::replace(&mut entry.active, true) {
            self.parts.push(part);
        }
        if !std::mem::replace(&mut entry.listed, true) {
            self.unsorted.push(part);
        }
    }

    /// Those whose batches are all gone are not looked at any more.
    pub fn forget_idle(&mut self, parts: &mut [Partition]) {
        self.parts.retain(|part| {
            let entry = &mut parts[*part];
            entry.active = entry.has_work() || !entry.flight.is_empty();
            entry.active
        });
    }
}
