//! Callers that wait until a topic's partitions are known, because a function of theirs chooses among them.
//!
//! Station: partition. Under the producer's lock; whoever is woken looks again.

use std::sync::Arc;

use crate::completion::Failure;
use crate::flow::Wake;

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

#[derive(Default)]
pub(crate) struct TopicWait {
    asked: bool,
    refusal: Option<Failure>,
    waiters: Vec<(Arc<dyn Wake>, u64)>,
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
        for (wake, token) in self.waiters.drain(..) {
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
