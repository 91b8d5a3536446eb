//! Reusable buffers of batches: a fresh megabyte is a system call and a page fault for every 4 KiB of it.
//!
//! `Pool::take` returns a buffer with its old contents, which a batch overwrites without paying for zeros; a caller that appends takes
//! `Pool::take_empty`.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Maximum idle bytes of a pool without a budget.
const MAX_IDLE_BYTES: usize = 16 * 1024 * 1024;
/// Maximum capacity of a buffer that is left to the allocator.
const SMALL_BYTES: usize = 2 * 1024;
/// Smallest and largest pooled buffer: 4 KiB and 256 MiB.
const SMALLEST_POWER: u32 = 12;
const POWERS: usize = 16;
/// Number of size classes between two powers of two: a buffer is at most a quarter larger than requested.
const STEPS: usize = 4;
const CLASSES: usize = POWERS * STEPS;

/// The wanted capacity of a buffer. Budgets count capacities, so the minimum and the maximum are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    pub least: usize,
    /// The preferred capacity, where it is between the two.
    pub wish: usize,
    pub most: usize,
}

impl Fit {
    /// This capacity, and little more.
    pub fn about(bytes: usize) -> Self {
        Self {
            least: bytes,
            wish: bytes,
            most: bytes + bytes / STEPS + 1,
        }
    }

    /// This capacity, and little more where that stays within `most`.
    pub fn within(bytes: usize, most: usize) -> Self {
        let about = Self::about(bytes);
        Self {
            most: about.most.min(most).max(bytes),
            ..about
        }
    }

    /// Capacity of a new buffer.
    fn fresh(self) -> usize {
        let wish = self.wish.max(self.least);
        match class_above(wish).map(class_bytes) {
            Some(rounded) if wish > SMALL_BYTES && rounded <= self.most => rounded,
            _ => wish.min(self.most).max(self.least),
        }
    }

    /// The classes whose buffers fit, the best first: the preferred one, larger ones up to twice as large, smaller ones.
    fn classes(self) -> impl Iterator<Item = usize> {
        let wish = self.wish.max(self.least);
        let class = |bytes| class_above(bytes).unwrap_or(CLASSES);
        let (least, wished) = match wish {
            0..=SMALL_BYTES => (CLASSES, CLASSES),
            _ => (class(self.least), class(wish)),
        };
        let larger = wished..CLASSES.min(wished + STEPS + 1);
        larger.chain((least..wished).rev())
    }
}

#[derive(Debug)]
struct Shelves([Vec<Vec<u8>>; CLASSES]);

impl Default for Shelves {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Vec::new()))
    }
}

#[derive(Debug)]
pub struct Pool {
    shelves: Mutex<Shelves>,
    /// Idle bytes; changed under the lock of the shelves, read without it.
    idle: AtomicUsize,
    /// Maximum idle bytes.
    most: usize,
}

impl Default for Pool {
    /// A pool without a budget.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Pool {
    /// The pool of a producer with this budget: at most half of it is idle.
    pub fn new(budget: usize) -> Self {
        Self {
            shelves: Mutex::default(),
            idle: AtomicUsize::new(0),
            most: MAX_IDLE_BYTES.min(budget / 2),
        }
    }

    /// Returns a buffer that fits, with its old contents: a caller that overwrites them pays for no zeros.
    pub fn take(&self, fit: Fit) -> Vec<u8> {
        self.take_idle(fit)
            .unwrap_or_else(|| Vec::with_capacity(fit.fresh()))
    }

    fn take_idle(&self, fit: Fit) -> Option<Vec<u8>> {
        let mut shelves = self.shelves.lock();
        for class in fit.classes() {
            let shelf = &mut shelves.0[class];
            // The buffer that was used last is the one that is still in the processor's cache.
            if shelf.last().is_some_and(|last| last.capacity() <= fit.most) {
                let buffer = shelf.pop()?;
                self.idle.fetch_sub(buffer.capacity(), Ordering::Relaxed);
                return Some(buffer);
            }
        }
        None
    }

    /// Like `take`, but empty.
    pub fn take_empty(&self, fit: Fit) -> Vec<u8> {
        let mut buffer = self.take(fit);
        buffer.clear();
        buffer
    }

    /// Returns a larger buffer with the contents of this one. Without a suitable idle buffer the allocator enlarges this one; it
    /// moves pages rather than bytes where the buffer is large.
    pub fn exchange(&self, mut old: Vec<u8>, fit: Fit) -> Vec<u8> {
        let Some(mut buffer) = self.take_idle(fit) else {
            old.reserve_exact(fit.fresh().saturating_sub(old.len()));
            return old;
        };
        if buffer.len() < old.len() {
            buffer.clear();
            buffer.extend_from_slice(&old);
        } else {
            buffer[..old.len()].copy_from_slice(&old);
        }
        self.give(old);
        buffer
    }

