//! Takes outcomes for a reader: at once, with a wait, or for an event loop. They leave the budget when they are read.
//!
//! Station: delivery.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::seam::Wake;
use pyo3::prelude::*;

use crate::send::sender::{Sender, SenderUse};
use crate::wait::park::park;
use crate::wait::waiting::Awaited;

/// The request of a reader.
pub struct Ask {
    /// None: both kinds.
    pub failed: Option<bool>,
    pub limit: usize,
    /// A deque that gets the outcomes before the call returns: an interrupt after it loses none.
    pub into: Option<Py<PyAny>>,
}

/// Takes up to `limit` outcomes, whole batches at a time; None where there is none now, an empty list at the end.
fn take(py: Python<'_>, sender: &Sender, ask: &Ask) -> PyResult<Option<Py<PyAny>>> {
    let readers = &sender.outcomes.readers;
    let Some((taken, bytes)) = readers.take(py, ask.failed, ask.limit) else {
        return Ok(None);
    };
    sender.outcomes_read(bytes);
    let taken = taken.into_pyobject(py)?;
    if let Some(into) = &ask.into {
        into.call_method1(py, pyo3::intern!(py, "extend"), (&taken,))?;
    }
    Ok(Some(taken.unbind()))
}

/// Takes outcomes, and waits for the next where there is none; None where the time ran out.
pub fn take_waiting(
    py: Python<'_>,
    sender: &Sender,
    ask: &Ask,
    timeout: Option<Duration>,
) -> PyResult<Option<Py<PyAny>>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let readers = &sender.outcomes.readers;
    loop {
        if let Some(taken) = take(py, sender, ask)? {
            return Ok(Some(taken));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A wake-up takes the sleeper from the list, and another reader may be faster: then it is added again.
        let sleeper: RefCell<Option<(Arc<dyn Wake>, u64)>> = RefCell::new(None);
        let ready = || {
            if let Some((wake, token)) = &*sleeper.borrow() {
                readers.add_sleeper(wake.clone(), *token);
            }
            readers.is_ready(ask.failed)
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
    pub sender: SenderUse,
    pub ask: Ask,
}

impl Awaited for AwaitedOutcomes {
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        take(py, &self.sender, &self.ask)
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        self.sender.outcomes.readers.add_sleeper(wake, token);
    }

    fn unregister(&mut self, wake: &Arc<dyn Wake>, token: u64) {
        self.sender.outcomes.readers.remove_sleeper(wake, token);
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}
