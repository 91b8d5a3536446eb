//! Whether a message has its outcome, and the ways to receive it: a check, a wait, an await, a callback.
//!
//! A delivery can be forwarded while it is waited for, so its place is looked up again after each wait. Station: delivery.
//! Threads: any.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::produce::completion::{Completion, State};
use ottla_core::seam::Wake;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::blocked_loop::BlockingCall;
use crate::delivery::object::{DeliveryObject, where_is};
use crate::errors;
use crate::flush::park_until_settled;
use crate::metadata::record_metadata;
use crate::outcomes::{Outcomes, check_fork};
use crate::wait::time::duration;
use crate::wait::waiting::Awaited;

static CALL_SOON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The result of a written or failed message: its metadata or the exception. None while pending.
pub fn settled(
    py: Python<'_>,
    object: *mut ffi::PyObject,
) -> PyResult<Option<Result<Py<PyAny>, PyErr>>> {
    let (completion, index) = where_is(object);
    let state = completion.state();
    match (&state, state.offset(index)) {
        (State::Failed(failure), _) => Ok(Some(Err(errors::failed(py, &completion, failure)))),
        (_, None) => Ok(None),
        (_, Some(offset)) => {
            // SAFETY: a delivery.
            let own = unsafe { (*object.cast::<DeliveryObject>()).timestamp_ms };
            let made = record_metadata(py, &completion, offset, state.timestamp(own))?;
            Ok(Some(Ok(made)))
        }
    }
}

/// Waits until the message has its outcome; raises where the time ran out.
fn wait_settled(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    timeout: Option<f64>,
    call: Option<&BlockingCall>,
) -> PyResult<()> {
    let timeout = duration(timeout)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut call = call.filter(|_| timeout != Some(Duration::ZERO));
    loop {
        let (completion, _) = where_is(object);
        if completion.state() != State::Pending {
            return Ok(());
        }
        check_fork(py, &completion)?;
        if let Some(call) = call.take() {
            call.warn_in_event_loop(py)?;
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A completion that is forwarded is not pending either; the loop then checks the next one.
        if !park_until_settled(py, &completion, left)? {
            return Err(timed_out(py));
        }
    }
}

fn timed_out(py: Python<'_>) -> PyErr {
    errors::made(py, "outcome_pending", ())
}

/// Waits for a delivery's outcome, at most the given seconds: its metadata, or the error that it failed with.
pub fn wait_result(
    py: Python<'_>,
    delivery: *mut ffi::PyObject,
    timeout: Option<f64>,
    call: Option<&BlockingCall>,
) -> PyResult<Py<PyAny>> {
    wait_settled(py, delivery, timeout, call)?;
    settled(py, delivery)?.unwrap_or_else(|| Err(timed_out(py)))
}

/// The same, but gives the error instead of raising it; None where the message is written.
pub fn wait_error(
    py: Python<'_>,
    delivery: *mut ffi::PyObject,
    timeout: Option<f64>,
    call: Option<&BlockingCall>,
) -> PyResult<*mut ffi::PyObject> {
    wait_settled(py, delivery, timeout, call)?;
    error_of(py, delivery)
}

/// The error of a message that failed, without waiting; else None.
pub fn error_of(py: Python<'_>, delivery: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
    let (completion, _) = where_is(delivery);
    match completion.state() {
        State::Failed(failure) => Ok(errors::error_of(py, &completion, &failure)?.into_ptr()),
        _ => Ok(py.None().into_ptr()),
    }
}

/// Has the callback called on the dispatcher thread once the message has its outcome.
pub fn call_when_settled(delivery: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = delivery.py();
    loop {
        let (completion, _) = where_is(delivery.as_ptr());
        let owner = completion.owner().cloned();
        let Some(outcomes) = owner.and_then(|owner| owner.downcast::<Outcomes>().ok()) else {
            return Err(PyRuntimeError::new_err(
                "a bug in ottla: a delivery without a producer",
            ));
        };
        if !completion.is_pending() {
            outcomes.callbacks.note_call();
            let call_soon = CALL_SOON.import(py, "ottla.producer.reports", "call_soon")?;
            return call_soon
                .call1((&outcomes.who, callback, delivery))
                .map(drop);
        }
        check_fork(py, &completion)?;
        if outcomes.callbacks.add(&completion, callback, delivery) {
            return Ok(());
        }
    }
}

/// A message's outcome, for an event loop.
pub struct AwaitedDelivery {
    delivery: Py<PyAny>,
    /// The completion it was registered with last.
    completion: Option<Arc<Completion>>,
}

impl AwaitedDelivery {
    pub fn new(delivery: Py<PyAny>) -> Self {
        Self {
            delivery,
            completion: None,
        }
    }
}

impl Awaited for AwaitedDelivery {
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let found = settled(py, self.delivery.as_ptr())?;
        if found.is_none() {
            check_fork(py, &where_is(self.delivery.as_ptr()).0)?;
        }
        found.transpose()
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        // Refused where it has moved on meanwhile: the look that follows sees it, or the next place is registered with.
        loop {
            let (completion, _) = where_is(self.delivery.as_ptr());
            if completion.state() != State::Pending {
                return;
            }
            if completion.add_waiter(wake.clone(), token) {
                self.completion = Some(completion);
                return;
            }
        }
    }

    fn unregister(&mut self, wake: &Arc<dyn Wake>, token: u64) {
        if let Some(completion) = self.completion.take() {
            completion.remove_waiter(wake, token);
        }
    }

    fn sleeps_on(&self) -> Option<&Arc<Completion>> {
        self.completion.as_ref()
    }

    fn describe(&self, py: Python<'_>) -> String {
        format!("the outcome of {}", self.delivery.bind(py))
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(timed_out(py))
    }
}
