//! Resolved batches for callbacks: those of the whole producer, and those of messages that were sent with one of their own.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::outcomes::settled::Settled;

/// Deliveries for the producer's callbacks, and calls of the messages' own: (callback, delivery).
pub type Report = (Vec<Py<PyAny>>, Vec<(Py<PyAny>, Py<PyAny>)>);

#[derive(Default)]
pub struct Reports {
    queue: Mutex<VecDeque<Arc<Settled>>>,
    /// The batch that callbacks are receiving.
    current: Mutex<Option<Arc<Settled>>>,
}

impl Reports {
    pub fn add(&self, settled: Arc<Settled>) {
        self.queue.lock().push_back(settled);
    }

    /// Whether a batch waits.
    pub fn is_due(&self) -> bool {
        !self.queue.lock().is_empty()
    }

    /// Whether a batch waits, or callbacks are receiving one.
    pub fn is_active(&self) -> bool {
        self.current.lock().is_some() || self.is_due()
    }

    /// The next batch, None where none waits; with the bytes that leave the budget, since the one before was received.
    /// `every`: all its deliveries, not only those with a callback of their own. On the dispatcher thread only.
    pub fn next(&self, py: Python<'_>, every: bool) -> (Option<Report>, usize) {
        let next = self.queue.lock().pop_front();
        let before = std::mem::replace(&mut *self.current.lock(), next.clone());
        let bytes = before.map_or(0, |before| before.received(py));
        let report = next.map(|next| {
            let deliveries = every.then(|| next.deliveries(py));
            (deliveries.unwrap_or_default(), next.calls(py))
        });
        (report, bytes)
    }
}
