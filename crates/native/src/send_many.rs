//! `send_many`: every value of an iterable is one message; one object has all outcomes.
//!
//! Where it ends early (a wrong type, no room, a raising iterable) the exception's `accepted` has the outcomes of what was
//! accepted before. Stations: message → partition → accumulator. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::accumulator::Refused;
use ottla_core::completion::Place;
use ottla_core::flow::Wake;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};

use crate::deliveries::{Collected, Deliveries};
use crate::delivery;
use crate::send_wait::{Kept, Waiter, owned};
use crate::sender::{Given, Sender, deadline, now_ms};
use crate::topic_line::{self, TopicPlace};
use crate::user_partitioner as user;
use crate::waiting::Awaited;

pub struct Many {
    sender: Arc<Sender>,
    topic: Py<PyAny>,
    values: Values,
    keys: Option<Py<PyIterator>>,
    collected: Collected,
    timestamp_ms: i64,
    /// The user's own function that chooses the partitions.
    partitioner: Option<Py<PyAny>>,
    /// Its place among those who wait for the topic's partitions, kept until it waits for room or has ended.
    place: Option<TopicPlace>,
    /// The message that waits for room, with its delivery where outcomes are kept.
    in_line: Option<(Waiter, Option<Py<PyAny>>)>,
    /// When the message in line has waited too long.
    until: Option<Instant>,
}

/// Where the values come from.
enum Values {
    /// A list or a tuple, and how far it was read. A list may change while nobody holds the GIL.
    Sequence(Py<PyAny>, usize),
    Iterator(Py<PyIterator>),
}

impl Values {
    fn of(values: &Bound<'_, PyAny>) -> PyResult<Self> {
        if values.is_exact_instance_of::<PyList>() || values.is_exact_instance_of::<PyTuple>() {
            return Ok(Self::Sequence(values.clone().unbind(), 0));
        }
        Ok(Self::Iterator(values.try_iter()?.unbind()))
    }

    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::Iterator(iterator) => iterator.bind(py).clone().next().transpose(),
            Self::Sequence(values, read) => {
                let values = values.bind(py);
                if *read >= values.len()? {
                    return Ok(None);
                }
                *read += 1;
                values.get_item(*read - 1).map(Some)
            }
        }
    }
}

/// One message's own objects.
struct Next<'py> {
    value: Bound<'py, PyAny>,
    key: Option<Bound<'py, PyAny>>,
}

