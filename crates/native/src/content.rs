//! Keys and values: which of the two, and the objects that deserializers made of them (`ottla.consumer.deserializers`).
//!
//! All records of a poll share one list per field. Station: record. Threads: any, with the GIL.

use ottla_core::record::decode::Record;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::seam::records;

/// One of the two byte fields of a record.
#[derive(Clone, Copy)]
pub enum Field {
    Key,
    Value,
}

impl Field {
    #[inline]
    pub fn of<'a>(self, record: &Record<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Key => record.key,
            Self::Value => record.value,
        }
    }
}

/// The objects of an origin's records.
pub struct Objects {
    /// None: there is no deserializer, and the field has its bytes.
    keys: Option<Py<PyList>>,
    values: Option<Py<PyList>>,
    /// By place, of the records that did not deserialize.
    errors: Py<PyDict>,
    /// Difference between the place of a record in the lists and its index in the origin.
    shift: isize,
}

impl Objects {
    /// Of an origin whose record at `index` is at `place` in the lists.
    pub fn new(given: &records::Deserialized<'_>, place: usize, index: usize) -> Self {
        let list = |list: &Option<Bound<'_, PyList>>| list.clone().map(Bound::unbind);
        Self {
            keys: list(&given.keys),
            values: list(&given.values),
            errors: given.errors.clone().unbind(),
            shift: place as isize - index as isize,
        }
    }

    fn place(&self, index: usize) -> usize {
        index.wrapping_add_signed(self.shift)
    }

    /// The object of a field; None: the field has its bytes.
    pub fn object<'py>(
        &self,
        py: Python<'py>,
        field: Field,
        index: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let list = match field {
            Field::Key => &self.keys,
            Field::Value => &self.values,
        };
        let item = |list: &Py<PyList>| list.bind(py).get_item(self.place(index));
        list.as_ref().map(item).transpose()
    }

    /// The error of a record that did not deserialize.
    pub fn error<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.errors.bind(py).get_item(self.place(index))
    }

    /// The objects of one record alone, which keep no others alive.
    pub fn single<'py>(
        &self,
        py: Python<'py>,
        index: usize,
    ) -> PyResult<records::Deserialized<'py>> {
        let list = |field| -> PyResult<Option<Bound<'py, PyList>>> {
            let object = self.object(py, field, index)?;
            object.map(|object| PyList::new(py, [object])).transpose()
        };
        let errors = PyDict::new(py);
        if let Some(error) = self.error(py, index)? {
            errors.set_item(0, error)?;
        }
        Ok(records::Deserialized {
            keys: list(Field::Key)?,
            values: list(Field::Value)?,
            errors,
        })
    }
}
