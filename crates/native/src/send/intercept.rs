//! Interceptors: each message of a producer that has some goes through `on_send` before it is sent.
//!
//! The chain is Python, `src/ottla/producer/interceptors.py`. A message that passed it and is not accepted afterwards is reported
//! to the chain as refused. Station: message. Threads: the caller's.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};

use crate::send::message::{Fields, Given};

static MESSAGE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static CANCELLED_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The class `ottla.Message`.
pub fn message_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    MESSAGE.import(py, "ottla.message", "Message")
}

/// A message that went through `on_send`: its outcome has to be reported to the chain, also where it is refused.
pub struct Passed<'py> {
    chain: Bound<'py, PyAny>,
    message: Bound<'py, PyAny>,
}

impl<'py> Passed<'py> {
    /// Passes a message, an `ottla.Message`, through the chain.
    pub fn through(chain: &Py<PyAny>, message: Bound<'py, PyAny>) -> PyResult<Self> {
        let chain = chain.bind(message.py()).clone();
        let message = chain.call_method1("on_send", (message,))?;
        Ok(Self { chain, message })
    }

    /// The fields of the message as the chain left it.
    pub fn fields(&self, on_delivery: Option<Bound<'py, PyAny>>) -> PyResult<Fields<'py>> {
        fields_of(&self.message, on_delivery)
    }

    /// Reports that the message was not accepted.
    pub fn refused(&self, error: &PyErr) {
        let py = self.message.py();
        let arguments = (&self.message, error.value(py));
        if let Err(raised) = self.chain.call_method1("refused", arguments) {
            raised.write_unraisable(py, Some(&self.chain));
        }
    }

    pub fn store(&self) -> StoredPassed {
        StoredPassed {
            chain: self.chain.clone().unbind(),
            message: self.message.clone().unbind(),
        }
    }
}

/// The same beyond the call.
pub struct StoredPassed {
    chain: Py<PyAny>,
    message: Py<PyAny>,
}

impl StoredPassed {
    pub fn refused(&self, py: Python<'_>, error: &PyErr) {
        let passed = Passed {
            chain: self.chain.bind(py).clone(),
            message: self.message.bind(py).clone(),
        };
        passed.refused(error);
    }

    /// Reports that its awaitable was dropped within an await.
    pub fn dropped(&self, py: Python<'_>) {
        match cancelled(py, "the send was dropped while it waited") {
            Ok(error) => self.refused(py, &error),
            Err(raised) => raised.write_unraisable(py, None),
        }
    }
}

/// `asyncio.CancelledError`.
pub fn cancelled(py: Python<'_>, text: &str) -> PyResult<PyErr> {
    let class = CANCELLED_ERROR.import(py, "asyncio", "CancelledError")?;
    Ok(PyErr::from_value(class.call1((text,))?))
}

/// An `ottla.Message` of the arguments of a call. An interceptor may change its headers, so these are a list of its own.
///
/// # Safety
/// The objects of `given` are valid or null.
pub unsafe fn message_of<'py>(py: Python<'py>, given: &Given) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: by contract.
    let borrow = |object| unsafe { Bound::from_borrowed_ptr_or_opt(py, object) };
    let named = PyDict::new(py);
    let set = |name, object: Option<Bound<'py, PyAny>>| match object {
        Some(object) => named.set_item(name, object),
        None => Ok(()),
    };
    set("topic", borrow(given.topic))?;
    set("value", borrow(given.value))?;
    set("key", borrow(given.key))?;
    set("headers", own_list(borrow(given.headers))?)?;
    set("partition", borrow(given.partition))?;
    set("timestamp_ms", borrow(given.timestamp_ms))?;
    set("metadata", borrow(given.metadata))?;
    message_class(py)?.call((), Some(&named))
}

/// The fields of an `ottla.Message`.
pub fn fields_of<'py>(
    message: &Bound<'py, PyAny>,
    on_delivery: Option<Bound<'py, PyAny>>,
) -> PyResult<Fields<'py>> {
    let py = message.py();
    Ok(Fields([
        Some(message.getattr(pyo3::intern!(py, "topic"))?),
        Some(message.getattr(pyo3::intern!(py, "value"))?),
        Some(message.getattr(pyo3::intern!(py, "key"))?),
        Some(message.getattr(pyo3::intern!(py, "headers"))?),
        Some(message.getattr(pyo3::intern!(py, "partition"))?),
        Some(message.getattr(pyo3::intern!(py, "timestamp_ms"))?),
        Some(message.getattr(pyo3::intern!(py, "metadata"))?),
        on_delivery,
    ]))
}

/// A copy where it is a list.
fn own_list(given: Option<Bound<'_, PyAny>>) -> PyResult<Option<Bound<'_, PyAny>>> {
    match given {
        Some(given) if given.is_instance_of::<PyList>() => Ok(Some(
            PyList::new(given.py(), given.try_iter()?.collect::<PyResult<Vec<_>>>()?)?.into_any(),
        )),
        given => Ok(given),
    }
}
