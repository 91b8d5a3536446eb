//! The user's own partitioner: a Python function that is called in the caller's thread before the append.
//!
//! It chooses among the topic's partitions, so these have to be known first: `send` waits for them, an event loop awaits
//! them, at most `max_block`. Whatever goes wrong, nothing was accepted. Station: partition. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::produce::append::topic_wait::Known;
use ottla_core::produce::message::Refused;
use ottla_core::seam::Wake;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt};

use crate::delivery::object;
use crate::errors;
use crate::field::Field;
use crate::own_thread;
use crate::send_wait::{AwaitedSend, Kept, Waiter};
use crate::sender::{Given, Prepared, Sender, deadline};
use crate::topic_line::{self, TopicPlace};
use crate::unawaited::Lost;
use crate::wait::park::park;
use crate::wait::waiting::Awaited;

/// Gives a message its partition, where it has none.
pub type Choose =
    unsafe fn(Python<'_>, &Arc<Sender>, &Py<PyAny>, &Given, &mut Prepared) -> PyResult<()>;

// ---- the topic --------------------------------------------------------------------------------------------------------

/// What is known of a topic, which is asked for where that is nothing.
fn ask_for(sender: &Sender, topic: usize) -> Known {
    sender.shared.with(|flow| flow.acc.ask_for(topic))
}

fn known(sender: &Sender, topic: usize) -> Known {
    sender.shared.with(|flow| flow.acc.known(topic))
}

fn wait_for_topic(sender: &Sender, topic: usize, wake: Arc<dyn Wake>, token: u64) {
    sender
        .shared
        .with(|flow| flow.acc.wait_for_topic(topic, wake, token));
}

fn name(sender: &Sender, topic: usize) -> Arc<str> {
    sender.shared.with(|flow| flow.acc.topic_name(topic))
}

/// The number of partitions, or the exception that says why there is none.
fn partitions(py: Python<'_>, sender: &Sender, topic: usize, known: Known) -> PyResult<usize> {
    match known {
        Known::Partitions(count) => Ok(count),
        Known::NotYet => Err(topic_line::late(py, sender, topic)),
        Known::Closed => Err(sender.refusal(py, &Refused::Closed, (topic, None))),
        Known::Failed(failure) => {
            let topic = name(sender, topic);
            Err(errors::failed_send(py, &failure, &topic))
        }
    }
}

// ---- the function -----------------------------------------------------------------------------------------------------

/// What the function is given for a key or value: bytes, whatever the caller gave.
///
/// # Safety
/// The GIL is held; `object` is valid or null.
unsafe fn as_bytes<'py>(
    py: Python<'py>,
    object: *mut ffi::PyObject,
    field: &Field,
) -> Option<Bound<'py, PyAny>> {
    let bytes = field.bytes()?;
    // SAFETY: there are bytes, so there is an object.
    let given = unsafe { Bound::from_borrowed_ptr(py, object) };
    if given.is_exact_instance_of::<PyBytes>() {
        return Some(given);
    }
    Some(PyBytes::new(py, bytes).into_any())
}

/// # Safety
/// The GIL is held; the objects of `given` are valid or null, and `prepared` was made of them.
unsafe fn ask(
    py: Python<'_>,
    function: &Py<PyAny>,
    given: &Given,
    prepared: &Prepared,
    count: usize,
) -> PyResult<i32> {
    // SAFETY: by contract; the topic is there.
    let (topic, key, value) = unsafe {
        (
            Bound::from_borrowed_ptr(py, given.topic),
            as_bytes(py, given.key, &prepared.key),
            as_bytes(py, given.value, &prepared.value),
        )
    };
    let result = function.bind(py).call1((topic, key, value, count))?;
    if !result.is_instance_of::<PyInt>() || result.is_instance_of::<PyBool>() {
        let kind = result.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "the partitioner must return an int, not {kind}"
        )));
    }
    let chosen = result.extract::<i32>().ok();
    let fits = |chosen: &i32| usize::try_from(*chosen).is_ok_and(|chosen| chosen < count);
    chosen.filter(fits).ok_or_else(|| {
        PyValueError::new_err(format!(
            "the partitioner returned {result}, and the topic has partitions 0 to {}",
            count - 1
        ))
    })
}

/// Waits for the topic at most `max_block`, without the GIL.
///
/// # Safety
/// The GIL is held; the objects of `given` are valid or null, and `prepared` was made of them.
pub unsafe fn choose_waiting(
    py: Python<'_>,
    sender: &Arc<Sender>,
    function: &Py<PyAny>,
    given: &Given,
    prepared: &mut Prepared,
) -> PyResult<()> {
    let topic = prepared.topic;
    let unknown = prepared.partition.is_none() && ask_for(sender, topic) == Known::NotYet;
    // The engine thread is who asks for it: there it is an error that the topic is not known yet.
    if unknown && !own_thread::is_engine() {
        let left = deadline(sender.max_block).saturating_duration_since(Instant::now());
        let ready = || known(sender, topic) != Known::NotYet;
        park(py, Some(left), ready, |wake, token| {
            wait_for_topic(sender, topic, wake, token);
        })?;
        sender.check(py)?;
    }
    // SAFETY: by contract.
    unsafe { choose_known(py, sender, function, given, prepared) }
}