    pub fn give(&self, buffer: Vec<u8>) {
        let Some(class) = class_below(buffer.capacity()) else {
            return;
        };
        let mut shelves = self.shelves.lock();
        let idle = self.idle_bytes() + buffer.capacity();
        if idle <= self.most {
            self.idle.store(idle, Ordering::Relaxed);
            shelves.0[class].push(buffer);
        }
    }

    /// Frees idle buffers, the largest first, until at most `bytes` are idle.
    pub fn keep_within(&self, bytes: usize) {
        if self.idle_bytes() <= bytes {
            return;
        }
        let mut shelves = self.shelves.lock();
        for shelf in shelves.0.iter_mut().rev() {
            while self.idle_bytes() > bytes
                && let Some(buffer) = shelf.pop()
            {
                self.idle.fetch_sub(buffer.capacity(), Ordering::Relaxed);
            }
        }
    }

    /// Idle bytes.
    pub fn idle_bytes(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }
}

/// The class of a buffer of this capacity: the largest one that it reaches.
fn class_below(capacity: usize) -> Option<usize> {
    let power = capacity.checked_ilog2()?;
    let above = power.checked_sub(SMALLEST_POWER)? as usize;
    let class = above * STEPS + ((capacity * STEPS) >> power) % STEPS;
    (class < CLASSES).then_some(class)
}

/// The smallest class whose buffers all have at least `bytes`.
fn class_above(bytes: usize) -> Option<usize> {
    if bytes <= class_bytes(0) {
        return Some(0);
    }
    let class = class_below(bytes - 1)? + 1;
    (class < CLASSES).then_some(class)
}

fn class_bytes(class: usize) -> usize {
    let power = class / STEPS + SMALLEST_POWER as usize;
    (1 << power) + ((class % STEPS) << power) / STEPS
}

/// The bytes of a batch, which go back to the pool when nothing refers to them any more.
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
    fn classes_are_in_order_and_hold_their_size() {
        for class in 0..CLASSES {
            let bytes = class_bytes(class);
            assert_eq!(class_below(bytes), Some(class));
            assert_eq!(class_above(bytes), Some(class));
            assert_eq!(class_below(bytes - 1), class.checked_sub(1));
            let next = (class + 1 < CLASSES).then_some(class + 1);
            assert_eq!(class_above(bytes + 1), next);
        }
        for none in [0, 1, 3, 4095, 1 << 40] {
            assert_eq!(class_below(none), None);
        }
    }

    #[test]
    fn a_buffer_is_used_again_where_it_fits() {
        let pool = Pool::default();
        pool.give(Vec::with_capacity(100_000));
        assert_eq!(pool.idle_bytes(), 100_000);
        assert!(pool.take(Fit::about(20_000)).capacity() <= 25_000);
        assert!(pool.take(Fit::about(100_001)).capacity() > 100_001);
        assert_eq!(pool.take(Fit::about(90_000)).capacity(), 100_000);
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn minimum_and_maximum_hold_with_any_idle_buffers() {
        for at_hand in [4096, 5000, 60_000, 70_000, 100_000, 300_000] {
            for least in [1, 700, 4096, 60_000, 65_537] {
                for wish in [0, least, 2 * least, 1 << 20] {
                    for most in [least, least + 100, 4 * least] {
                        let pool = Pool::default();
                        pool.give(Vec::with_capacity(at_hand));
                        let taken = pool.take(Fit { least, wish, most }).capacity();
                        assert!((least..=most).contains(&taken), "{taken}");
                    }
                }
            }
        }
    }

    #[test]
    fn small_buffers_and_those_beyond_the_limit_are_dropped() {
        let pool = Pool::default();
        pool.give(Vec::with_capacity(1000));
        assert_eq!(pool.idle_bytes(), 0);
        for _ in 0..40 {
            pool.give(Vec::with_capacity(1 << 20));
        }
        assert_eq!(pool.idle_bytes(), MAX_IDLE_BYTES);
        pool.keep_within(3 << 20);
        assert_eq!(pool.idle_bytes(), 3 << 20);
    }

    #[test]
    fn at_most_half_of_the_budget_is_idle() {
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
        assert_eq!(pool.take(Fit::about(8192)), [7; 8192]);
        pool.give(vec![7; 8192]);
        assert!(pool.take_empty(Fit::about(8192)).is_empty());
    }

    #[test]
    fn contents_move_into_the_larger_buffer() {
        for kept in [0, 10, 20_480] {
            let pool = Pool::default();
            let mut idle = Vec::with_capacity(20_480);
            idle.resize(kept, 9);
            pool.give(idle);
            let larger = pool.exchange(vec![7; 5000], Fit::about(20_480));
            assert_eq!(larger[..5000], [7; 5000]);
            assert_eq!(larger.capacity(), 20_480);
            assert_eq!(pool.idle_bytes(), 5000, "the old one is idle");
            let largest = pool.exchange(larger, Fit::about(100_000));
            assert_eq!(largest[..5000], [7; 5000]);
            assert!((100_000..=125_001).contains(&largest.capacity()));
            assert_eq!(pool.idle_bytes(), 5000, "it was made larger");
        }
    }
}
