//! Callers that wait until a topic's partitions are known, because a function of theirs chooses among them.
//!
//! Threads wait as they come. Sends of event loops stand in line, since one loop has many under way: only the head of the
//! line is accepted, so that what is sent once the topic is known does not overtake what has not been woken yet. Station:
//! partition. Under the producer's lock; whoever is woken looks again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::failure::Failure;
use crate::seam::Wake;

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    Partitions(usize),
    NotYet,
    /// It was asked for and cannot be had.
    Failed(Failure),
    /// The producer accepts nothing more.
    Closed,
}

type Sleeper = (Arc<dyn Wake>, u64);

#[derive(Default)]
pub(crate) struct TopicWait {
    asked: bool,
    refusal: Option<Failure>,
    waiters: Vec<Sleeper>,
    /// In the order of their tickets; without a sleeper where nobody awaits it, or it was woken.
    line: VecDeque<(u64, Option<Sleeper>)>,
    last_ticket: u64,
}

impl TopicWait {
    /// Whether the topic has to be asked for now; what was answered the last time no longer counts.
    pub fn ask(&mut self) -> bool {
        self.refusal = None;
        !std::mem::replace(&mut self.asked, true)
    }

    pub fn refusal(&self) -> Option<&Failure> {
        self.refusal.as_ref()
    }

    pub fn join(&mut self, wake: Arc<dyn Wake>, token: u64) {
        self.waiters.push((wake, token));
    }

    pub fn wake_all(&mut self) {
        let in_line = self
            .line
            .iter_mut()
            .filter_map(|(_, sleeper)| sleeper.take());
        for (wake, token) in self.waiters.drain(..).chain(in_line) {
            wake.wake(token);
        }
    }

    // ---- the line --------------------------------------------------------------------------------------------------

    pub fn stand_in_line(&mut self) -> u64 {
        self.last_ticket += 1;
        self.line.push_back((self.last_ticket, None));
        self.last_ticket
    }

    /// Whether nobody stands before the holder of this ticket; without a ticket: whether nobody stands there.
    pub fn is_head(&self, ticket: Option<u64>) -> bool {
        let head = self.line.front().map(|(head, _)| *head);
        head.is_none() || head == ticket
    }

    fn position(&self, ticket: u64) -> Option<usize> {
        self.line
            .binary_search_by_key(&ticket, |(there, _)| *there)
            .ok()
    }

    pub fn sleep_in_line(&mut self, ticket: u64, wake: Arc<dyn Wake>, token: u64) {
        if let Some(position) = self.position(ticket) {
            self.line[position].1 = Some((wake, token));
        }
    }

    /// Gives up a place, or has used it. The new head looked in vain if it sleeps: it could not be its turn.
    pub fn leave_line(&mut self, ticket: u64) {
        let Some(position) = self.position(ticket) else {
            return;
        };
        self.line.remove(position);
        if position == 0
            && let Some((_, sleeper)) = self.line.front_mut()
            && let Some((wake, token)) = sleeper.take()
        {
            wake.wake(token);
        }
    }

    /// It is known now, or (with a refusal) never will be.
    pub fn answered(&mut self, refusal: Option<Failure>) {
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

    /// Three in line whose tokens are their tickets.
    fn line() -> (TopicWait, Arc<Woken>) {
        let (mut wait, woken) = (TopicWait::default(), Arc::new(Woken::default()));
        for expected in 1..=3 {
            assert_eq!(wait.stand_in_line(), expected);
            wait.sleep_in_line(expected, woken.clone(), expected);
        }
        (wait, woken)
    }

    #[test]
    fn only_the_head_has_its_turn() {
        let (mut wait, _) = line();
        assert!(wait.is_head(Some(1)));
        assert!(!wait.is_head(Some(2)));
        assert!(!wait.is_head(None));
        (1..=3).for_each(|ticket| wait.leave_line(ticket));
        assert!(wait.is_head(None));
    }

    #[test]
    fn an_answer_wakes_the_line_in_order_and_each_once() {
        let (mut wait, woken) = line();
        wait.answered(None);
        assert_eq!(woken.take(), [1, 2, 3]);
        wait.leave_line(1);
        wait.wake_all();
        assert_eq!(woken.take(), []);
    }

    #[test]
    fn who_looked_too_early_is_woken_as_the_head() {
        let (mut wait, woken) = line();
        wait.answered(None);
        woken.take();
        wait.sleep_in_line(2, woken.clone(), 22);
        wait.leave_line(3);
        assert_eq!(woken.take(), []);
        wait.leave_line(1);
        assert_eq!(woken.take(), [22]);
    }
}
