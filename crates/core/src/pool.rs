//! Buffers of batches, used again: a fresh megabyte is a system call and a page fault for every 4 KiB of it.

use parking_lot::Mutex;

/// Most bytes that lie idle here.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub struct Pool {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// A buffer of at least this capacity, and not of many times as much, since capacity is what counts against budgets.
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        let mut idle = self.idle.lock();
        let fits =
            |buffer: &Vec<u8>| (capacity..=capacity.saturating_mul(2)).contains(&buffer.capacity());
        match idle.iter().rposition(fits) {
            Some(index) => idle.swap_remove(index),
            None => Vec::with_capacity(capacity.next_power_of_two()),
        }
    }

    pub fn give(&self, buffer: Vec<u8>) {
        let mut idle = self.idle.lock();
        if buffer.capacity() > 0 && idle.iter().map(Vec::capacity).sum::<usize>() < KEPT_BYTES {
            idle.push(buffer);
        }
    }
}

/// A batch's bytes that go back to the pool when nothing refers to them any more.
pub struct Pooled {
    pub buffer: Vec<u8>,
    pub pool: std::sync::Arc<Pool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}
