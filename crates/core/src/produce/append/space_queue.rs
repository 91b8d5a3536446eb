//! The queue of senders that wait for free buffer space.
//!
//! Station: accumulator; under the producer's lock.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::seam::Wake;

pub(super) struct Waiter {
    pub ticket: u64,
    pub bytes: usize,
    pub wake: Arc<dyn Wake>,
    pub token: u64,
    /// It checked in vain since it was last woken.
    pub checked: bool,
}

#[derive(Default)]
pub(super) struct SpaceQueue {
    /// In the order of their tickets.
    pub waiters: VecDeque<Waiter>,
    pub last_ticket: u64,
    /// Number of waiters at the head that were woken and have not appended.
    pub woken: usize,
    /// Bytes that the woken waiters need.
    pub woken_bytes: usize,
    /// Size of the last message that was refused since there was free space; 0: none was.
    pub refused: usize,
    /// The lack of space was reported to the engine, which polls `still_full` until it ends.
    pub reported: bool,
}

impl SpaceQueue {
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    #[inline(always)]
    pub fn head(&self) -> Option<u64> {
        self.waiters.front().map(|waiter| waiter.ticket)
    }

    pub(super) fn position(&self, ticket: u64) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&ticket, |waiter| waiter.ticket)
            .ok()
    }

    pub(super) fn remove(&mut self, position: usize) {
        let Some(waiter) = self.waiters.remove(position) else {
            return;
        };
        if position < self.woken {
            self.woken -= 1;
            self.woken_bytes -= waiter.bytes;
        }
    }

    pub fn wake_all(&self) {
        for waiter in &self.waiters {
            waiter.wake.wake(waiter.token);
        }
    }
}
