//! Fork: the child has none of the parent's threads and shares its sockets, so everything made before is dead there.
//!
//! The engine registers `_native.mark_forked` through `os.register_at_fork(after_in_child=…)`. Objects that own a thread,
//! a lock that another thread may have held, or a file descriptor keep the generation in which they were made.
//!
//! Invariant: an object of an older generation raises `ForkedClient` before it touches a lock or a descriptor.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;

use crate::errors;

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The number of forks between the first process and this one. An object made in another generation is not ours.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// The name in errors of an object that does not know its client.
pub const SOMEBODY: &str = "this client";

/// Raises `ottla.errors.ForkedClient` if `born` is the generation of a parent process. who: The client, for people.
#[inline]
pub fn check(py: Python<'_>, born: u32, who: &str) -> PyResult<()> {
    if born == generation() {
        return Ok(());
    }
    Err(refused(py, who))
}

/// With the text of `forked` in `ottla.engine.bridge`.
#[cold]
fn refused(py: Python<'_>, who: &str) -> PyErr {
    errors::made(py, "forked", (who,))
}

/// Called in the child right after a fork: every client made before is dead here.
#[pyfunction]
fn mark_forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(mark_forked, module)?)
}
