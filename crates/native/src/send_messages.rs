//! `send_many` of messages that each have their own topic, key, headers: one call, one object with all outcomes.
//!
//! As `send_many.rs`, which is for the values of one topic, in what is accepted and what an early end tells. Stations:
//! message → partition → accumulator. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::accumulator::Refused;
use ottla_core::completion::Place;
use ottla_core::flow::Wake;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyIterator, PyMemoryView, PyString};

use crate::deliveries::{Collected, Deliveries};
use crate::delivery;
use crate::send_wait::{Kept, Waiter, owned};
use crate::sender::{Given, Prepared, Sender, deadline, now_ms};
use crate::topic_line::{self, TopicPlace};
use crate::user_partitioner as user;
use crate::waiting::Awaited;

static MESSAGE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// What `send_many` was given: values of one topic, or messages.
pub enum Form<'a, 'py> {
    Values {
        topic: &'a Bound<'py, PyAny>,
        values: &'a Bound<'py, PyAny>,
        keys: Option<&'a Bound<'py, PyAny>>,
    },
    Messages(&'a Bound<'py, PyAny>),
}

impl<'a, 'py> Form<'a, 'py> {
    pub fn of(
        first: &'a Bound<'py, PyAny>,
        values: Option<&'a Bound<'py, PyAny>>,
        keys: Option<&'a Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        if let Some(values) = values {
            several("values", values)?;
            keys.map_or(Ok(()), |keys| several("keys", keys))?;
            return Ok(Self::Values {
                topic: first,
                values,
                keys,
            });
        }
        if is_one_value(first) {
            return Err(PyTypeError::new_err(
                "send_many() takes a topic and its values, or an iterable of ottla.Message alone",
            ));
        }
        if keys.is_some() {
            return Err(PyTypeError::new_err(
                "send_many() of messages takes no keys: each message has its own",
            ));
        }
        Ok(Self::Messages(first))
    }
}

fn is_one_value(given: &Bound<'_, PyAny>) -> bool {
    given.is_instance_of::<PyString>()
        || given.is_instance_of::<PyBytes>()
        || given.is_instance_of::<PyByteArray>()
        || given.is_instance_of::<PyMemoryView>()
}

/// One value is iterable too, letter by letter, which nobody ever means.
fn several(name: &str, given: &Bound<'_, PyAny>) -> PyResult<()> {
    if is_one_value(given) {
        let kind = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "{name} must be an iterable of values, not one {kind}: send() sends one message"
        )));
    }
    Ok(())
}

/// The fields of one message, held while it is sent.
struct Next<'py> {
    topic: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    key: Bound<'py, PyAny>,
    headers: Bound<'py, PyAny>,
    partition: Bound<'py, PyAny>,
    timestamp_ms: Bound<'py, PyAny>,
    metadata: Bound<'py, PyAny>,
}

impl<'py> Next<'py> {
    fn of(message: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = message.py();
        if !message.is_instance(MESSAGE.import(py, "ottla.message", "Message")?)? {
            let kind = message.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "send_many() without values takes ottla.Message, not {kind}"
            )));
        }
        Ok(Self {
            topic: message.getattr(pyo3::intern!(py, "topic"))?,
            value: message.getattr(pyo3::intern!(py, "value"))?,
            key: message.getattr(pyo3::intern!(py, "key"))?,
            headers: message.getattr(pyo3::intern!(py, "headers"))?,
            partition: message.getattr(pyo3::intern!(py, "partition"))?,
            timestamp_ms: message.getattr(pyo3::intern!(py, "timestamp_ms"))?,
            metadata: message.getattr(pyo3::intern!(py, "metadata"))?,
        })
    }

    fn given(&self) -> Given {
        Given {
            topic: self.topic.as_ptr(),
            value: self.value.as_ptr(),
            key: self.key.as_ptr(),
            headers: self.headers.as_ptr(),
            partition: self.partition.as_ptr(),
            timestamp_ms: self.timestamp_ms.as_ptr(),
            metadata: self.metadata.as_ptr(),
        }
    }
}

/// A message in line for room.
struct InLine {
    waiter: Waiter,
    delivery: Option<Py<PyAny>>,
    timestamp_ms: i64,
}

pub struct Messages {
    sender: Arc<Sender>,
    messages: Py<PyIterator>,
    collected: Collected,
    /// Of messages that name none: the time of the call.
    timestamp_ms: i64,
    /// The user's own function that chooses the partitions.
    partitioner: Option<Py<PyAny>>,
    /// Taken from the iterable; its topic's partitions are waited for.
    waits_for_topic: Option<Py<PyAny>>,
    /// The place among those who wait for this, kept until a message goes to another topic or waits for room.
    place: Option<TopicPlace>,
    in_line: Option<InLine>,
    /// When what is waited for has taken too long.
    until: Option<Instant>,
}

