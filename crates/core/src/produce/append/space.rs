//! Waiting for free buffer space: the queue of senders, and the wakes when memory is released.
//!
//! Station: accumulator; under the producer's lock. First come, first served: only the head of the queue may append. As many
//! senders are woken as fit into the free space, in order and each once, so that a long queue advances in one turn of its event
//! loop; a sender that checks too early is woken again when it has become the head. See `docs/adr/0016-one-budget-one-queue.md`.

use std::sync::Arc;

use crate::produce::append::accumulator::Accumulator;
use crate::produce::append::space_queue::Waiter;
use crate::produce::event::Event;
use crate::seam::Wake;

impl Accumulator {
    /// Joins the queue for free space, and returns the ticket of its place. `wake` is called when these bytes may fit.
    pub fn wait_for_space(&mut self, bytes: usize, wake: Arc<dyn Wake>, token: u64) -> u64 {
        if self.reports.watched && self.space.waiters.is_empty() {
            self.reports.events.push(Event::BufferFilled {
                used: self.memory.used(),
            });
        }
        self.space.last_ticket += 1;
        let ticket = self.space.last_ticket;
        self.space.waiters.push_back(Waiter {
            ticket,
            bytes,
            wake,
            token,
            checked: false,
        });
        self.close_all();
        ticket
    }

    /// Notes that a message of this size was refused because the buffer is full. Open batches are closed, as for a sender that waits.
    /// The first refusal is reported to the engine.
    #[cold]
    pub(crate) fn note_full(&mut self, size: usize) {
        if self.memory.has_space_for(size) {
            return; // Space was released meanwhile, or other senders are first in the queue.
        }
        self.space.refused = size;
        self.close_all();
        if !std::mem::replace(&mut self.space.reported, true) {
            let accepted = self.counts.accepted;
            self.reports.events.push(Event::SpaceLacking { accepted });
        }
    }

    /// Whether senders wait for free space, or one was refused and its message would not fit now.
    pub fn is_full(&self) -> bool {
        let refused = self.space.refused;
        !self.space.is_empty() || (refused > 0 && !self.memory.has_space_for(refused))
    }

    /// Number of messages accepted so far, while the buffer is full. None once it is not; the next refusal is then reported again.
    pub fn still_full(&mut self) -> Option<u64> {
        let full = self.is_full();
        self.space.reported = full;
        full.then_some(self.counts.accepted)
    }

    pub fn waiting_senders(&self) -> usize {
        self.space.waiters.len()
    }

    /// Removes the head of the queue, which has appended, and wakes the next.
    pub(super) fn advance_queue(&mut self) {
        self.space.refused = 0;
        self.space.remove(0);
        self.wake_next();
    }

    /// Closes all open batches, so that their memory is released once they are sent. Buffers that are mostly empty are shrunk at
    /// once, as nothing more is appended to them.
    pub(super) fn close_all(&mut self) {
        if !std::mem::take(&mut self.open_batches.opened) {
            return;
        }
        for place in 0.. {
            let Some(part) = self.active.at(place) else {
                break;
            };
            if let Some(open) = &mut self.parts[part].open
                && open.builder.capacity_bytes() > 4 * open.builder.len_bytes()
            {
                let before = open.builder.capacity_bytes();
                open.builder.shrink();
                let less = before - open.builder.capacity_bytes();
                open.accounted -= less;
                self.memory.give_back(less);
            }
            self.close_open(part);
        }
    }

    /// Replaces the wake of a waiter, which keeps its place in the queue.
    pub fn wait_again(&mut self, ticket: u64, wake: Arc<dyn Wake>, token: u64) {
        if let Some(position) = self.space.position(ticket) {
            let waiter = &mut self.space.waiters[position];
            waiter.wake = wake;
            waiter.token = token;
            waiter.checked = true;
            // It checked and there was too little space: a sender before it may have opened a batch.
            self.close_all();
        }
    }

    /// Leaves the queue without an append.
    pub fn leave_space_queue(&mut self, ticket: u64) {
        if let Some(position) = self.space.position(ticket) {
            self.space.remove(position);
            self.wake_next();
        }
    }

    fn wake_next(&mut self) {
        let Some(head) = self.space.waiters.front() else {
            if self.reports.watched {
                self.reports.events.push(Event::BufferFreed {
                    used: self.memory.used(),
                });
            }
            return;
        };
        if !self.memory.has_space_for(head.bytes) {
            self.close_all();
        }
        self.wake_senders();
    }

    /// Whether the waiter with this ticket may append now. If not, it is woken when it may.
    pub fn has_turn(&mut self, ticket: u64, bytes: usize) -> bool {
        if self.closed {
            return true;
        }
        let Some(position) = self.space.position(ticket) else {
            return false;
        };
        let fits = self.memory.has_space_for(bytes);
        if position == 0 && fits {
            return true;
        }
        self.space.waiters[position].checked = true;
        if position == 0 {
            // A batch that another sender opened took the free space: all waiters have to be woken again.
            self.space.woken = 0;
            self.space.woken_bytes = 0;
        }
        false
    }

    pub(crate) fn wake_senders(&mut self) {
        let cap = self.memory.full_at();
        let (space, used) = (&mut self.space, self.memory.used());
        if used + space.refused <= cap {
            space.refused = 0;
        }
        if let Some(head) = space.waiters.front_mut()
            && head.checked
            && space.woken > 0
            && used + head.bytes <= cap
        {
            head.checked = false;
            head.wake.wake(head.token);
        }
        while let Some(waiter) = space.waiters.get_mut(space.woken)
            && used + space.woken_bytes + waiter.bytes <= cap
        {
            waiter.checked = false;
            waiter.wake.wake(waiter.token);
            space.woken += 1;
            space.woken_bytes += waiter.bytes;
        }
    }

    pub(crate) fn free(&mut self, bytes: usize) {
        self.memory.give_back(bytes);
        self.wake_senders();
    }

    /// Releases the memory of resolved outcomes that were read.
    pub fn outcomes_read(&mut self, bytes: usize) {
        self.free(bytes);
    }
}