impl Many {
    pub fn new(
        sender: Arc<Sender>,
        topic: Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        keys: Option<&Bound<'_, PyAny>>,
        partitioner: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            sender,
            topic: topic.unbind(),
            values: Values::of(values)?,
            keys: keys
                .map(|keys| Ok::<_, PyErr>(keys.try_iter()?.unbind()))
                .transpose()?,
            collected: Collected::default(),
            timestamp_ms: now_ms(),
            partitioner,
            place: None,
            in_line: None,
            until: None,
        })
    }

    /// All of them, waiting for room at most `max_block` for each.
    pub fn send_all(mut self, py: Python<'_>) -> PyResult<Deliveries> {
        match self.send_each(py) {
            Ok(()) => Ok(self.collected.finish(self.timestamp_ms)),
            Err(error) => Err(self.ended_early(py, error)),
        }
    }

    fn send_each(&mut self, py: Python<'_>) -> PyResult<()> {
        loop {
            self.send_usual(py)?;
            let Some(next) = self.next(py)? else {
                return Ok(());
            };
            self.send_one(py, &next)?;
        }
    }

    /// Sends what comes next as long as it is usual and there is room, many at a time; what follows needs a closer look.
    fn send_usual(&mut self, py: Python<'_>) -> PyResult<()> {
        let Values::Sequence(values, read) = &mut self.values else {
            return Ok(());
        };
        if self.keys.is_some() || self.partitioner.is_some() || self.sender.outcomes.keeps() {
            return Ok(());
        }
        let topic = self.sender.topic(py, self.topic.as_ptr())?;
        loop {
            let before = self.collected.len();
            let accepted = |completion: &Arc<_>, index| self.collected.add(completion, index);
            // SAFETY: a list or a tuple.
            unsafe {
                self.sender.send_plain_run(
                    topic,
                    self.timestamp_ms,
                    values.as_ptr(),
                    *read,
                    accepted,
                );
            }
            let sent = self.collected.len() - before;
            *read += sent;
            if sent == 0 {
                return Ok(());
            }
            py.check_signals()?;
        }
    }

    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Next<'py>>> {
        let value = self.values.next(py)?;
        let key = match &self.keys {
            Some(keys) => keys.bind(py).clone().next().transpose()?,
            None => None,
        };
        match (value, key) {
            (None, Some(_)) => Err(PyValueError::new_err("there are more keys than values")),
            (Some(_), None) if self.keys.is_some() => {
                Err(PyValueError::new_err("there are more values than keys"))
            }
            (None, None) => Ok(None),
            (Some(value), key) => Ok(Some(Next { value, key })),
        }
    }

    fn given(&self, next: &Next<'_>) -> Given {
        let null = std::ptr::null_mut();
        Given {
            topic: self.topic.as_ptr(),
            value: next.value.as_ptr(),
            key: next.key.as_ref().map_or(null, Bound::as_ptr),
            headers: null,
            partition: null,
            timestamp_ms: null,
            metadata: null,
        }
    }

    fn send_one(&mut self, py: Python<'_>, next: &Next<'_>) -> PyResult<()> {
        let given = self.given(next);
        // SAFETY: the objects outlive the call.
        let mut prepared = unsafe { self.sender.prepare(py, &given)? };
        if let Some(function) = &self.partitioner {
            // SAFETY: as above.
            unsafe { user::choose_waiting(py, &self.sender, function, &given, &mut prepared)? };
        }
        let delivery = self.delivery(py, &given, &prepared)?;
        let pointer = delivery.as_ref().map(|made| made.as_ptr().cast());
        let place = self.sender.append_waiting(py, &prepared, pointer)?;
        self.accepted(place, delivery);
        Ok(())
    }

    /// A delivery only where somebody reads outcomes one by one.
    fn delivery(
        &self,
        py: Python<'_>,
        given: &Given,
        prepared: &crate::sender::Prepared,
    ) -> PyResult<Option<Py<PyAny>>> {
        if !self.sender.outcomes.keeps() {
            return Ok(None);
        }
        // SAFETY: the objects of `given` are valid.
        let made = unsafe { self.sender.delivery(py, given, prepared)? };
        Ok(Some(owned(py, made)))
    }

    fn accepted(&mut self, (completion, index): Place, delivery: Option<Py<PyAny>>) {
        self.collected.add(&completion, index);
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

    /// Sends until one finds no room; true where all are accepted.
    fn advance(&mut self, py: Python<'_>) -> PyResult<bool> {
        loop {
            if let Some((mut waiter, delivery)) = self.in_line.take() {
                let pointer = delivery.as_ref().map(|made| made.as_ptr().cast());
                match waiter.try_append(py, &self.sender, pointer)? {
                    Some(place) => self.accepted(place, delivery),
                    None => {
                        self.in_line = Some((waiter, delivery));
                        return Ok(false);
                    }
                }
            }
            if self.waits_for_topic(py)? {
                return Ok(false);
            }
            self.send_usual(py)?;
            let Some(next) = self.next(py)? else {
                return Ok(true);
            };
            self.offer(py, &next)?;
        }
    }

    /// Whether the user's function has to be asked, and the topic's partitions are not known yet.
    fn waits_for_topic(&mut self, py: Python<'_>) -> PyResult<bool> {
        if self.partitioner.is_none() {
            return Ok(false);
        }
        let topic = self.sender.topic(py, self.topic.as_ptr())?;
        let waited = self.place.is_some();
        let waits = topic_line::has_to_wait(&self.sender, topic, true, &mut self.place);
        if waits && !waited {
            self.until = Some(deadline(self.sender.max_block));
        }
        Ok(waits)
    }

    /// Appends, or puts the message in line.
    fn offer(&mut self, py: Python<'_>, next: &Next<'_>) -> PyResult<()> {
        let given = self.given(next);
        // SAFETY: the objects outlive the call.
        let mut prepared = unsafe { self.sender.prepare(py, &given)? };
        if let Some(function) = &self.partitioner {
            // SAFETY: as above.
            unsafe { user::choose_known(py, &self.sender, function, &given, &mut prepared)? };
        }
        let delivery = self.delivery(py, &given, &prepared)?;
        let pointer = delivery.as_ref().map(|made| made.as_ptr().cast());
        match self.sender.append(&prepared, None, pointer) {
            Ok(place) => self.accepted(place, delivery),
            Err(Refused::Full) => {
                // SAFETY: as above; the topic is there.
                let kept = unsafe { Kept::new(py, &given, &prepared) };
                let waiter = Waiter::join(&self.sender, kept, prepared.size());
                self.in_line = Some((waiter, delivery));
                self.place = None;
                self.until = Some(deadline(self.sender.max_block));
            }
            Err(refused) => return Err(self.sender.refusal(py, &refused)),
        }
        Ok(())
    }
}

impl Awaited for Many {
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
        if let Some((waiter, _)) = &self.in_line {
            waiter.sleep(wake, token);
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
