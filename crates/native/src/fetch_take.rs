//! Taking records out of an inbox, and waiting for them: a thread parks, an event loop sleeps on a future.
//!
//! Checking, decompression and parsing happen in `take`, without the GIL. Station: inbox to record. Threads: any.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ottla_core::fetch::shared::FetchShared;
use ottla_core::fetch::take::{ErrorHandle, Take, TakeError};
use ottla_core::fetch::waiters::WaiterId;
use ottla_core::seam::Wake;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::errors;
use crate::fork;
use crate::records::Records;
use crate::wait::park::park;
use crate::wait::waiting::Awaited;

/// A request for records of an inbox.
pub struct Wish {
    pub inbox: Arc<FetchShared>,
    /// Above 0.
    pub limit: usize,
    /// Only records of this partition.
    pub only: Option<(String, i32)>,
}

/// The result of a check. `Nothing` is for a taker that was woken, or whose claim has ended.
enum Found {
    NotYet,
    Nothing,
    Records(Records),
}

impl Wish {
    fn only(&self) -> Option<(&str, i32)> {
        let only = self.only.as_ref();
        only.map(|(topic, partition)| (topic.as_str(), *partition))
    }

    fn check(&self, py: Python<'_>) -> PyResult<Found> {
        match py.detach(|| self.inbox.take(self.limit, self.only())) {
            Take::Runs(runs) => Ok(Found::Records(Records::of_runs(py, &runs))),
            Take::Nothing => Ok(Found::NotYet),
            Take::Moved => Ok(Found::Records(Records::of_runs(py, &[]))),
            Take::Ended | Take::Woken => Ok(Found::Nothing),
            Take::Failed(failed) => Err(raised(py, failed)),
            Take::Closed => Err(errors::made(py, "consumer_closed", ())),
        }
    }

    /// Waits without the GIL; None where the time ran out or somebody woke the takers.
    pub fn wait(self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Records>> {
        let taker = RefCell::new(Taker::new(self));
        let mut found = Ok(Found::NotYet);
        let ready = || {
            found = taker.borrow_mut().check(py);
            !matches!(found, Ok(Found::NotYet))
        };
        park(py, timeout, ready, |wake, token| {
            taker.borrow_mut().sleeper = Some((wake, token));
        })?;
        match found? {
            Found::Records(records) => Ok(Some(records)),
            Found::Nothing | Found::NotYet => Ok(None),
        }
    }
}

/// Somebody who takes, and may sleep until there is something.
pub struct Taker {
    wish: Wish,
    generation: u32,
    /// The sleeper to wake.
    sleeper: Option<(Arc<dyn Wake>, u64)>,
    /// The sleeper's place in the inbox's list.
    waiter: Option<WaiterId>,
}

impl Taker {
    pub fn new(wish: Wish) -> Self {
        Self {
            wish,
            generation: fork::generation(),
            sleeper: None,
            waiter: None,
        }
    }

    /// Takes; a sleeper for whom nothing is there stands in the inbox's list afterwards. A sleeper that was woken has
    /// left the list, and another taker may be faster: then it waits again.
    fn check(&mut self, py: Python<'_>) -> PyResult<Found> {
        if self.leave() {
            return Ok(Found::Nothing);
        }
        loop {
            let found = self.wish.check(py)?;
            let (Found::NotYet, Some((wake, token))) = (&found, &self.sleeper) else {
                return Ok(found);
            };
            // None where something came in between.
            let only = self.wish.only();
            self.waiter = self.wish.inbox.add_waiter(only, wake.clone(), *token);
            if self.waiter.is_some() {
                return Ok(found);
            }
        }
    }

    /// Out of the list; true where `wakeup` was meant for this taker.
    fn leave(&mut self) -> bool {
        let waiter = self.waiter.take();
        waiter.is_some_and(|waiter| self.wish.inbox.remove_waiter(waiter))
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // In the child of a fork the inbox's lock may be held forever.
        if self.generation == fork::generation() && self.leave() {
            // It got records, or was cancelled, at the moment when it was woken: the next taker is woken instead.
            self.wish.inbox.wakeup();
        }
    }
}

/// For event loops. Records leave the inbox only in the step that hands them over: a cancelled wait loses none.
impl Awaited for Taker {
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match Taker::check(self, py)? {
            Found::NotYet => Ok(None),
            Found::Nothing => Ok(Some(py.None())),
            Found::Records(records) => Ok(Some(Py::new(py, records)?.into_any())),
        }
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        // The look that follows puts it into the list.
        self.sleeper = Some((wake, token));
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}

/// An exception that passes through the inbox. The I/O thread may drop it: PyO3 then delays that until the GIL is held.
struct Given(Py<PyBaseException>);

/// For `fail`: the take raises this very object.
pub fn given(error: Bound<'_, PyAny>) -> PyResult<ErrorHandle> {
    match error.cast_into::<PyBaseException>() {
        Ok(error) => Ok(Arc::new(Given(error.unbind()))),
        Err(other) => {
            let kind = other.into_inner().get_type().name()?;
            let message = format!("error must be an exception, not {kind}");
            Err(PyTypeError::new_err(message))
        }
    }
}

fn raised(py: Python<'_>, failed: TakeError) -> PyErr {
    match failed {
        TakeError::Queued { error, .. } => match error.downcast::<Given>() {
            Ok(given) => PyErr::from_value(given.0.bind(py).clone().into_any()),
            Err(_) => PyRuntimeError::new_err("a bug in ottla: an error that Python did not give"),
        },
        TakeError::Decode {
            topic,
            partition,
            offset,
            next_offset,
            error,
        } => {
            let next_offset = (next_offset > offset).then_some(next_offset);
            errors::decode(py, &error, &topic, partition, Some(offset), next_offset)
        }
    }
}