/// Raises where the topic is not known, and where others wait for it, who come first.
///
/// # Safety
/// As `choose_waiting`.
pub unsafe fn choose_at_once(
    py: Python<'_>,
    sender: &Arc<Sender>,
    function: &Py<PyAny>,
    given: &Given,
    prepared: &mut Prepared,
) -> PyResult<()> {
    topic_line::check_nobody_waits(py, sender, prepared.topic)?;
    // An answer of long ago does not count: it is asked again.
    if prepared.partition.is_none() {
        ask_for(sender, prepared.topic);
    }
    // SAFETY: by contract.
    unsafe { choose_known(py, sender, function, given, prepared) }
}

/// For those who have asked for the topic, and waited for it if need be.
///
/// # Safety
/// As `choose_waiting`.
pub unsafe fn choose_known(
    py: Python<'_>,
    sender: &Arc<Sender>,
    function: &Py<PyAny>,
    given: &Given,
    prepared: &mut Prepared,
) -> PyResult<()> {
    if prepared.partition.is_none() {
        let topic = prepared.topic;
        let count = partitions(py, sender, topic, known(sender, topic))?;
        // SAFETY: by contract.
        prepared.partition = Some(unsafe { ask(py, function, given, prepared, count)? });
    }
    Ok(())
}

// ---- in an event loop -------------------------------------------------------------------------------------------------

/// An asynchronous `send` that waits for its topic first, and then maybe for room.
pub struct AwaitedTopic {
    sender: Arc<Sender>,
    function: Py<PyAny>,
    /// None once it was accepted or stands in line for room.
    waiting: Option<(TopicPlace, Kept, Py<PyAny>)>,
    in_line: Option<AwaitedSend>,
}

impl AwaitedTopic {
    pub fn new(function: Py<PyAny>, place: TopicPlace, kept: Kept, delivery: Py<PyAny>) -> Self {
        Self {
            sender: place.sender.clone(),
            function,
            waiting: Some((place, kept, delivery)),
            in_line: None,
        }
    }

    /// The topic is known or cannot be: asks the function and appends, or stands in line.
    fn go_on(
        &mut self,
        py: Python<'_>,
        mut kept: Kept,
        delivery: Py<PyAny>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let sender = self.sender.clone();
        sender.check(py)?;
        let mut prepared = kept.prepare(py, &sender)?;
        // SAFETY: the objects are kept by `kept`.
        unsafe { choose_known(py, &sender, &self.function, &kept.given(), &mut prepared)? };
        kept.partition = prepared.partition;
        match sender.append(&prepared, None, Some(delivery.as_ptr().cast())) {
            Ok((completion, index)) => {
                // SAFETY: made by `new_delivery`, and it has no place yet.
                unsafe { object::place(delivery.as_ptr().cast(), completion, index) };
                Ok(Some(delivery))
            }
            Err(Refused::Full) => {
                let waiter = Waiter::join(&sender, kept, prepared.size());
                let mut in_line = AwaitedSend::new(sender, waiter, delivery);
                let accepted = in_line.look(py)?;
                self.in_line = Some(in_line);
                Ok(accepted)
            }
            Err(refused) => Err(sender.refusal(py, &refused, prepared.place())),
        }
    }
}

impl Awaited for AwaitedTopic {
    fn look(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if let Some(in_line) = &mut self.in_line {
            return in_line.look(py);
        }
        match self.waiting.take_if(|(place, ..)| !place.has_to_wait()) {
            // The place is given up when this has an end or a place in the line for room: whoever is next comes behind.
            Some((_place, kept, delivery)) => self.go_on(py, kept, delivery),
            None => Ok(None),
        }
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        match (&mut self.in_line, &self.waiting) {
            (Some(in_line), _) => in_line.register(wake, token),
            (None, Some((place, ..))) => place.sleep(wake, token),
            (None, None) => {}
        }
    }

    fn stage(&self) -> u32 {
        u32::from(self.in_line.is_some())
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match (&mut self.in_line, &self.waiting) {
            (Some(in_line), _) => in_line.time_is_up(py),
            (None, Some((place, ..))) => Err(place.too_late(py)),
            (None, None) => Err(PyRuntimeError::new_err(
                "a bug in ottla: it waits for nothing",
            )),
        }
    }

    fn describe(&self, py: Python<'_>) -> String {
        match &self.in_line {
            Some(in_line) => in_line.describe(py),
            None => "a send, waiting for the partitions of its topic".to_owned(),
        }
    }

    fn lost(&self, py: Python<'_>) -> Option<Lost> {
        let (_, kept, delivery) = self.waiting.as_ref()?;
        Some(kept.lost(py, &self.sender, Some(delivery)))
    }
}
