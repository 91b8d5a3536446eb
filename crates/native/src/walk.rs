//! One record after another: the parts of `Records`, a walk over them, and the iterator that Python gets.
//!
//! Station: record. Threads: any, with the GIL.

use std::ffi::{CStr, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::origin::{Origin, release};
use crate::raw::{guard, make_type, slot};
use crate::record::new_record;

/// Records of one origin that stand next to each other.
#[derive(Clone)]
pub struct Part {
    pub origin: Arc<Origin>,
    /// Never empty, but for a part of a walk of which the rest was left out.
    pub records: Range<usize>,
    /// The position after this part.
    pub next_offset: i64,
}

/// A place between two records.
pub struct Walk {
    parts: Arc<[Part]>,
    part: usize,
    /// Of the next record, in its part's origin.
    index: usize,
}

impl Walk {
    pub fn new(parts: Arc<[Part]>) -> Self {
        let index = parts.first().map_or(0, |part| part.records.start);
        Self {
            parts,
            part: 0,
            index,
        }
    }

    /// A new record object, or null at the end.
    #[inline]
    pub fn step(&mut self, py: Python<'_>) -> PyResult<*mut ffi::PyObject> {
        let Some(mut part) = self.parts.get(self.part) else {
            return Ok(ptr::null_mut());
        };
        if self.index == part.records.end {
            let Some(next) = self.parts.get(self.part + 1) else {
                return Ok(ptr::null_mut());
            };
            part = next;
            self.part += 1;
            self.index = next.records.start;
        }
        // A batch has at most i32::MAX records.
        let record = new_record(py, part.origin.clone(), self.index as u32)?;
        self.index += 1;
        Ok(record)
    }

    /// Leaves out the remaining records of origins that are not `wanted`.
    pub fn skip(&mut self, wanted: impl Fn(&Origin) -> bool) {
        let mut parts = self.parts.to_vec();
        if let Some(current) = parts.get_mut(self.part)
            && !wanted(&current.origin)
        {
            current.records.end = self.index;
        }
        let mut place = 0;
        parts.retain(|part| {
            place += 1;
            place <= self.part + 1 || wanted(&part.origin)
        });
        self.parts = parts.into();
    }

    /// The records that have not been given yet.
    pub fn left(&self) -> Vec<Part> {
        let mut parts = self.parts.get(self.part..).unwrap_or_default().to_vec();
        if let Some(first) = parts.first_mut() {
            first.records.start = self.index;
        }
        parts.retain(|part| !part.records.is_empty());
        parts
    }

    /// The place of the record of the last step; None before the first.
    pub fn last(&self) -> Option<(&Arc<Origin>, usize)> {
        let part = self.parts.get(self.part)?;
        let given = self.index > part.records.start;
        given.then(|| (&part.origin, self.index - 1))
    }
}

#[repr(C)]
struct IteratorObject {
    base: ffi::PyObject,
    walk: Walk,
}

static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The iterator over these parts.
pub fn new_iterator<'py>(py: Python<'py>, parts: &Arc<[Part]>) -> PyResult<Bound<'py, PyAny>> {
    let Some(class) = TYPE.get(py) else {
        return Err(PyRuntimeError::new_err("ottla._native is not loaded"));
    };
    // SAFETY: the type has space for the walk, which is written before anything else can see the object.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let walk = &raw mut (*object.as_ptr().cast::<IteratorObject>()).walk;
        walk.write(Walk::new(parts.clone()));
        Ok(object)
    }
}

unsafe extern "C" fn next(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: an iterator, with the GIL; a step runs no Python code that could step as well.
    guard(|py| unsafe { (*slf.cast::<IteratorObject>()).walk.step(py) })
}

unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: nothing refers to the iterator any more; a heap type is released with each of its objects.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        release(ptr::read(&raw const (*slf.cast::<IteratorObject>()).walk));
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

const NAME: &CStr = c"ottla._native.RecordIterator";

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let class = make_type(py, NAME, size_of::<IteratorObject>(), flags, &mut slots)?;
    TYPE.get_or_init(py, || class);
    Ok(())
}
