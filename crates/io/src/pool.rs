//! Buffers for frames, in size classes that are powers of two, used again without being cleared.
//!
//! A fresh megabyte costs page faults every time; a used one costs nothing. A frame never shows bytes of an earlier one:
//! it exposes only bytes that were read into it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Frames up to this size are allocated at once; larger ones grow with the bytes that arrive.
pub const SMALL_BYTES: usize = 64 * 1024;

const SMALLEST_CLASS: u32 = 10;
const CLASSES: usize = 15;
const RETAINED_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
struct Shelves {
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
}

/// Shared by the I/O thread, which takes buffers, and by the threads that drop the last reference to a frame, which return them.
#[derive(Debug, Default)]
pub struct Pool {
    shelves: Mutex<Shelves>,
}

impl Pool {
    /// Returns a buffer of at least `bytes`, allocated if none is idle.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        match class_of(bytes) {
            Some(class) => self
                .take_idle(class)
                .unwrap_or_else(|| vec![0; class_bytes(class)]),
            None => vec![0; bytes],
        }
    }

    /// Returns an idle buffer of at least `bytes`, if there is one: costs nothing, for any length that a peer claims.
    pub fn take_existing(&self, bytes: usize) -> Option<Vec<u8>> {
        self.take_idle(class_of(bytes)?)
    }

    pub fn put(&self, buffer: Vec<u8>) {
        let Some(class) = class_of(buffer.len()) else {
            return;
        };
        if class_bytes(class) != buffer.len() {
            return;
        }
        let mut shelves = self.shelves.lock();
        if shelves.bytes + buffer.len() <= RETAINED_BYTES {
            shelves.bytes += buffer.len();
            shelves.classes[class].push(buffer);
        }
    }

    /// Bytes of idle buffers.
    pub fn retained_bytes(&self) -> usize {
        self.shelves.lock().bytes
    }

    fn take_idle(&self, class: usize) -> Option<Vec<u8>> {
        let mut shelves = self.shelves.lock();
        let buffer = shelves.classes[class].pop()?;
        shelves.bytes -= buffer.len();
        Some(buffer)
    }
}

/// The smallest class that holds `bytes`; None when it is too large to be pooled.
fn class_of(bytes: usize) -> Option<usize> {
    let bits = bytes.max(1).checked_next_power_of_two()?.trailing_zeros();
    let class = bits.saturating_sub(SMALLEST_CLASS) as usize;
    (class < CLASSES).then_some(class)
}

fn class_bytes(class: usize) -> usize {
    1 << (class as u32 + SMALLEST_CLASS)
}

/// A buffer that returns to the pool when it is dropped.
struct Pooled {
    buffer: Vec<u8>,
    used: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

/// The first `used` bytes of `buffer` as a frame that returns the buffer when its last reference is dropped.
pub fn freeze(buffer: Vec<u8>, used: usize, pool: &Arc<Pool>) -> Bytes {
    Bytes::from_owner(Pooled {
        buffer,
        used,
        pool: pool.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_when_its_last_reference_is_dropped() {
        let pool = Arc::new(Pool::default());
        let frame = freeze(pool.take(5000), 3, &pool);
        assert_eq!(frame.len(), 3);
        let part = frame.slice(1..2);
        drop(frame);
        assert_eq!(pool.retained_bytes(), 0);
        drop(part);
        assert_eq!(pool.retained_bytes(), 8192);
        assert!(pool.take_existing(4097).is_some());
        assert!(pool.take_existing(4097).is_none());
    }

    #[test]
    fn buffers_that_are_too_large_are_dropped() {
        let pool = Arc::new(Pool::default());
        drop(freeze(pool.take(40 << 20), 1, &pool));
        assert_eq!(pool.retained_bytes(), 0);
    }
}
