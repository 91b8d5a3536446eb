//! Time-outs as Python gives them.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyInt};

use crate::errors;

static SECONDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A timeout as the user gives it, which `ottla.arguments` reads where it is not a plain number; None: no limit.
pub fn seconds(given: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    let plain = given.is_exact_instance_of::<PyFloat>() || given.is_exact_instance_of::<PyInt>();
    if plain {
        match given.extract::<f64>() {
            Ok(seconds) if !seconds.is_nan() => return Ok(Some(seconds)),
            Ok(_) => {}
            // An int that no float can be.
            Err(raised) => errors::drop_error(given.py(), raised),
        }
    }
    SECONDS
        .import(given.py(), "ottla.arguments", "seconds")?
        .call1((given,))?
        .extract()
}

/// Seconds as Python gives them. None, infinity and what exceeds the clock mean: no limit; below 0 is 0.
pub fn duration(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        Some(seconds) if seconds.is_nan() => Err(PyValueError::new_err(
            "timeout must be a number of seconds, not nan",
        )),
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
        None => Ok(None),
    }
}
