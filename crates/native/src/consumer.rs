//! `ConsumerBase`: the iteration of `ottla.Consumer`, one record after another without a Python frame.
//!
//! Hand-made, so that `for record in consumer` runs straight into `next`. It calls Python (`_refill`) only when the
//! records of a poll are used up. Station: record. Threads: the one that iterates; any may ask for the current record.

use std::ffi::{CStr, c_void};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::origin::release;
use crate::raw::{class_getitem, guard, make_type, no_method, plain_method, single_method, slot};
use crate::records::Records;
use crate::walk::Walk;

#[repr(C)]
struct ConsumerObject {
    base: ffi::PyObject,
    /// From `Box::into_raw`; null where no records are left. Changes with the GIL only, and is never borrowed while
    /// Python code runs.
    walk: *mut Walk,
    /// The group waits for the application: `next` calls `_interrupted` first. Changes with the GIL only.
    is_interrupted: bool,
}

/// # Safety
/// `slf` is a `ConsumerBase`; the GIL is held; `walk` is null or comes from `Box::into_raw`.
unsafe fn set_walk(slf: *mut ffi::PyObject, walk: *mut Walk) {
    // SAFETY: by contract; the old one is taken out before it is released.
    unsafe {
        let old = std::mem::replace(&mut (*slf.cast::<ConsumerObject>()).walk, walk);
        if !old.is_null() {
            release(Box::from_raw(old));
        }
    }
}

unsafe extern "C" fn next(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        loop {
            // SAFETY: a consumer, with the GIL.
            if unsafe { take_interrupt(slf) } {
                // SAFETY: a living object of the call.
                let consumer = unsafe { Bound::from_borrowed_ptr(py, slf) };
                consumer.call_method0(pyo3::intern!(py, "_interrupted"))?;
                continue;
            }
            // SAFETY: a consumer, with the GIL; a step runs no Python code.
            if let Some(walk) = unsafe { (*slf.cast::<ConsumerObject>()).walk.as_mut() } {
                let record = walk.step(py)?;
                if !record.is_null() {
                    return Ok(record);
                }
            }
            if !refill(py, slf)? {
                // Null without an exception ends an iteration.
                return Ok(ptr::null_mut());
            }
        }
    })
}

/// Whether `_interrupt` was called since the last time.
///
/// # Safety
/// `slf` is a `ConsumerBase`; the GIL is held.
#[inline]
unsafe fn take_interrupt(slf: *mut ffi::PyObject) -> bool {
    // SAFETY: by contract.
    unsafe {
        let object = slf.cast::<ConsumerObject>();
        let is_interrupted = (*object).is_interrupted;
        if is_interrupted {
            (*object).is_interrupted = false;
        }
        is_interrupted
    }
}

/// Asks Python for the next records, while the last one is still the current record; false where there are none.
fn refill(py: Python<'_>, slf: *mut ffi::PyObject) -> PyResult<bool> {
    // SAFETY: a living object of the call.
    let consumer = unsafe { Bound::from_borrowed_ptr(py, slf) };
    let given = consumer.call_method0(pyo3::intern!(py, "_refill"))?;
    if given.is_none() {
        return Ok(false);
    }
    let Ok(records) = given.cast::<Records>() else {
        let kind = given.get_type().name()?;
        let message = format!("_refill() must return Records or None, not {kind}");
        return Err(PyTypeError::new_err(message));
    };
    // SAFETY: a consumer, with the GIL.
    unsafe { start_walk(slf, records.get()) };
    Ok(true)
}

/// # Safety
/// The contract of `set_walk`.
unsafe fn start_walk(slf: *mut ffi::PyObject, records: &Records) {
    let walk = Box::new(Walk::new(records.parts().clone()));
    // SAFETY: by contract.
    unsafe { set_walk(slf, Box::into_raw(walk)) };
}

/// `_start(records)`
unsafe extern "C" fn start(
    slf: *mut ffi::PyObject,
    records: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a borrowed argument.
        let records = unsafe { Bound::from_borrowed_ptr(py, records) };
        // SAFETY: a consumer, with the GIL.
        unsafe { start_walk(slf, records.cast::<Records>()?.get()) };
        Ok(py.None().into_ptr())
    })
}

/// The iteration starts over: `_refill` takes from this flow.
unsafe extern "C" fn bind(
    slf: *mut ffi::PyObject,
    _flow: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a consumer, with the GIL.
        unsafe { set_walk(slf, ptr::null_mut()) };
        Ok(py.None().into_ptr())
    })
}

/// The next step calls `_interrupted` first.
unsafe extern "C" fn interrupt(
    slf: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a consumer, with the GIL.
        unsafe { (*slf.cast::<ConsumerObject>()).is_interrupted = true };
        Ok(py.None().into_ptr())
    })
}

/// The records that are left. From here on there is no current record.
unsafe extern "C" fn rest(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a consumer, with the GIL.
        let walk = unsafe { (*slf.cast::<ConsumerObject>()).walk.as_ref() };
        let left = Records::of_parts(walk.map(Walk::left).unwrap_or_default());
        // SAFETY: as above.
        unsafe { start_walk(slf, &left) };
        Ok(Bound::new(py, left)?.into_any().into_ptr())
    })
}

unsafe extern "C" fn current(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a consumer, with the GIL.
        let walk = unsafe { (*slf.cast::<ConsumerObject>()).walk.as_ref() };
        let Some((origin, index)) = walk.and_then(Walk::last) else {
            return Ok(py.None().into_ptr());
        };
        let (origin, index) = (origin.clone(), index);
        let offset = origin.record(index)?.offset;
        let place = (origin.topic(py), origin.partition, offset);
        Ok(place.into_pyobject(py)?.into_ptr())
    })
}

/// `_skip((topic, partition))`
unsafe extern "C" fn skip(
    slf: *mut ffi::PyObject,
    place: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a borrowed argument.
        let place = unsafe { Bound::from_borrowed_ptr(py, place) };
        let (topic, partition): (String, i32) = place.extract()?;
        // SAFETY: a consumer, with the GIL; names are compared without running Python code.
        if let Some(walk) = unsafe { (*slf.cast::<ConsumerObject>()).walk.as_mut() } {
            walk.skip(|origin| !origin.is_of(py, &topic, partition));
        }
        Ok(py.None().into_ptr())
    })
}

unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: nothing refers to the consumer any more. Of a subclass it is that class's memory, freed its way; a heap
    // type is released with each of its objects.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        set_walk(slf, ptr::null_mut());
        let free: ffi::freefunc = std::mem::transmute(ffi::PyType_GetSlot(class, ffi::Py_tp_free));
        free(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

const NAME: &CStr = c"ottla._native.ConsumerBase";
const DOC: &CStr = c"The hot iteration of `ottla.Consumer`.";

static mut METHODS: [ffi::PyMethodDef; 8] = [
    class_getitem(),
    single_method(c"_bind", bind),
    plain_method(c"_current", current),
    plain_method(c"_interrupt", interrupt),
    plain_method(c"_rest", rest),
    single_method(c"_skip", skip),
    single_method(c"_start", start),
    no_method(),
];

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE;
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_methods, (&raw mut METHODS).cast()),
        slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let class = make_type(py, NAME, size_of::<ConsumerObject>(), flags, &mut slots)?;
    module.add("ConsumerBase", class)
}
