//! The complete batches that are sealed ahead of their requests.
//!
//! Station: batch; under the producer's lock, except their number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bytes::compression::codec::{Compression, Cost};

/// Complete batches that are sealed ahead, by partition and id, oldest first; one queue for cheap codecs and one for the others.
#[derive(Debug, Default)]
pub(crate) struct SealQueue {
    low: VecDeque<(usize, u64)>,
    high: VecDeque<(usize, u64)>,
    waiting: Arc<SealsWaiting>,
    #[cfg(feature = "testing")]
    pub(in crate::produce) forced_from: Option<usize>,
}

/// Number of batches in the queues, readable without the lock.
#[derive(Debug, Default)]
pub(crate) struct SealsWaiting {
    low: AtomicUsize,
    high: AtomicUsize,
}

impl SealsWaiting {
    fn of(&self, cost: Cost) -> &AtomicUsize {
        match cost {
            Cost::Low => &self.low,
            Cost::High => &self.high,
        }
    }

    pub fn get(&self, cost: Cost) -> usize {
        self.of(cost).load(Ordering::Relaxed)
    }
}

impl SealQueue {
    /// Size from which on a batch is sealed ahead.
    pub fn ahead_from(&self, compression: Compression) -> usize {
        #[cfg(feature = "testing")]
        if let Some(bytes) = self.forced_from {
            return bytes;
        }
        compression.ahead_from()
    }

    pub fn waiting(&self) -> Arc<SealsWaiting> {
        self.waiting.clone()
    }

    fn change<R>(&mut self, cost: Cost, work: impl FnOnce(&mut VecDeque<(usize, u64)>) -> R) -> R {
        let queue = match cost {
            Cost::Low => &mut self.low,
            Cost::High => &mut self.high,
        };
        let result = work(queue);
        self.waiting.of(cost).store(queue.len(), Ordering::Relaxed);
        result
    }

    pub(super) fn push(&mut self, cost: Cost, batch: (usize, u64)) {
        self.change(cost, |queue| queue.push_back(batch));
    }

    pub(super) fn move_last_to_front(&mut self, cost: Cost) {
        self.change(cost, |queue| queue.rotate_right(1.min(queue.len())));
    }

    /// Takes the next batch; it may have expired meanwhile.
    pub fn pop(&mut self, cost: Cost) -> Option<(usize, u64)> {
        self.change(cost, VecDeque::pop_front)
    }
}
