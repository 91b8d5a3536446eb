//! `RecordMetadata`: what an awaited message gives. One is made per message that somebody waits for, so it is made directly.
//!
//! It is a named tuple, whose own `__new__` is a Python function. The object is allocated as tuples of its class are, and filled,
//! if Python allows it. Station: delivery.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use ottla_core::produce::completion::Completion;
use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple, PyType};

static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// From 3.14 on a tuple keeps its hash in a field that is not zero to begin with, and only `tuple` itself knows of it.
static ALLOCATED: PyOnceLock<bool> = PyOnceLock::new();

/// The name that was asked for last: most messages in a row have the same. Touched with the GIL only.
static LAST_TOPIC: Mutex<Option<(Arc<str>, Py<PyString>)>> = Mutex::new(None);

fn topic_name<'py>(py: Python<'py>, topic: &Arc<str>) -> Bound<'py, PyString> {
    let mut last = LAST_TOPIC.lock();
    if let Some((known, name)) = &*last
        && Arc::ptr_eq(known, topic)
    {
        return name.bind(py).clone();
    }
    let name = PyString::new(py, topic);
    let known = (topic.clone(), name.clone().unbind());
    if let Some((_, before)) = last.replace(known) {
        before.drop_ref(py);
    }
    name
}

/// The place and time at which a message was written.
pub fn record_metadata(
    py: Python<'_>,
    completion: &Completion,
    offset: i64,
    timestamp_ms: i64,
) -> PyResult<Py<PyAny>> {
    let class = CLASS.import(py, "ottla.message", "RecordMetadata")?;
    let fields = [
        topic_name(py, &completion.topic).into_any(),
        completion.partition().into_pyobject(py)?.into_any(),
        offset.into_pyobject(py)?.into_any(),
        timestamp_ms.into_pyobject(py)?.into_any(),
    ];
    let is_allocated = *ALLOCATED.get_or_init(py, || py.version_info() < (3, 14));
    let made = if is_allocated {
        allocated(class, fields)?
    } else {
        made_by_tuple(class, fields)?
    };
    Ok(made.unbind())
}

fn allocated<'py>(
    class: &Bound<'py, PyType>,
    fields: [Bound<'py, PyAny>; 4],
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    // SAFETY: a subclass of tuple without fields of its own: allocated with space for the items, which are null until they are
    // set. Nobody else sees it before; `PyTuple_SetItem` takes the reference over.
    unsafe {
        let made = ffi::PyType_GenericAlloc(class.as_ptr().cast(), fields.len() as isize);
        let made = Bound::from_owned_ptr_or_err(py, made)?;
        for (place, field) in fields.into_iter().enumerate() {
            if ffi::PyTuple_SetItem(made.as_ptr(), place as isize, field.into_ptr()) != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        Ok(made)
    }
}

/// `tuple.__new__(class, fields)`.
fn made_by_tuple<'py>(
    class: &Bound<'py, PyType>,
    fields: [Bound<'py, PyAny>; 4],
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let arguments = (PyTuple::new(py, fields)?,).into_pyobject(py)?;
    // SAFETY: what `tuple` has in this slot is of this type, and takes any subclass of it.
    unsafe {
        let slot = ffi::PyType_GetSlot(&raw mut ffi::PyTuple_Type, ffi::Py_tp_new);
        let Some(new) = std::mem::transmute::<*mut c_void, Option<ffi::newfunc>>(slot) else {
            return Err(PyErr::fetch(py));
        };
        let made = new(class.as_ptr().cast(), arguments.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, made)
    }
}
