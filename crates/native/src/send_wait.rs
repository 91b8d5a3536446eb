//! Sends of an event loop that found no room: they stand in line and are accepted when it is their turn.
//!
//! The place in line is taken when `send` is called, so that messages are accepted in call order; a cancelled send gives it
//! up and was never accepted. Station: accumulator. Owner: the event loop in which it is awaited.

use std::sync::Arc;

use ottla_core::produce::completion::Place;
use ottla_core::produce::message::Refused;
use ottla_core::seam::Wake;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bell::Nobody;
use crate::delivery::object::{self, DeliveryObject};
use crate::field::null_for_none;
use crate::sender::{Given, Line, Prepared, Sender};
use crate::unawaited::Lost;
use crate::wait::waiting::Awaited;

/// What one send was called with, kept beyond the call: what can be changed meanwhile is a copy.
pub struct Kept {
    topic: Py<PyAny>,
    /// Of the topic.
    index: usize,
    value: Option<Py<PyAny>>,
    key: Option<Py<PyAny>>,
    headers: Option<Py<PyAny>>,
    pub partition: Option<i32>,
    timestamp_ms: i64,
    on_delivery: Option<Py<PyAny>>,
}

impl Kept {
    /// # Safety
    /// The GIL is held; the objects are valid or null, the topic is not null.
    pub unsafe fn new(py: Python<'_>, given: &Given, prepared: &Prepared) -> PyResult<Self> {
        // SAFETY: by contract.
        let (value, key) = unsafe {
            (
                prepared.value.kept(py, given.value),
                prepared.key.kept(py, given.key),
            )
        };
        let headers = prepared.headers.as_ref();
        // SAFETY: by contract.
        let on_delivery =
            unsafe { Bound::from_borrowed_ptr_or_opt(py, null_for_none(given.on_delivery)) };
        Ok(Self {
            // SAFETY: by contract.
            topic: unsafe { Bound::from_borrowed_ptr(py, given.topic).unbind() },
            index: prepared.topic,
            value,
            key,
            headers: headers.map(|headers| headers.kept(py)).transpose()?,
            partition: prepared.partition,
            timestamp_ms: prepared.timestamp_ms,
            on_delivery: on_delivery.map(Bound::unbind),
        })
    }

    /// Where it is to go, for errors.
    fn place(&self) -> (usize, Option<i32>) {
        (self.index, self.partition)
    }

    /// What is lost where it is never accepted.
    pub fn lost(&self, py: Python<'_>, sender: &Arc<Sender>, made: Option<&Py<PyAny>>) -> Lost {
        Lost {
            outcomes: sender.outcomes.clone(),
            method: "send",
            topic: self.topic.extract(py).ok(),
            made: made.map(|made| made.clone_ref(py)),
        }
    }

    /// For `repr`.
    fn describe(&self) -> String {
        format!(
            "a send to topic {}, waiting for free buffer space",
            self.topic
        )
    }

    pub fn given(&self) -> Given {
        let pointer =
            |object: &Option<Py<PyAny>>| object.as_ref().map_or(std::ptr::null_mut(), Py::as_ptr);
        let null = std::ptr::null_mut();
        Given {
            topic: self.topic.as_ptr(),
            value: pointer(&self.value),
            key: pointer(&self.key),
            headers: pointer(&self.headers),
            partition: null,
            timestamp_ms: null,
            metadata: null,
            on_delivery: pointer(&self.on_delivery),
        }
    }

    pub fn prepare(&self, py: Python<'_>, sender: &Sender) -> PyResult<Prepared> {
        // SAFETY: the objects are kept by `self`.
        let mut prepared = unsafe { sender.prepare(py, &self.given())? };
        prepared.partition = self.partition;
        prepared.timestamp_ms = self.timestamp_ms;
        Ok(prepared)
    }

    fn append(
        &self,
        py: Python<'_>,
        sender: &Sender,
        line: &Line,
        delivery: Option<*mut DeliveryObject>,
    ) -> PyResult<Result<Place, Refused>> {
        let prepared = self.prepare(py, sender)?;
        Ok(sender.append(&prepared, Some(line.ticket), delivery))
    }
}

/// One message in line.
pub struct Waiter {
    kept: Kept,
    line: Option<Line>,
}

impl Waiter {
    pub fn join(sender: &Sender, kept: Kept, bytes: usize) -> Self {
        // Nobody sleeps yet: whoever awaits it looks first.
        let line = Line::join(&sender.shared, bytes, Arc::new(Nobody), 0);
        Self {
            kept,
            line: Some(line),
        }
    }

    /// Appends if it is its turn and there is room.
    pub fn try_append(
        &mut self,
        py: Python<'_>,
        sender: &Sender,
        delivery: Option<*mut DeliveryObject>,
    ) -> PyResult<Option<Place>> {
        sender.check(py)?;
        let Some(line) = self.line.take_if(|line| line.has_turn()) else {
            return Ok(None);
        };
        match self.kept.append(py, sender, &line, delivery)? {
            Ok(place) => Ok(Some(place)),
            Err(Refused::Full) => {
                self.line = Some(line);
                Ok(None)
            }
            Err(refused) => Err(sender.refusal(py, &refused, self.kept.place())),
        }
    }

    /// The error where there was no room in time.
    pub fn too_late(&self, py: Python<'_>, sender: &Sender) -> PyErr {
        sender.refusal(py, &Refused::Full, self.kept.place())
    }

    pub fn sleep(&self, wake: Arc<dyn Wake>, token: u64) {
        if let Some(line) = &self.line {
            line.wait_again(wake, token);
        }
    }
}

/// An asynchronous `send` that waits.
pub struct AwaitedSend {
    sender: Arc<Sender>,
    waiter: Waiter,
    /// Made when the message came, without a place.
    delivery: Option<Py<PyAny>>,
}

impl AwaitedSend {
    pub fn new(sender: Arc<Sender>, waiter: Waiter, delivery: Py<PyAny>) -> Self {
        Self {
            sender,
            waiter,
            delivery: Some(delivery),
        }
    }
}

impl Awaited for AwaitedSend {
    fn look(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let made = self
            .delivery
            .as_ref()
            .map(|made| made.as_ptr().cast::<DeliveryObject>());
        let Some((completion, index)) = self.waiter.try_append(py, &self.sender, made)? else {
            return Ok(None);
        };
        let delivery = self.delivery.take();
        if let Some(made) = &delivery {
            // SAFETY: made by `new_delivery`, and it has no place yet.
            unsafe { object::place(made.as_ptr().cast(), completion, index) };
        }
        Ok(delivery)
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        self.waiter.sleep(wake, token);
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(self.waiter.too_late(py, &self.sender))
    }

    fn describe(&self, _py: Python<'_>) -> String {
        self.waiter.kept.describe()
    }

    fn lost(&self, py: Python<'_>) -> Option<Lost> {
        let kept = &self.waiter.kept;
        Some(kept.lost(py, &self.sender, self.delivery.as_ref()))
    }
}

/// Owned pointer to a Python object of ours.
pub fn owned<'py>(py: Python<'py>, delivery: *mut DeliveryObject) -> Bound<'py, PyAny> {
    // SAFETY: an owned reference that the caller gives away.
    unsafe { Bound::from_owned_ptr(py, delivery.cast::<ffi::PyObject>()) }
}
