//! The client's own threads: what code of the application may not wait for where it runs on one of them.
//!
//! Callbacks run on the dispatcher, and any handler of the log may run on the engine thread: the client's own lines go to it
//! there. A `send` that waited for buffer space on either would stop the thread that frees it, so it is refused at once. The engine thread
//! waits for nothing at all: it finds routes, ends holds and ends waits. The I/O thread runs no code of Python.
//!
//! Checked only where there is something to wait for. Threads: each its own mark.

use std::cell::Cell;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::fork;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Engine,
    Dispatcher,
}

thread_local! {
    /// With the fork generation of the mark: what a callback forks is a thread of the application's in the child.
    static OWN: Cell<Option<(Own, u32)>> = const { Cell::new(None) };
}

fn own() -> Option<Own> {
    let (own, generation) = OWN.get()?;
    (generation == fork::generation()).then_some(own)
}

/// Whether this thread is one of the client's: a `send` here does not wait for buffer space.
pub fn is_own() -> bool {
    own().is_some()
}

/// Whether this is the engine thread, which waits for nothing.
pub fn is_engine() -> bool {
    own() == Some(Own::Engine)
}

/// Raises where a wait would stop the thread that ends it.
#[pyfunction]
pub fn check_may_wait() -> PyResult<()> {
    if !is_engine() {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(
        "the client's own thread (ottla-engine) cannot wait for what only it can do: a handler of the log may call send and \
         send_nowait there, and leaves calls that wait to another thread",
    ))
}

/// This thread is the client's, from here on to its end: "engine" or "dispatcher".
#[pyfunction]
fn mark_thread(name: &str) -> PyResult<()> {
    let own = match name {
        "engine" => Own::Engine,
        "dispatcher" => Own::Dispatcher,
        other => {
            let message = format!("no thread of the client's: {other:?}");
            return Err(PyValueError::new_err(message));
        }
    };
    OWN.set(Some((own, fork::generation())));
    Ok(())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(check_may_wait, module)?)?;
    module.add_function(wrap_pyfunction!(mark_thread, module)?)
}
