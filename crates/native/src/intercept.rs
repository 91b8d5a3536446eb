//! Interceptors: a producer that has some hands each send to them first, and they call the send of no interceptors.
//!
//! What they do is Python, `src/ottla/producer/interceptors.py`; here is only the way there and back. Station: message.
//! Threads: the caller's.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::send_many::Form;

/// The arguments as Python hands them to a METH_FASTCALL | METH_KEYWORDS method.
pub type Call = (
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
);

/// `chain.through(inner, …)` with the arguments of the call; `inner` names the method that sends what comes out.
///
/// # Safety
/// As Python calls.
#[cold]
pub unsafe fn send(
    py: Python<'_>,
    (chain, through): (&Py<PyAny>, &str),
    inner: &str,
    slf: *mut ffi::PyObject,
    (args, count, keywords): Call,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: by contract; all are borrowed from the call.
    let borrow = |object| unsafe { Bound::from_borrowed_ptr(py, object) };
    let at = |index: usize| {
        // SAFETY: there are `count` positional arguments, and one for each keyword behind them.
        borrow(unsafe { *args.add(index) })
    };
    let positional = count as usize;
    let mut given = vec![borrow(slf).getattr(inner)?];
    given.extend((0..positional).map(at));
    let named = PyDict::new(py);
    if !keywords.is_null() {
        for (index, name) in borrow(keywords).cast::<PyTuple>()?.iter().enumerate() {
            named.set_item(name, at(positional + index))?;
        }
    }
    let send = chain.bind(py).getattr(through)?;
    Ok(send
        .call(PyTuple::new(py, given)?, Some(&named))?
        .into_ptr())
}

/// The same for `send_many`.
#[cold]
pub fn send_many(
    slf: &Bound<'_, PyAny>,
    chain: &Py<PyAny>,
    form: Form<'_, '_>,
    on_delivery: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let chain = chain.bind(slf.py());
    let inner = slf.getattr("_send_messages")?;
    let sent = match form {
        Form::Messages(messages) => {
            chain.call_method1("send_messages", (inner, messages, on_delivery))
        }
        Form::Values {
            topic,
            values,
            keys,
        } => chain.call_method1("send_values", (inner, topic, values, keys, on_delivery)),
    };
    Ok(sent?.unbind())
}
