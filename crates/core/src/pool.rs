//! Buffers of batches, used again: a fresh megabyte is a system call and a page fault for every 4 KiB of it.

use parking_lot::Mutex;

/// Most bytes that lie idle in a pool.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
/// Smaller buffers than this are the allocator's to keep.
const SMALLEST_CLASS: u32 = 12;
const CLASSES: usize = 16;

#[derive(Debug, Default)]
struct Shelves {
    /// By the power of two that a buffer's capacity reaches.
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
}

#[derive(Debug)]
pub struct Pool {
    shelves: Mutex<Shelves>,
    /// Most bytes that lie idle.
    most: usize,
}

impl Default for Pool {
    /// Beside no budget.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Pool {
    /// Of a producer with this budget: at most half of it lies idle beside it.
    pub fn new(budget: usize) -> Self {
        Self {
            shelves: Mutex::default(),
            most: KEPT_BYTES.min(budget / 2),
        }
    }

    /// A buffer of at least this capacity, and not of many times as much, since capacity is what counts against budgets.
    /// In it is what was in it last: whoever fills it anew spares itself the zeros.
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        let rounded = capacity.next_power_of_two();
        let Some(class) = class_of(rounded) else {
            return Vec::with_capacity(capacity);
        };
        let mut shelves = self.shelves.lock();
        match shelves.classes[class].pop() {
            Some(buffer) => {
                shelves.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(rounded),
        }
    }

    /// As `take`, and empty.
    pub fn take_empty(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = self.take(capacity);
        buffer.clear();
        buffer
    }

    pub fn give(&self, buffer: Vec<u8>) {
        let Some(class) = class_of(buffer.capacity()) else {
            return;
        };
        let mut shelves = self.shelves.lock();
        if shelves.bytes + buffer.capacity() <= self.most {
            shelves.bytes += buffer.capacity();
            shelves.classes[class].push(buffer);
        }
    }

    /// Bytes that lie idle.
    pub fn idle_bytes(&self) -> usize {
        self.shelves.lock().bytes
    }
}

fn class_of(capacity: usize) -> Option<usize> {
    let class = capacity.checked_ilog2()?.checked_sub(SMALLEST_CLASS)? as usize;
    (class < CLASSES).then_some(class)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_for_what_is_not_much_smaller() {
        let pool = Pool::default();
        pool.give(Vec::with_capacity(100_000));
        assert_eq!(pool.idle_bytes(), 100_000);
        assert!(pool.take(20_000).capacity() < 100_000);
        assert_eq!(pool.take(60_000).capacity(), 100_000);
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn small_buffers_and_too_many_are_not_kept() {
        let pool = Pool::default();
        pool.give(Vec::with_capacity(1000));
        assert_eq!(pool.idle_bytes(), 0);
        for _ in 0..40 {
            pool.give(Vec::with_capacity(1 << 20));
        }
        assert_eq!(pool.idle_bytes(), KEPT_BYTES);
    }

    #[test]
    fn at_most_half_of_the_budget_lies_idle() {
        let pool = Pool::new(64 * 1024);
        for _ in 0..3 {
            pool.give(Vec::with_capacity(16 * 1024));
        }
        assert_eq!(pool.idle_bytes(), 32 * 1024);
    }

    #[test]
    fn a_buffer_comes_back_as_it_was_or_empty() {
        let pool = Pool::default();
        pool.give(vec![7; 8192]);
        assert_eq!(pool.take(8192), [7; 8192]);
        pool.give(vec![7; 8192]);
        assert!(pool.take_empty(8192).is_empty());
    }
}
