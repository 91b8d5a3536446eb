//! The budget and the line of those who wait for room in it: first come, first served.
//!
//! Station: accumulator. Any thread, under the producer's lock.

use std::sync::Arc;

use super::Accumulator;
use crate::flow::Wake;

pub(super) struct RoomWaiter {
    pub ticket: u64,
    pub wake: Arc<dyn Wake>,
    pub token: u64,
}

impl Accumulator {
    /// Stands in line for room: `wake` is woken when it is this waiter's turn and there may be room.
    pub fn wait_for_room(&mut self, wake: Arc<dyn Wake>, token: u64) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.room.push_back(RoomWaiter {
            ticket,
            wake,
            token,
        });
        self.close_all();
        ticket
    }

    /// What is open has to go, or no room ever comes.
    pub(super) fn close_all(&mut self) {
        for part in 0..self.parts.len() {
            self.close_open(part);
        }
    }

    /// Wakes the next waiter, or sees to it that there will be room for it.
    pub(super) fn make_room(&mut self) {
        if !self.room.is_empty() && self.used >= self.settings.buffer_bytes {
            self.close_all();
        }
        self.wake_room();
    }

    /// Another wake for a waiter that keeps its place in line.
    pub fn wait_again(&mut self, ticket: u64, wake: Arc<dyn Wake>, token: u64) {
        if let Some(waiter) = self.room.iter_mut().find(|waiter| waiter.ticket == ticket) {
            waiter.wake = wake;
            waiter.token = token;
            // It looked and there was too little room: whoever was before it may have opened a batch.
            self.close_all();
        }
    }

    /// Gives up a place in line.
    pub fn leave_line(&mut self, ticket: u64) {
        self.room.retain(|waiter| waiter.ticket != ticket);
        self.wake_room();
    }

    /// Whether the waiter with this ticket may try now.
    pub fn has_turn(&self, ticket: u64, bytes: usize) -> bool {
        self.closed
            || (self
                .room
                .front()
                .is_some_and(|waiter| waiter.ticket == ticket)
                && self.used + bytes <= self.settings.buffer_bytes)
    }

    pub(crate) fn wake_room(&self) {
        if let Some(waiter) = self.room.front()
            && (self.used < self.settings.buffer_bytes || self.closed)
        {
            waiter.wake.wake(waiter.token);
        }
    }

    pub(crate) fn free(&mut self, bytes: usize) {
        self.used -= bytes;
        self.wake_room();
    }

    /// Resolved outcomes of this weight were read.
    pub fn outcomes_read(&mut self, weight: usize) {
        self.free(weight);
    }
}
