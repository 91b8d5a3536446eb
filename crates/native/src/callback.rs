//! Whether a function of the application can be called with a delivery.
//!
//! Plain functions, and partials of them, are recognized in a few tens of nanoseconds; `ottla.arguments` inspects anything else,
//! which costs a microsecond. Station: delivery. Threads: any.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyCFunction;

static PARTIAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static DONE_CALLBACK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static ON_DELIVERY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// CO_COROUTINE of Python's `inspect`: its call runs nothing until somebody awaits.
const COROUTINE: u32 = 0x80;

/// Whether it is a function, of Python or of C, and no coroutine function.
fn is_plain_function(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = function.py();
    if function.is_instance_of::<PyCFunction>() {
        return Ok(true);
    }
    if let Some(code) = function.getattr_opt(pyo3::intern!(py, "__code__"))?
        && let Some(flags) = code.getattr_opt(pyo3::intern!(py, "co_flags"))?
    {
        return Ok(function.is_callable() && flags.extract::<u32>()? & COROUTINE == 0);
    }
    Ok(false)
}

fn is_plain(callback: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = callback.py();
    let partial = PARTIAL.import(py, "functools", "partial")?;
    if callback.get_type().is(partial) {
        is_plain_function(&callback.getattr(pyo3::intern!(py, "func"))?)
    } else {
        is_plain_function(callback)
    }
}

/// For `add_done_callback`, which `asyncio.wait` calls too: that one wants its callback in the running loop, where no thread of
/// the client can call it.
pub fn check_done_callback(callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = callback.py();
    let module = callback.getattr_opt(pyo3::intern!(py, "__module__"))?;
    if module.is_some_and(|module| module.eq("asyncio.tasks").unwrap_or(false)) {
        return Err(PyTypeError::new_err(
            "asyncio.wait() takes futures of the running loop, and a Delivery is none: await it, give several to asyncio.gather(), \
             or asyncio.ensure_future(delivery) of each to asyncio.wait()",
        ));
    }
    if is_plain(callback)? {
        return Ok(());
    }
    let check = DONE_CALLBACK.import(py, "ottla.arguments", "done_callback")?;
    check.call1((callback,)).map(drop)
}

/// For `on_delivery` of a send.
pub fn check_on_delivery(callback: &Bound<'_, PyAny>) -> PyResult<()> {
    if is_plain(callback)? {
        return Ok(());
    }
    let check = ON_DELIVERY.import(callback.py(), "ottla.arguments", "on_delivery")?;
    check.call1((callback,)).map(drop)
}
