//! A partitioner that is a Python function of the application, called in the caller's thread before the append.
//!
//! It chooses among the partitions of the topic, so these have to be known first: `send` waits for them, an event loop awaits
//! them, at most `max_block`. After any error nothing was accepted. Why this is not Python:
//! `docs/adr/0030-function-partitioners-wait-in-rust.md`. Station: partition. Threads: the caller's.

use std::time::Instant;

use ottla_core::produce::append::topic_wait::Known;
use ottla_core::produce::message::Refused;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt};

use crate::errors;
use crate::own_thread;
use crate::send::field::Field;
use crate::send::message::{Given, Prepared};
use crate::send::sender::{Sender, deadline};
use crate::send::topic_queue;
use crate::wait::park::park;

/// Gives a message its partition, where it has none.
pub type Choose = unsafe fn(Python<'_>, &Sender, &Py<PyAny>, &Given, &mut Prepared) -> PyResult<()>;

/// The number of partitions, or the exception that says why there is none.
fn partitions(py: Python<'_>, sender: &Sender, topic: usize, known: Known) -> PyResult<usize> {
    match known {
        Known::Partitions(count) => Ok(count),
        Known::NotYet => Err(topic_queue::late(py, sender, topic)),
        Known::Closed => Err(sender.refusal(py, &Refused::Closed, (topic, None))),
        Known::Failed(failure) => {
            let topic = sender.shared.with(|flow| flow.acc.topic_name(topic));
            Err(errors::failed_send(py, &failure, &topic, None))
        }
    }
}

/// The function's argument for a key or value: bytes, of any type that the caller gave.
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

/// In a thread: waits for the topic at most `max_block`, without the GIL.
///
/// # Safety
/// The GIL is held; the objects of `given` are valid or null, and `prepared` was made of them.
pub unsafe fn choose_waiting(
    py: Python<'_>,
    sender: &Sender,
    function: &Py<PyAny>,
    given: &Given,
    prepared: &mut Prepared,
) -> PyResult<()> {
    let mut place = None;
    // The engine thread asks for the metadata, and cannot wait for itself: there an unknown topic is an error.
    if prepared.partition.is_none()
        && topic_queue::has_to_wait(sender, prepared.topic, true, &mut place)
        && !own_thread::is_engine()
        && let Some(place) = &place
    {
        let left = deadline(sender.max_block).saturating_duration_since(Instant::now());
        let ready = || !place.has_to_wait();
        park(py, Some(left), ready, |wake, token| {
            place.sleep(wake, token)
        })?;
        sender.check(py)?;
    }
    // SAFETY: by contract.
    unsafe { choose_known(py, sender, function, given, prepared) }
}

/// Without waiting: raises where the topic is not known, and where earlier sends wait for it.
///
/// # Safety
/// The contract of `choose_waiting`.
pub unsafe fn choose_at_once(
    py: Python<'_>,
    sender: &Sender,
    function: &Py<PyAny>,
    given: &Given,
    prepared: &mut Prepared,
) -> PyResult<()> {
    topic_queue::check_nobody_waits(py, sender, prepared.topic)?;
    // An old refusal does not count: it is asked for again.
    if prepared.partition.is_none() {
        sender.shared.with(|flow| flow.acc.ask_for(prepared.topic));
    }
    // SAFETY: by contract.
    unsafe { choose_known(py, sender, function, given, prepared) }
}

/// Once the topic was asked for, and waited for where that was needed.
///
/// # Safety
/// The contract of `choose_waiting`.
pub unsafe fn choose_known(
    py: Python<'_>,
    sender: &Sender,
    function: &Py<PyAny>,
    given: &Given,
    prepared: &mut Prepared,
) -> PyResult<()> {
    if prepared.partition.is_none() {
        let topic = prepared.topic;
        let known = sender.shared.with(|flow| flow.acc.known(topic));
        let count = partitions(py, sender, topic, known)?;
        // SAFETY: by contract.
        prepared.partition = Some(unsafe { ask(py, function, given, prepared, count)? });
    }
    Ok(())
}
