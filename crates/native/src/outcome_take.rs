//! Readers of outcomes: what `successes()`, `errors()` and `outcomes()` wait for.
//!
//! Station: delivery. What was read leaves the producer's books.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::seam::Wake;
use pyo3::prelude::*;

use crate::send::sender::Sender;
use crate::wait::park::park;
use crate::wait::waiting::Awaited;

/// What a reader asks for.
pub struct Ask {
    pub failed: Option<bool>,
    pub limit: usize,
    /// A deque that gets them before the interpreter is back: an interrupt behind the call loses none.
    pub into: Option<Py<PyAny>>,
}

/// Takes up to `limit` outcomes, whole batches at a time; None where there is none now, an empty list at the end.
fn take(py: Python<'_>, sender: &Sender, ask: &Ask) -> PyResult<Option<Py<PyAny>>> {
    let Some((taken, weight)) = sender.outcomes.take(py, ask.failed, ask.limit) else {
        return Ok(None);
    };
    if weight > 0 {
        sender.shared.with(|flow| flow.acc.outcomes_read(weight));
    }
    let taken = taken.into_pyobject(py)?;
    if let Some(into) = &ask.into {
        into.call_method1(py, pyo3::intern!(py, "extend"), (&taken,))?;
    }
    Ok(Some(taken.unbind()))
}

/// As `take`, and waits for the next; None where the time ran out.
pub fn take_waiting(
    py: Python<'_>,
    sender: &Arc<Sender>,
    ask: &Ask,
    timeout: Option<Duration>,
) -> PyResult<Option<Py<PyAny>>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let outcomes = &sender.outcomes;
    loop {
        if let Some(taken) = take(py, sender, ask)? {
            return Ok(Some(taken));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Whoever is woken leaves the list, and another reader may be faster: then it goes back into it.
        let sleeper: RefCell<Option<(Arc<dyn Wake>, u64)>> = RefCell::new(None);
        let ready = || {
            if let Some((wake, token)) = &*sleeper.borrow() {
                outcomes.add_sleeper(wake.clone(), *token);
            }
            outcomes.is_ready(ask.failed)
        };
        let moved = park(py, left, ready, |wake, token| {
            *sleeper.borrow_mut() = Some((wake, token));
        })?;
        if !moved {
            return Ok(None);
        }
    }
}

/// The same for an event loop.
pub struct AwaitedOutcomes {
    sender: Arc<Sender>,
    ask: Ask,
}

impl AwaitedOutcomes {
    pub fn new(sender: Arc<Sender>, ask: Ask) -> Self {
        Self { sender, ask }
    }
}

impl Awaited for AwaitedOutcomes {
    fn look(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        take(py, &self.sender, &self.ask)
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        self.sender.outcomes.add_sleeper(wake, token);
    }

    fn unregister(&mut self, wake: &Arc<dyn Wake>, token: u64) {
        self.sender.outcomes.remove_sleeper(wake, token);
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}
