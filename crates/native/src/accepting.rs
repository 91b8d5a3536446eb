//! The messages of one `send_many` on their way into the accumulator: what was accepted, and the one that has to wait.
//!
//! In a thread that one blocks the call. In an event loop it is left to the next look: it waits for its topic's partitions,
//! then maybe for room; the next one may have to wait again within the same look, so each wait is counted: what was
//! registered for the one before wakes nobody. Stations: partition → accumulator. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::produce::completion::Place;
use ottla_core::produce::message::Refused;
use ottla_core::seam::Wake;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::deliveries::{Collected, Deliveries};
use crate::delivery::object;
use crate::field::null_for_none;
use crate::send_wait::{Kept, Waiter, owned};
use crate::sender::{Given, Prepared, Sender, deadline, now_ms};
use crate::topic_line::{self, TopicPlace};
use crate::user_partitioner as user;

/// A message in line for room.
struct InLine {
    waiter: Waiter,
    /// Where outcomes are kept.
    delivery: Option<Py<PyAny>>,
    timestamp_ms: Option<i64>,
    metadata: Option<Py<PyAny>>,
}

enum Wait {
    /// At the place in the topic's line.
    Topic,
    Room(InLine),
}

/// Where the call is made, and so how a message waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum World {
    Thread,
    Loop,
}

/// One call's messages, accepted one after the other.
pub struct Accepting {
    pub sender: Arc<Sender>,
    /// The user's own function that chooses the partitions.
    pub partitioner: Option<Py<PyAny>>,
    /// Called with each message's delivery.
    pub on_delivery: Option<Py<PyAny>>,
    world: World,
    pub collected: Collected,
    /// Of messages that name none: the time of the call.
    pub timestamp_ms: i64,
    wait: Option<Wait>,
    /// The place among those who wait for a topic's partitions, kept until a message goes to another topic or waits for room.
    place: Option<TopicPlace>,
    /// When what is waited for has taken too long.
    until: Option<Instant>,
    waits: u32,
}

impl Accepting {
    pub fn new(
        sender: Arc<Sender>,
        partitioner: Option<Py<PyAny>>,
        on_delivery: Option<Py<PyAny>>,
        world: World,
    ) -> Self {
        Self {
            sender,
            partitioner,
            on_delivery,
            world,
            collected: Collected::default(),
            timestamp_ms: now_ms(),
            wait: None,
            place: None,
            until: None,
            waits: 0,
        }
    }

    pub fn finish(&mut self) -> Deliveries {
        self.collected.finish(self.timestamp_ms)
    }

    /// The exception knows what was accepted before it.
    pub fn ended_early(&mut self, py: Python<'_>, error: PyErr) -> PyErr {
        let told = Py::new(py, self.finish())
            .and_then(|accepted| error.value(py).setattr("accepted", accepted));
        told.err().unwrap_or(error)
    }

    /// A delivery only where somebody hears of outcomes one by one.
    ///
    /// # Safety
    /// The objects of `given` are valid or null.
    unsafe fn delivery(
        &self,
        py: Python<'_>,
        given: &Given,
        prepared: &Prepared,
    ) -> PyResult<Option<Py<PyAny>>> {
        if !prepared.callback && !self.sender.outcomes.keeps() {
            return Ok(None);
        }
        // SAFETY: by contract.
        let made = unsafe { self.sender.delivery(py, given, prepared)? };
        Ok(Some(owned(py, made).unbind()))
    }

    /// The timestamp is None where it is the call's.
    fn accepted(
        &mut self,
        (completion, index): Place,
        delivery: Option<Py<PyAny>>,
        timestamp_ms: Option<i64>,
        metadata: Option<Py<PyAny>>,
    ) {
        match timestamp_ms {
            Some(own) => self.collected.add_at(&completion, index, own),
            None => self.collected.add(&completion, index),
        }
        if let Some(metadata) = metadata {
            self.collected.add_metadata(metadata);
        }
        if let Some(made) = delivery {
            // SAFETY: made by `new_delivery`, and it has no place yet.
            unsafe { object::place(made.as_ptr().cast(), completion, index) };
        }
    }

    /// For `Given`.
    pub fn callback(&self) -> *mut ffi::PyObject {
        self.on_delivery
            .as_ref()
            .map_or(std::ptr::null_mut(), Py::as_ptr)
    }

    // ---- messages --------------------------------------------------------------------------------------------------

