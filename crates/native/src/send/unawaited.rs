//! An asynchronous send that nobody ever awaited, and whose messages were so never accepted: said as Python says it of a
//! coroutine, and in the log.
//!
//! All of it happens in a finalizer, which may begin anywhere: the line of the log is put down for the engine, which sums them
//! up, and the bell is rung. Station: message. Threads: any, with the GIL.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::outcomes::Outcomes;

static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static IS_FINALIZING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// What is lost with the awaitable.
pub struct Lost {
    pub outcomes: Arc<Outcomes>,
    /// As the user calls it.
    pub method: &'static str,
    /// None: of several, or not looked at yet.
    pub topic: Option<String>,
    /// Made in the same call, so that `tracemalloc` knows where that was.
    pub made: Option<Py<PyAny>>,
}

impl Lost {
    fn told(&self) -> String {
        let method = self.method;
        match (&self.topic, method) {
            (Some(topic), "send_many") => format!(
                "AsyncProducer.{method} was never awaited: no message of it was accepted, for topic {topic:?}"
            ),
            (None, _) => {
                format!("AsyncProducer.{method} was never awaited: no message of it was accepted")
            }
            (Some(topic), _) => format!(
                "AsyncProducer.{method} was never awaited: a message for topic {topic:?} was not accepted"
            ),
        }
    }

    /// Warns where the awaitable is dropped, and leaves the line of the log to the engine.
    pub fn tell(self, py: Python<'_>) {
        if is_finalizing(py) {
            return;
        }
        let text = self.told();
        self.outcomes
            .never_awaited(self.method, self.topic.unwrap_or_default());
        if let Err(raised) = warn(py, &text, self.made) {
            // A warning that is an error to the application: nobody catches anything in a finalizer.
            raised.write_unraisable(py, None);
        }
    }
}

fn warn(py: Python<'_>, text: &str, made: Option<Py<PyAny>>) -> PyResult<()> {
    let named = PyDict::new(py);
    named.set_item("source", made)?;
    let category = py.get_type::<PyRuntimeWarning>();
    // One frame up is who drops it: there is no frame of ours.
    WARN.import(py, "warnings", "warn")?
        .call((text, category, 1), Some(&named))?;
    Ok(())
}

/// Whether the interpreter ends: what it drops then says nothing about the program.
fn is_finalizing(py: Python<'_>) -> bool {
    let asked = || {
        IS_FINALIZING
            .import(py, "sys", "is_finalizing")?
            .call0()?
            .is_truthy()
    };
    asked().unwrap_or(true)
}
