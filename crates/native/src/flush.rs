//! Waiting for the outcome of everything accepted so far, from a thread or an event loop.
//!
//! Batches are checked one after another, so that a flush costs one wake-up for each that was still pending when its turn
//! came. Station: delivery.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::produce::completion::Completion;
use ottla_core::produce::shared::ProduceShared;
use ottla_core::seam::Wake;
use pyo3::prelude::*;

use crate::outcomes::check_fork;
use crate::wait::lingers::end_linger;
use crate::wait::park::park;
use crate::wait::waiting::Awaited;

/// The batches that still have to resolve.
pub struct Pending {
    shared: Option<Arc<ProduceShared>>,
    completions: Vec<Arc<Completion>>,
}

impl Pending {
    /// Everything accepted so far, which is made ready to be sent.
    pub fn flush(shared: &Arc<ProduceShared>) -> Self {
        Self {
            shared: Some(shared.clone()),
            completions: flushed(shared),
        }
    }

    /// These alone.
    pub fn of(completions: Vec<Arc<Completion>>) -> Self {
        Self {
            shared: None,
            completions,
        }
    }

    /// The next one that is pending; None when all have their outcome.
    fn next(&mut self) -> Option<Arc<Completion>> {
        while let Some(completion) = self.completions.last() {
            if completion.is_pending() {
                return Some(completion.clone());
            }
            let targets = completion.targets();
            self.completions.pop();
            if targets.is_empty() {
                continue;
            }
            // Its messages went to other batches, which may be lingering.
            if let Some(shared) = &self.shared {
                flushed(shared);
            }
            self.completions.extend(targets);
        }
        None
    }

    /// Waits without the GIL; false where the time ran out.
    pub fn wait(&mut self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<bool> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        while let Some(completion) = self.next() {
            check_fork(py, &completion)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !park_until_settled(py, &completion, left)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Waits without the GIL until the completion is not pending any more; false where the time ran out.
pub fn park_until_settled(
    py: Python<'_>,
    completion: &Arc<Completion>,
    timeout: Option<Duration>,
) -> PyResult<bool> {
    let registered: RefCell<Option<(Arc<dyn Wake>, u64)>> = RefCell::new(None);
    let settled = park(
        py,
        timeout,
        || !completion.is_pending(),
        |wake, token| {
            end_linger(completion);
            // Refused where it is settled by now, which `ready` sees.
            if completion.add_waiter(wake.clone(), token) {
                *registered.borrow_mut() = Some((wake, token));
            }
        },
    );
    if !matches!(settled, Ok(true))
        && let Some((wake, token)) = registered.into_inner()
    {
        completion.remove_waiter(&wake, token);
    }
    settled
}

fn flushed(shared: &Arc<ProduceShared>) -> Vec<Arc<Completion>> {
    shared.with(|flow| flow.acc.flush())
}

/// The result of an await, or its exception.
pub type Answer = Box<dyn Fn(Python<'_>) -> PyResult<Py<PyAny>> + Send + Sync>;

/// The same for an event loop; `result` is given once all have their outcome, `late` when the time is up before.
pub struct AwaitedPending {
    pending: Pending,
    result: Answer,
    late: Answer,
    /// The completion it was registered with last.
    registered: Option<Arc<Completion>>,
}

impl AwaitedPending {
    pub fn new(pending: Pending, result: Answer, late: Answer) -> Self {
        Self {
            pending,
            result,
            late,
            registered: None,
        }
    }
}

impl Awaited for AwaitedPending {
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.pending.next() {
            Some(completion) => check_fork(py, &completion).map(|()| None),
            None => (self.result)(py).map(Some),
        }
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        while let Some(completion) = self.pending.next() {
            if completion.add_waiter(wake.clone(), token) {
                self.registered = Some(completion);
                return;
            }
        }
    }

    fn unregister(&mut self, wake: &Arc<dyn Wake>, token: u64) {
        if let Some(completion) = self.registered.take() {
            completion.remove_waiter(wake, token);
        }
    }

    fn sleeps_on(&self) -> Option<&Arc<Completion>> {
        self.registered.as_ref()
    }

    fn describe(&self, _py: Python<'_>) -> String {
        let count = self.pending.completions.len();
        format!("the outcomes of {count} batches")
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        (self.late)(py)
    }
}
