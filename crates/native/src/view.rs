//! `memoryview` of a key or value: the bytes of its batch without a copy.
//!
//! The exporter below holds the record's origin, so the bytes live as long as any view, slice or export of a view does; a
//! `detach` of the record does not move them. Station: record. Threads: any, with the GIL.

use std::ffi::c_int;
use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use crate::content::Field;
use crate::origin::Origin;

/// The object that exports the bytes: `memoryview.obj`.
#[pyclass(frozen, module = "ottla._native")]
struct RecordBytes {
    origin: Arc<Origin>,
    index: usize,
    field: Field,
}

#[pymethods]
impl RecordBytes {
    /// # Safety
    /// Called by Python: `view` is null or can be written.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        let record = this.origin.record(this.index)?;
        let Some(bytes) = this.field.of(&record) else {
            return Err(PyBufferError::new_err("the record has no such field"));
        };
        let (start, len) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
        // SAFETY: by contract. The bytes are read only, never move, and live as long as the exporter, which the filled
        // view refers to.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len as ffi::Py_ssize_t, 1, flags)
        };
        if filled == 0 {
            return Ok(());
        }
        Err(PyErr::fetch(slf.py()))
    }
}

/// A read-only view of a field; None where the record has none.
pub fn view_of<'py>(
    py: Python<'py>,
    origin: Arc<Origin>,
    index: usize,
    field: Field,
) -> PyResult<Bound<'py, PyAny>> {
    if field.of(&origin.record(index)?).is_none() {
        return Ok(py.None().into_bound(py));
    }
    let bytes = RecordBytes {
        origin,
        index,
        field,
    };
    Ok(PyMemoryView::from(Bound::new(py, bytes)?.as_any())?.into_any())
}
