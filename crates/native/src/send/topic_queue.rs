//! The queue of sends that wait for the metadata of their topic, because a function of the application chooses the partition.
//!
//! The call takes the place, which lasts until the message is accepted, has a place in the queue for buffer space, or is given
//! up. Later sends to the same topic queue behind it, also when the metadata has arrived and the event loop has not woken the
//! sleeper yet. Station: partition. Owner: the thread or event loop that waits.

use std::sync::Arc;

use ottla_core::produce::append::topic_wait::Known;
use ottla_core::seam::Wake;
use pyo3::prelude::*;

use crate::errors;
use crate::fork;
use crate::seam::failures;
use crate::send::sender::{Sender, SenderUse};

/// Dropping it gives the place up.
pub struct TopicPlace {
    pub sender: SenderUse,
    topic: usize,
    ticket: u64,
    /// The message names no partition: the topic has to be known.
    chooses: bool,
    /// Of the fork: the queue of a parent process is not to be touched.
    generation: u32,
}

impl TopicPlace {
    pub fn has_to_wait(&self) -> bool {
        self.sender.shared.with(|flow| {
            !flow.acc.is_head_of_topic(self.topic, Some(self.ticket))
                || self.chooses && flow.acc.known(self.topic) == Known::NotYet
        })
    }

    pub fn sleep(&self, wake: Arc<dyn Wake>, token: u64) {
        self.sender.shared.with(|flow| {
            flow.acc
                .sleep_in_topic_queue(self.topic, self.ticket, wake, token);
        });
    }

    /// The error where its time is up.
    #[cold]
    pub fn too_late(&self, py: Python<'_>) -> PyErr {
        late(py, &self.sender, self.topic)
    }
}

impl Drop for TopicPlace {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        self.sender
            .shared
            .with(|flow| flow.acc.leave_topic_queue(self.topic, self.ticket));
    }
}

/// Whether a send has to wait for its topic; it has a place then, or the one that it had.
///
/// With a place the topic was asked for before, and the answer counts; without one it is asked for again.
pub fn has_to_wait(
    sender: &Sender,
    topic: usize,
    chooses: bool,
    place: &mut Option<TopicPlace>,
) -> bool {
    if place.as_ref().is_some_and(|place| place.topic != topic) {
        *place = None;
    }
    let before = place.as_ref().map(|place| place.ticket);
    let ticket = sender.shared.with(|flow| {
        let unknown = chooses
            && Known::NotYet
                == match before {
                    Some(_) => flow.acc.known(topic),
                    None => flow.acc.ask_for(topic),
                };
        let waits = unknown || !flow.acc.is_head_of_topic(topic, before);
        waits.then(|| before.unwrap_or_else(|| flow.acc.join_topic_queue(topic)))
    });
    let Some(ticket) = ticket else {
        return false;
    };
    match place {
        Some(place) => place.chooses = chooses,
        None => {
            *place = Some(TopicPlace {
                sender: sender.new_use(),
                topic,
                ticket,
                chooses,
                generation: fork::generation(),
            });
        }
    }
    true
}

/// Raises where a send that does not wait would overtake others.
pub fn check_nobody_waits(py: Python<'_>, sender: &Sender, topic: usize) -> PyResult<()> {
    let free = sender
        .shared
        .with(|flow| flow.acc.is_head_of_topic(topic, None));
    if free {
        Ok(())
    } else {
        Err(late(py, sender, topic))
    }
}

/// The error where the function could not be called in time.
#[cold]
pub fn late(py: Python<'_>, sender: &Sender, topic: usize) -> PyErr {
    let (name, known, trouble) = sender.shared.with(|flow| {
        let acc = &flow.acc;
        (acc.topic_name(topic), acc.known(topic), acc.trouble(topic))
    });
    let trouble = trouble.map(|trouble| failures::trouble(py, &trouble));
    match trouble.transpose() {
        Ok(trouble) => errors::made(
            py,
            "topic_pending",
            (&*name, known == Known::NotYet, trouble),
        ),
        Err(error) => error,
    }
}
