//! A one-way gate: set once from any thread, waited for by threads and by event loops.
//!
//! The smallest thing that waits through `wait`: what a ticket of the engine rests on, and what the tests of waiting use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_core::seam::Wake;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::wait::bridge::bridge_for_running_loop;
use crate::wait::park::park;
use crate::wait::time::duration;

#[pyclass(frozen, module = "ottla._native")]
pub struct Latch {
    set: AtomicBool,
    /// The sleepers to wake; a thread's waker is in here once however often the thread waits.
    waiters: Mutex<Vec<(Arc<dyn Wake>, u64)>>,
}

#[pymethods]
impl Latch {
    #[new]
    fn new() -> Self {
        Self {
            set: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
        }
    }

    fn set(&self) {
        self.set.store(true, Ordering::Release);
        let waiters = std::mem::take(&mut *self.waiters.lock());
        for (waker, token) in waiters {
            waker.wake(token);
        }
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        park(
            py,
            duration(timeout)?,
            || self.is_set(),
            |waker, token| self.add(waker, token),
        )
    }

    fn future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bridge = bridge_for_running_loop(py)?;
        let (future, waker, token) = bridge.get().future(py)?;
        self.add(waker, token);
        Ok(future)
    }
}

impl Latch {
    fn add(&self, waker: Arc<dyn Wake>, token: u64) {
        {
            let mut waiters = self.waiters.lock();
            if !self.is_set() {
                let known = |(other, its): &(Arc<dyn Wake>, u64)| {
                    *its == token && std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(&waker))
                };
                if !waiters.iter().any(known) {
                    waiters.push((waker, token));
                }
                return;
            }
        }
        waker.wake(token);
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Latch>()
}