impl Messages {
    pub fn new(
        sender: Arc<Sender>,
        messages: &Bound<'_, PyAny>,
        partitioner: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            sender,
            messages: messages.try_iter()?.unbind(),
            collected: Collected::default(),
            timestamp_ms: now_ms(),
            partitioner,
            waits_for_topic: None,
            place: None,
            in_line: None,
            until: None,
        })
    }

    /// All of them, waiting for room at most `max_block` for each.
    pub fn send_all(mut self, py: Python<'_>) -> PyResult<Deliveries> {
        loop {
            match self.send_next(py) {
                Ok(true) => {}
                Ok(false) => return Ok(self.collected.finish(self.timestamp_ms)),
                Err(error) => return Err(self.ended_early(py, error)),
            }
        }
    }

    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.messages.bind(py).clone().next().transpose()
    }

    fn prepare(&self, py: Python<'_>, given: &Given) -> PyResult<Prepared> {
        // SAFETY: the objects of `given` outlive the result: each caller holds them.
        let mut prepared = unsafe { self.sender.prepare(py, given)? };
        if given.timestamp_ms == py.None().as_ptr() {
            prepared.timestamp_ms = self.timestamp_ms;
        }
        Ok(prepared)
    }

    /// A delivery only where somebody hears of outcomes one by one.
    fn delivery(
        &self,
        py: Python<'_>,
        given: &Given,
        prepared: &Prepared,
    ) -> PyResult<Option<Py<PyAny>>> {
        if !self.sender.outcomes.keeps() {
            return Ok(None);
        }
        // SAFETY: as in `prepare`.
        let made = unsafe { self.sender.delivery(py, given, prepared)? };
        Ok(Some(owned(py, made)))
    }

    fn accepted(
        &mut self,
        (completion, index): Place,
        delivery: Option<Py<PyAny>>,
        timestamp_ms: i64,
    ) {
        self.collected.add_at(&completion, index, timestamp_ms);
        if let Some(made) = delivery {
            // SAFETY: made by `new_delivery`, and it has no place yet.
            unsafe { delivery::place(made.as_ptr().cast(), completion, index) };
        }
    }

    /// The exception knows what was accepted before it.
    fn ended_early(&mut self, py: Python<'_>, error: PyErr) -> PyErr {
        let accepted = self.collected.finish(self.timestamp_ms);
        let told = Py::new(py, accepted)
            .and_then(|accepted| error.value(py).setattr("accepted", accepted));
        told.err().unwrap_or(error)
    }

    // ---- in a thread -----------------------------------------------------------------------------------------------

    /// Sends one; false where there is none any more.
    fn send_next(&mut self, py: Python<'_>) -> PyResult<bool> {
        let Some(message) = self.next(py)? else {
            return Ok(false);
        };
        let next = Next::of(&message)?;
        let given = next.given();
        let mut prepared = self.prepare(py, &given)?;
        if let Some(function) = &self.partitioner {
            // SAFETY: `next` holds the objects.
            unsafe { user::choose_waiting(py, &self.sender, function, &given, &mut prepared)? };
        }
        let delivery = self.delivery(py, &given, &prepared)?;
        let pointer = delivery.as_ref().map(|made| made.as_ptr().cast());
        let place = self.sender.append_waiting(py, &prepared, pointer)?;
        self.accepted(place, delivery, prepared.timestamp_ms);
        Ok(true)
    }

    // ---- in an event loop ------------------------------------------------------------------------------------------

    /// Sends until one has to wait; true where all are accepted.
    fn advance(&mut self, py: Python<'_>) -> PyResult<bool> {
        loop {
            if let Some(mut in_line) = self.in_line.take() {
                let pointer = in_line.delivery.as_ref().map(|made| made.as_ptr().cast());
                match in_line.waiter.try_append(py, &self.sender, pointer)? {
                    Some(place) => self.accepted(place, in_line.delivery, in_line.timestamp_ms),
                    None => {
                        self.in_line = Some(in_line);
                        return Ok(false);
                    }
                }
            }
            let message = match self.waits_for_topic.take() {
                Some(message) if self.place.as_ref().is_some_and(TopicPlace::has_to_wait) => {
                    self.waits_for_topic = Some(message);
                    return Ok(false);
                }
                Some(message) => message.into_bound(py),
                None => match self.next(py)? {
                    Some(message) => message,
                    None => return Ok(true),
                },
            };
            if !self.offer(py, &message)? {
                self.until = Some(deadline(self.sender.max_block));
                return Ok(false);
            }
        }
    }

    /// Appends; false where it has to wait, for its topic or for room.
    fn offer(&mut self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        let next = Next::of(message)?;
        let given = next.given();
        let mut prepared = self.prepare(py, &given)?;
        if let Some(function) = &self.partitioner {
            let (topic, chooses) = (prepared.topic, prepared.partition.is_none());
            if topic_line::has_to_wait(&self.sender, topic, chooses, &mut self.place) {
                self.waits_for_topic = Some(message.clone().unbind());
                return Ok(false);
            }
            // SAFETY: `next` holds the objects.
            unsafe { user::choose_known(py, &self.sender, function, &given, &mut prepared)? };
        }
        let delivery = self.delivery(py, &given, &prepared)?;
        let pointer = delivery.as_ref().map(|made| made.as_ptr().cast());
        match self.sender.append(&prepared, None, pointer) {
            Ok(place) => {
                self.accepted(place, delivery, prepared.timestamp_ms);
                Ok(true)
            }
            Err(Refused::Full) => {
                // SAFETY: as above; the topic is there.
                let kept = unsafe { Kept::new(py, &given, &prepared) };
                self.in_line = Some(InLine {
                    waiter: Waiter::join(&self.sender, kept, prepared.size()),
                    delivery,
                    timestamp_ms: prepared.timestamp_ms,
                });
                self.place = None;
                Ok(false)
            }
            Err(refused) => Err(self.sender.refusal(py, &refused)),
        }
    }
}

impl Awaited for Messages {
    fn look(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.advance(py) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let deliveries = self.collected.finish(self.timestamp_ms);
                Ok(Some(Py::new(py, deliveries)?.into_any()))
            }
            Err(error) => Err(self.ended_early(py, error)),
        }
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        if let Some(in_line) = &self.in_line {
            in_line.waiter.sleep(wake, token);
        } else if let Some(place) = &self.place {
            place.sleep(wake, token);
        }
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let error = match &self.place {
            Some(place) => place.too_late(py),
            None => self.sender.refusal(py, &Refused::Full),
        };
        Err(self.ended_early(py, error))
    }

    fn deadline(&self) -> Option<Instant> {
        self.until
    }
}
