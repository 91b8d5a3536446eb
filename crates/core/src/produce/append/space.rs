//! The line for room: who waits for a part of the budget, and who is woken when some of it comes free.
//!
//! Station: accumulator; under the producer's lock. First come, first served: only the head of the line may append. Woken
//! are as many as what is free has room for, in order and each once, so that a long line moves in one turn of its event loop;
//! whoever looks too early is woken again when it has become the head. See `docs/adr/0016-one-budget-one-queue.md`.

use std::sync::Arc;

use crate::produce::append::accumulator::Accumulator;
use crate::produce::append::space_queue::Waiter;
use crate::produce::event::Event;
use crate::seam::Wake;

impl Accumulator {
    /// Stands in line for room: `wake` is woken when there may be room for these bytes.
    pub fn wait_for_space(&mut self, bytes: usize, wake: Arc<dyn Wake>, token: u64) -> u64 {
        if self.reports.watched && self.space.waiters.is_empty() {
            self.reports.events.push(Event::Full {
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

    /// A message of this size was refused for lack of room. Who does not wait needs what lingers to go as much as who does. The
    /// first is told to the engine.
    #[cold]
    pub(crate) fn note_full(&mut self, size: usize) {
        if self.memory.has_space_for(size) {
            return; // It has come since, or others are first in line.
        }
        self.space.refused = size;
        self.close_all();
        if !std::mem::replace(&mut self.space.reported, true) {
            let accepted = self.counts.accepted;
            self.reports.events.push(Event::Lacking { accepted });
        }
    }

    /// Whether senders wait for room, or one was refused since some last came.
    pub fn is_full(&self) -> bool {
        let refused = self.space.refused;
        !self.space.is_empty() || (refused > 0 && !self.memory.has_space_for(refused))
    }

    /// How many messages have been accepted, where it is full; where it is not, the next lack of room is told again.
    pub fn still_full(&mut self) -> Option<u64> {
        let full = self.is_full();
        self.space.reported = full;
        full.then_some(self.counts.accepted)
    }

    pub fn waiting_senders(&self) -> usize {
        self.space.waiters.len()
    }

    /// The head of the line has appended: it is the next one's turn.
    pub(super) fn advance_queue(&mut self) {
        self.space.refused = 0;
        self.space.remove(0);
        self.wake_next();
    }

    /// What is open has to go, or no room ever comes. It gives back what it does not fill: nothing more comes in.
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

    /// Another wake for a waiter that keeps its place in line.
    pub fn wait_again(&mut self, ticket: u64, wake: Arc<dyn Wake>, token: u64) {
        if let Some(position) = self.space.position(ticket) {
            let waiter = &mut self.space.waiters[position];
            waiter.wake = wake;
            waiter.token = token;
            waiter.checked = true;
            // It looked and there was too little room: whoever was before it may have opened a batch.
            self.close_all();
        }
    }

    /// Gives up a place in line.
    pub fn leave_space_queue(&mut self, ticket: u64) {
        if let Some(position) = self.space.position(ticket) {
            self.space.remove(position);
            self.wake_next();
        }
    }

    fn wake_next(&mut self) {
        let Some(head) = self.space.waiters.front() else {
            if self.reports.watched {
                self.reports.events.push(Event::Free {
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

    /// Whether the waiter with this ticket may try now. Who may not is woken when it may.
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
            // What was free went into a batch that another one opened: all of them wait for more.
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

    /// Resolved outcomes of this weight were read.
    pub fn outcomes_read(&mut self, weight: usize) {
        self.free(weight);
    }
}
