//! The line of an event loop's sends that wait for their topic, because the user's own function chooses the partition.
//!
//! The place is taken when `send` is called and kept until the message is accepted, stands in line for room, or is given
//! up: what is sent meanwhile to the same topic queues behind it, also where the metadata has come but the loop has not
//! woken the sleeper yet. Station: partition. Owner: the event loop in which it is awaited.

use std::sync::Arc;

use ottla_core::failure::{Outcome, because};
use ottla_core::produce::append::topic_wait::Known;
use ottla_core::seam::Wake;
use pyo3::prelude::*;

use crate::errors;
use crate::fork;
use crate::sender::Sender;

/// A place in line. Dropping it gives the place up.
pub struct TopicPlace {
    pub sender: Arc<Sender>,
    topic: usize,
    ticket: u64,
    /// The message names no partition: they have to be known.
    chooses: bool,
    /// Of the fork: the line of a parent process is not to be touched.
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
                .sleep_in_topic_line(self.topic, self.ticket, wake, token);
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
            .with(|flow| flow.acc.leave_topic_line(self.topic, self.ticket));
    }
}

/// Whether a send has to wait for its topic; it has a place in line then, or the one that it had.
///
/// With a place it was asked for before, and what was answered counts; without one it is asked for anew.
pub fn has_to_wait(
    sender: &Arc<Sender>,
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
        waits.then(|| before.unwrap_or_else(|| flow.acc.stand_in_topic_line(topic)))
    });
    let Some(ticket) = ticket else {
        return false;
    };
    match place {
        Some(place) => place.chooses = chooses,
        None => {
            *place = Some(TopicPlace {
                sender: sender.clone(),
                topic,
                ticket,
                chooses,
                generation: fork::generation(),
            });
        }
    }
    true
}

/// Raises where a send that waits for nothing would overtake others.
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

/// The error where the partitioner could not be asked in time.
#[cold]
pub fn late(py: Python<'_>, sender: &Sender, topic: usize) -> PyErr {
    let (name, known, trouble) = sender.shared.with(|flow| {
        let acc = &flow.acc;
        (acc.topic_name(topic), acc.known(topic), acc.trouble(topic))
    });
    let message = if known == Known::NotYet {
        format!(
            "the partitions of topic {name:?} are not known yet, and the partitioner chooses among them"
        )
    } else {
        format!(
            "sends before this one have waited for the partitions of topic {name:?} and come first"
        )
    };
    let failed = because("timeout", &message, Outcome::NotWritten, trouble.as_ref());
    errors::failed_send(py, &failed, &name)
}
