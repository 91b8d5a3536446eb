//! A warning where a wait of a thread blocks the event loop that runs in it.
//!
//! `Delivery.result()` in a coroutine stops every task of the loop until the outcome is there. The wait works, so the
//! program looks right and is only slow: the warning names the `await` that belongs there. Python's filter shows it once
//! per place. Station: delivery. Threads: any.

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A call that waits in its thread, and the code that waits in an event loop instead.
pub struct BlockingCall {
    pub name: &'static str,
    pub instead: &'static str,
}

impl BlockingCall {
    /// Warns where an event loop runs in this thread. To be called before a wait, not where the outcome is there already.
    #[cold]
    pub fn warn_in_event_loop(&self, py: Python<'_>) -> PyResult<()> {
        let running = RUNNING_LOOP
            .import(py, "asyncio", "_get_running_loop")?
            .call0()?;
        if running.is_none() {
            return Ok(());
        }
        let text = format!(
            "{} blocks the event loop that runs in this thread, with all its tasks, until the outcome is known: \
             write `{}`",
            self.name, self.instead
        );
        // One level up is the caller: a native method has no frame of its own.
        WARN.import(py, "warnings", "warn")?
            .call1((text, py.get_type::<PyRuntimeWarning>(), 1))?;
        Ok(())
    }
}