    /// Appends one, which has its topic; in a loop it may be put in line.
    ///
    /// # Safety
    /// The objects of `given`, of which `prepared` was made, are valid or null; the topic is there.
    pub unsafe fn append(
        &mut self,
        py: Python<'_>,
        given: &Given,
        mut prepared: Prepared,
        timestamp_ms: Option<i64>,
    ) -> PyResult<()> {
        if let Some(function) = &self.partitioner {
            let choose = match self.world {
                World::Thread => user::choose_waiting,
                World::Loop => user::choose_known,
            };
            // SAFETY: by contract.
            unsafe { choose(py, &self.sender, function, given, &mut prepared)? };
        }
        // SAFETY: by contract.
        let delivery = unsafe { self.delivery(py, given, &prepared)? };
        let pointer = delivery.as_ref().map(|made| made.as_ptr().cast());
        // SAFETY: by contract.
        let metadata =
            unsafe { Bound::from_borrowed_ptr_or_opt(py, null_for_none(given.metadata)) };
        let metadata = metadata.map(Bound::unbind);
        if self.world == World::Thread {
            let place = self.sender.append_waiting(py, &prepared, pointer)?;
            self.accepted(place, delivery, timestamp_ms, metadata);
            return Ok(());
        }
        match self.sender.append(&prepared, None, pointer) {
            Ok(place) => self.accepted(place, delivery, timestamp_ms, metadata),
            Err(Refused::Full) => {
                // SAFETY: by contract.
                let kept = unsafe { Kept::new(py, given, &prepared)? };
                self.begin(Wait::Room(InLine {
                    waiter: Waiter::join(&self.sender, kept, prepared.size()),
                    delivery,
                    timestamp_ms,
                    metadata,
                }));
                self.place = None;
            }
            Err(refused) => return Err(self.sender.refusal(py, &refused, prepared.place())),
        }
        Ok(())
    }

    /// Whether a message may have to wait for its topic before it is offered: in a thread the append itself waits.
    pub fn may_wait_for_topic(&self) -> bool {
        self.partitioner.is_some() && self.world == World::Loop
    }

    /// Whether the next message has to wait for this topic first; it stands in the topic's line then.
    pub fn waits_for_topic(&mut self, topic: usize, chooses: bool) -> bool {
        let waits = topic_line::has_to_wait(&self.sender, topic, chooses, &mut self.place);
        if waits {
            self.begin(Wait::Topic);
        }
        waits
    }

    fn begin(&mut self, wait: Wait) {
        self.wait = Some(wait);
        self.waits = self.waits.wrapping_add(1);
        self.until = Some(deadline(self.sender.max_block));
    }

    /// Whether one has to wait still; one in line is appended when it is its turn.
    pub fn has_to_wait(&mut self, py: Python<'_>) -> PyResult<bool> {
        match self.wait.take() {
            Some(Wait::Topic) if self.place.as_ref().is_some_and(TopicPlace::has_to_wait) => {
                self.wait = Some(Wait::Topic);
            }
            Some(Wait::Topic) | None => {}
            Some(Wait::Room(mut in_line)) => {
                let pointer = in_line.delivery.as_ref().map(|made| made.as_ptr().cast());
                match in_line.waiter.try_append(py, &self.sender, pointer)? {
                    Some(place) => self.accepted(
                        place,
                        in_line.delivery,
                        in_line.timestamp_ms,
                        in_line.metadata,
                    ),
                    None => self.wait = Some(Wait::Room(in_line)),
                }
            }
        }
        Ok(self.wait.is_some())
    }

    // ---- what `Awaited` asks for ---------------------------------------------------------------------------------------

    pub fn register(&self, wake: Arc<dyn Wake>, token: u64) {
        match (&self.wait, &self.place) {
            (Some(Wait::Room(in_line)), _) => in_line.waiter.sleep(wake, token),
            (Some(Wait::Topic), Some(place)) => place.sleep(wake, token),
            _ => {}
        }
    }

    pub fn stage(&self) -> u32 {
        self.waits
    }

    pub fn time_is_up(&mut self, py: Python<'_>) -> PyErr {
        let error = match (&self.wait, &self.place) {
            (Some(Wait::Topic), Some(place)) => place.too_late(py),
            (Some(Wait::Room(in_line)), _) => in_line.waiter.too_late(py, &self.sender),
            _ => PyRuntimeError::new_err("a bug in ottla: it waits for nothing"),
        };
        self.ended_early(py, error)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }
}
