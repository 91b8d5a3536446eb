//! Sends that wait until the partitions of a topic are known, because a function of the application chooses among them.
//!
//! They have a queue: only its head is accepted, so a send after the metadata has arrived does not overtake one that the event
//! loop has not woken yet. Station: partition. Under the producer's lock; a send that is woken checks again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::failure::Failure;
use crate::seam::Wake;

/// Knowledge about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    Partitions(usize),
    NotYet,
    /// It was requested and is not available.
    Failed(Failure),
    /// The producer accepts no more messages.
    Closed,
}

type Sleeper = (Arc<dyn Wake>, u64);

#[derive(Default)]
pub(crate) struct TopicWait {
    asked: bool,
    refusal: Option<Failure>,
    /// In the order of their tickets; without a sleeper where no task awaits it, or it was woken.
    queue: VecDeque<(u64, Option<Sleeper>)>,
    last_ticket: u64,
}

impl TopicWait {
    /// Returns whether the topic has to be requested now; drops the last refusal.
    pub fn ask(&mut self) -> bool {
        self.refusal = None;
        !std::mem::replace(&mut self.asked, true)
    }

    /// Whether callers wait for it.
    pub fn is_awaited(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn refusal(&self) -> Option<&Failure> {
        self.refusal.as_ref()
    }

    pub fn wake_all(&mut self) {
        let sleepers = self
            .queue
            .iter_mut()
            .filter_map(|(_, sleeper)| sleeper.take());
        for (wake, token) in sleepers {
            wake.wake(token);
        }
    }

    // ---- the queue -------------------------------------------------------------------------------------------------

    pub fn join_queue(&mut self) -> u64 {
        self.last_ticket += 1;
        self.queue.push_back((self.last_ticket, None));
        self.last_ticket
    }

    /// Whether the holder of this ticket is the head; without a ticket: whether the queue is empty.
    pub fn is_head(&self, ticket: Option<u64>) -> bool {
        let head = self.queue.front().map(|(head, _)| *head);
        head.is_none() || head == ticket
    }

    fn position(&self, ticket: u64) -> Option<usize> {
        self.queue
            .binary_search_by_key(&ticket, |(there, _)| *there)
            .ok()
    }

    pub fn sleep_in_queue(&mut self, ticket: u64, wake: Arc<dyn Wake>, token: u64) {
        if let Some(position) = self.position(ticket) {
            self.queue[position].1 = Some((wake, token));
        }
    }

    /// Removes a place, used or not, and wakes a new head, which could not be accepted before.
    pub fn leave_queue(&mut self, ticket: u64) {
        let Some(position) = self.position(ticket) else {
            return;
        };
        self.queue.remove(position);
        if position == 0
            && let Some((_, sleeper)) = self.queue.front_mut()
            && let Some((wake, token)) = sleeper.take()
        {
            wake.wake(token);
        }
    }

    /// Notes that the topic is known, or was refused, and wakes all.
    pub fn resolve(&mut self, refusal: Option<Failure>) {
        self.asked = false;
        self.refusal = refusal;
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Woken(Mutex<Vec<u64>>);

    impl Wake for Woken {
        fn wake(&self, token: u64) {
            self.0.lock().unwrap().push(token);
        }
    }

    impl Woken {
        fn take(&self) -> Vec<u64> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    /// Three in the queue whose tokens are their tickets.
    fn queue() -> (TopicWait, Arc<Woken>) {
        let (mut wait, woken) = (TopicWait::default(), Arc::new(Woken::default()));
        for expected in 1..=3 {
            assert_eq!(wait.join_queue(), expected);
            wait.sleep_in_queue(expected, woken.clone(), expected);
        }
        (wait, woken)
    }

    #[test]
    fn only_the_head_has_its_turn() {
        let (mut wait, _) = queue();
        assert!(wait.is_head(Some(1)));
        assert!(!wait.is_head(Some(2)));
        assert!(!wait.is_head(None));
        (1..=3).for_each(|ticket| wait.leave_queue(ticket));
        assert!(wait.is_head(None));
    }

    #[test]
    fn an_answer_wakes_the_queue_in_order_and_each_once() {
        let (mut wait, woken) = queue();
        wait.resolve(None);
        assert_eq!(woken.take(), [1, 2, 3]);
        wait.leave_queue(1);
        wait.wake_all();
        assert_eq!(woken.take(), []);
    }

    #[test]
    fn a_sleeper_that_checked_too_early_is_woken_as_the_head() {
        let (mut wait, woken) = queue();
        wait.resolve(None);
        woken.take();
        wait.sleep_in_queue(2, woken.clone(), 22);
        wait.leave_queue(3);
        assert_eq!(woken.take(), []);
        wait.leave_queue(1);
        assert_eq!(woken.take(), [22]);
    }
}
