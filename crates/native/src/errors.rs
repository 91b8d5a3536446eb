//! The one place where a failure of the native side becomes an exception of `ottla.errors`.

use ottla_core::error::DecodeError;
use ottla_core::failure::{ErrorData, ErrorKind, Failure, Outcome};
use ottla_core::produce::completion::Completion;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::seam::failures::{self, GivenFailure};

static DECODE_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static ERROR_OF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception of a message that failed.
pub fn failed(py: Python<'_>, completion: &Completion, failure: &Failure) -> PyErr {
    error_of(py, completion, failure).map_or_else(|error| error, PyErr::from_value)
}

/// The same as an object, where it is read and not raised.
pub fn error_of<'py>(
    py: Python<'py>,
    completion: &Completion,
    failure: &Failure,
) -> PyResult<Bound<'py, PyAny>> {
    about(py, failure, &completion.topic, Some(completion.partition()))
}

/// The exception of a failure of messages that are of no batch.
pub fn failed_send(
    py: Python<'_>,
    failure: &Failure,
    topic: &str,
    partition: Option<i32>,
) -> PyErr {
    about(py, failure, topic, partition).map_or_else(|error| error, PyErr::from_value)
}

/// The failure of messages, in one line.
pub fn text_of(py: Python<'_>, failure: &Failure) -> PyResult<String> {
    let failure = failures::failure(py, failure)?;
    py.import("ottla.observe.failures")?
        .getattr("failure_text")?
        .call1((failure,))?
        .extract()
}

fn about<'py>(
    py: Python<'py>,
    failure: &Failure,
    topic: &str,
    partition: Option<i32>,
) -> PyResult<Bound<'py, PyAny>> {
    let partition = partition.filter(|partition| *partition >= 0);
    let failure = failures::failure(py, failure)?;
    ERROR_OF
        .import(py, "ottla.observe.failures", "error_of")?
        .call1((failure, topic, partition))
}

/// The exception that a function of `ottla.observe.failures` makes of its arguments.
#[cold]
pub fn made<'py>(
    py: Python<'py>,
    function: &str,
    given: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    made_by(py, "ottla.observe.failures", function, given)
}

/// The failure of a message that was not accepted because of this exception.
pub fn failure_of(py: Python<'_>, error: PyErr) -> Failure {
    let made = || {
        let function = py
            .import("ottla.observe.failures")?
            .getattr("not_accepted")?;
        let given: GivenFailure<'_> = function.call1((error.value(py),))?.extract()?;
        given.core()
    };
    made().unwrap_or_else(|raised| {
        let (kind, code, message) = (ErrorKind::Error, 0, raised.to_string());
        raised.write_unraisable(py, None);
        Failure::given_up(
            ErrorData {
                kind,
                code,
                message,
            },
            Outcome::NotWritten,
        )
    })
}

/// The exception for an argument that cannot be used, as a function of `ottla.arguments` makes it. What Python raises instead
/// is returned, so that nothing is swallowed.
#[cold]
pub fn argument<'py>(
    py: Python<'py>,
    function: &str,
    given: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    made_by(py, "ottla.arguments", function, given)
}

/// The exception for a keyword that no way to send has, which may be one of another client's.
#[cold]
pub fn foreign_argument(py: Python<'_>, function: &str, name: &Bound<'_, PyAny>) -> PyErr {
    let given = (function, name);
    made_by(py, "ottla.config.foreign", "send_argument_error", given)
}

fn made_by<'py>(
    py: Python<'py>,
    module: &str,
    function: &str,
    given: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    let made = py
        .import(module)
        .and_then(|module| module.getattr(function)?.call1(given));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// Drops an exception that another one replaces, at once: hand-made functions call this too, of which PyO3
/// does not know that they hold the GIL.
pub fn drop_error(py: Python<'_>, error: PyErr) {
    drop(error.into_value(py).into_bound(py));
}

/// The exception for an argument, where Python's own says that the object has a wrong type or value; any other unchanged.
pub fn argument_or<'py>(
    py: Python<'py>,
    raised: PyErr,
    function: &str,
    given: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    if !raised.is_instance_of::<PyTypeError>(py) && !raised.is_instance_of::<PyValueError>(py) {
        return raised;
    }
    drop_error(py, raised);
    argument(py, function, given)
}

/// `DecodeError` for invalid bytes of a partition; `offset` is where its position stays, `next_offset` the next one that could be read.
pub fn decode(
    py: Python<'_>,
    error: &DecodeError,
    topic: &str,
    partition: i32,
    offset: Option<i64>,
    next_offset: Option<i64>,
) -> PyErr {
    let make = || {
        let place = PyDict::new(py);
        place.set_item("topic", topic)?;
        place.set_item("partition", partition)?;
        place.set_item("offset", offset)?;
        place.set_item("next_offset", next_offset)?;
        let class = DECODE_ERROR.import(py, "ottla.errors", "DecodeError")?;
        class.call((error.to_string(),), Some(&place))
    };
    make().map_or_else(|error| error, PyErr::from_value)
}
