//! `ottla.seam.records`: the objects that deserializers made.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::named;

#[derive(FromPyObject)]
pub struct Deserialized<'py> {
    pub keys: Option<Bound<'py, PyList>>,
    pub values: Option<Bound<'py, PyList>>,
    pub errors: Bound<'py, PyDict>,
}

impl<'py> Deserialized<'py> {
    pub fn into_python(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        named!(
            py,
            "records",
            Deserialized {
                keys: self.keys,
                values: self.values,
                errors: self.errors,
            }
        )
    }
}
