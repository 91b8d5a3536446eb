//! Calls of an asynchronous `send_many` that were dropped before any await, so that none of their messages was sent.
//!
//! It happens in a finalizer, which may run anywhere: Python warns at the place, as for a coroutine, and the engine logs the sum.
//! Station: message. Threads: any, with the GIL.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_core::seam::Bell;
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static IS_FINALIZING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The calls that the engine has to log.
pub struct NeverAwaited {
    /// Their number by topic ("": several).
    calls: Mutex<BTreeMap<String, u64>>,
    bell: Arc<dyn Bell>,
}

impl NeverAwaited {
    pub fn new(bell: Arc<dyn Bell>) -> Self {
        let calls = Mutex::default();
        Self { calls, bell }
    }

    /// In a finalizer.
    pub fn add(&self, topic: String) {
        *self.calls.lock().entry(topic).or_default() += 1;
        self.bell.ring();
    }

    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.calls.lock())
    }
}

/// Warns where the awaitable is dropped.
pub fn warn(py: Python<'_>, topic: Option<&str>) {
    let place = topic.map_or_else(String::new, |topic| format!(", for topic {topic:?}"));
    let text =
        format!("AsyncProducer.send_many was never awaited: no message of it was accepted{place}");
    // One level up is the code that drops it: there is no frame of ours.
    let arguments = (text, py.get_type::<PyRuntimeWarning>(), 1);
    let warned = WARN
        .import(py, "warnings", "warn")
        .and_then(|warn| warn.call1(arguments));
    if let Err(raised) = warned {
        // The application turned the warning into an error, and nothing catches an exception of a finalizer.
        raised.write_unraisable(py, None);
    }
}

/// Whether the interpreter ends: an object that it drops says nothing about the program.
pub fn is_finalizing(py: Python<'_>) -> bool {
    let asked = || {
        IS_FINALIZING
            .import(py, "sys", "is_finalizing")?
            .call0()?
            .is_truthy()
    };
    asked().unwrap_or(true)
}
