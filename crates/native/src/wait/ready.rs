//! `Ready`: an awaitable that has its result already. Hand-made: one of them is made per asynchronous send.
//!
//! It has the methods of a coroutine, so that `asyncio.create_task(producer.send(…))` takes it. Station: delivery.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors;
use crate::raw::{guard, make_type, no_method, plain_method, single_method, slot, varied_method};
use crate::wait::waiting::{ENDED, not_awaited};

#[repr(C)]
struct ReadyObject {
    base: ffi::PyObject,
    /// Null once it was taken.
    result: *mut ffi::PyObject,
}

static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// An awaitable that gives this object, whose reference it takes over.
///
/// # Safety
/// The GIL is held; `result` is an owned reference.
pub unsafe fn ready(py: Python<'_>, result: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: the type was made at import; the object is filled before anything else can see it.
    unsafe {
        let class = TYPE
            .get(py)
            .map_or(ptr::null_mut(), |made| made.as_ptr().cast());
        let memory = ffi::PyObject_Malloc(size_of::<ReadyObject>()).cast::<ffi::PyObject>();
        if memory.is_null() {
            ffi::Py_DECREF(result);
            return Err(pyo3::exceptions::PyMemoryError::new_err(()));
        }
        let object = ffi::PyObject_Init(memory, class).cast::<ReadyObject>();
        (*object).result = result;
        Ok(object.cast())
    }
}

unsafe fn take(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: of this type; the GIL is held.
    unsafe { std::mem::replace(&mut (*slf.cast::<ReadyObject>()).result, ptr::null_mut()) }
}

fn awaited_twice() -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err("cannot reuse already awaited send()")
}

unsafe extern "C" fn itself(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a living object.
    unsafe { ffi::Py_INCREF(slf) };
    slf
}

/// `await`, without an exception in between.
unsafe extern "C" fn am_send(
    slf: *mut ffi::PyObject,
    _argument: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> c_int {
    // SAFETY: as Python calls; `result` is written before it is read.
    unsafe {
        *result = take(slf);
        if (*result).is_null() {
            awaited_twice().restore(Python::assume_attached());
            return ffi::PySendResult::PYGEN_ERROR as c_int;
        }
    }
    ffi::PySendResult::PYGEN_RETURN as c_int
}

/// `StopIteration(result)`, for who drives it by hand.
fn stop(py: Python<'_>, slf: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: of this type; the reference is owned.
    let result =
        unsafe { Bound::from_owned_ptr_or_opt(py, take(slf)) }.ok_or_else(awaited_twice)?;
    Err(pyo3::exceptions::PyStopIteration::new_err((
        result.unbind(),
    )))
}

unsafe extern "C" fn next(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| stop(py, slf))
}

unsafe extern "C" fn send(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| stop(py, slf))
}

/// An exception thrown in ends it: a task that is cancelled before its first step does this.
unsafe extern "C" fn throw(
    slf: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: of this type; `arguments` is a borrowed tuple.
        let thrown = unsafe {
            drop(Bound::from_owned_ptr_or_opt(py, take(slf)));
            Bound::from_borrowed_ptr(py, arguments).get_item(0)?
        };
        Err(PyErr::from_value(thrown))
    })
}

unsafe extern "C" fn close(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: of this type; the reference is owned.
        drop(unsafe { Bound::from_owned_ptr_or_opt(py, take(slf)) });
        Ok(py.None().into_ptr())
    })
}

unsafe extern "C" fn attribute(
    slf: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as Python calls.
    let found = unsafe { ffi::PyObject_GenericGetAttr(slf, name) };
    if !found.is_null() {
        return found;
    }
    guard(|py| {
        let missing = PyErr::fetch(py);
        // SAFETY: a borrowed argument, which is a str.
        let name = unsafe { Bound::from_borrowed_ptr(py, name) };
        let Some(hint) = not_awaited(&name) else {
            return Err(missing);
        };
        errors::drop_error(py, missing);
        Err(hint)
    })
}

unsafe extern "C" fn repr(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: of this type; the object keeps the reference.
        let result =
            unsafe { Bound::from_borrowed_ptr_or_opt(py, (*slf.cast::<ReadyObject>()).result) };
        let text = match result {
            Some(result) => format!("<Awaitable, not awaited yet: gives {}>", result.repr()?),
            None => ENDED.to_owned(),
        };
        Ok(text.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: Python frees an object that nothing refers to; a heap type is released with each of its objects.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        ffi::Py_XDECREF(take(slf));
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

const NAME: &CStr = c"ottla._native.Ready";

static mut METHODS: [ffi::PyMethodDef; 4] = [
    single_method(c"send", send),
    varied_method(c"throw", throw),
    plain_method(c"close", close),
    no_method(),
];

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_methods, (&raw mut METHODS).cast()),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_getattro, attribute as *mut c_void),
        slot(ffi::Py_am_await, itself as *mut c_void),
        slot(ffi::Py_am_send, am_send as *mut c_void),
        slot(ffi::Py_tp_iter, itself as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let made = make_type(py, NAME, size_of::<ReadyObject>(), flags, &mut slots)?;
    TYPE.get_or_init(py, || made);
    Ok(())
}
