//! The queue of senders that wait for room.
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
    /// It looked in vain since it was woken last.
    pub checked: bool,
}

#[derive(Default)]
pub(super) struct SpaceQueue {
    /// In the order of their tickets.
    pub waiters: VecDeque<Waiter>,
    pub last_ticket: u64,
    /// So many at the head were woken and have not appended, for these bytes.
    pub woken: usize,
    pub woken_bytes: usize,
    /// The size of the last message that was refused since room came; 0: none was.
    pub refused: usize,
    /// The engine knows that there is no room, and looks by itself until there is.
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
