//! Takers that sleep until the inbox has something for them: takers of any partition, and takers of one.
//!
//! A waiter is woken once and is removed then. Waiters to wake are collected under the lock and woken after it is released.

use std::collections::HashSet;
use std::sync::Arc;

use crate::fetch::places::{Place, Places};
use crate::seam::Wake;

pub type WaiterId = u64;

struct Waiter {
    id: WaiterId,
    wake: Arc<dyn Wake>,
    token: u64,
}

/// A waiter to wake, with its own token.
pub type Due = (Arc<dyn Wake>, u64);

#[derive(Default)]
pub struct Waiters {
    next: WaiterId,
    of_any: Vec<Waiter>,
    of_one: Places<Vec<Waiter>>,
    /// Waiters that `wakeup` woke and that have not ended their wait.
    interrupted: HashSet<WaiterId>,
    due: Vec<Due>,
}

impl Waiters {
    pub fn add(&mut self, only: Option<(&str, i32)>, wake: Arc<dyn Wake>, token: u64) -> WaiterId {
        self.next += 1;
        let id = self.next;
        let waiter = Waiter { id, wake, token };
        match only {
            None => self.of_any.push(waiter),
            Some((topic, partition)) => {
                self.of_one.entry_or_default(topic, partition).push(waiter);
            }
        }
        id
    }

    /// Ends a wait; true when it was `wakeup` that ended it.
    pub fn remove(&mut self, id: WaiterId) -> bool {
        if self.interrupted.remove(&id) {
            return true;
        }
        self.of_any.retain(|waiter| waiter.id != id);
        for waiters in self.of_one.values_mut() {
            waiters.retain(|waiter| waiter.id != id);
        }
        false
    }

    /// Wakes the takers of any partition.
    pub fn wake_any(&mut self) {
        self.due.extend(self.of_any.drain(..).map(due));
    }

    /// Wakes the takers of this partition and of any: it has something.
    pub fn wake_for(&mut self, place: &Place) {
        self.wake_any();
        self.wake_only(&place.0, place.1);
    }

    /// Wakes the takers of this partition alone.
    pub fn wake_only(&mut self, topic: &str, partition: i32) {
        if let Some(waiters) = self.of_one.remove(topic, partition) {
            self.due.extend(waiters.into_iter().map(due));
        }
    }

    pub fn wake_all(&mut self) {
        let all = self.take_all();
        self.due.extend(all.into_iter().map(due));
    }

    /// Interrupts every wait; false when there was none.
    pub fn interrupt(&mut self) -> bool {
        let all = self.take_all();
        let any = !all.is_empty();
        self.interrupted.extend(all.iter().map(|waiter| waiter.id));
        self.due.extend(all.into_iter().map(due));
        any
    }

    fn take_all(&mut self) -> Vec<Waiter> {
        let mut all = std::mem::take(&mut self.of_any);
        for mut waiters in std::mem::take(&mut self.of_one).into_values() {
            all.append(&mut waiters);
        }
        all
    }

    pub fn take_due(&mut self) -> Vec<Due> {
        std::mem::take(&mut self.due)
    }
}

fn due(waiter: Waiter) -> Due {
    (waiter.wake, waiter.token)
}
