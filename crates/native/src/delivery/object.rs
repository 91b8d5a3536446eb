//! The object of a `Delivery`, as Python allocates and frees it, and its place: which message of which batch it is.
//!
//! Station: delivery. Threads: any, with the GIL.
//!
//! A delivery refers to its completion by place (completion and index). A message that got its partition late, or whose batch was
//! split, is forwarded to another completion: read the place again after each wait. No cycle can go through bytes and str, so only
//! `DeliveryWithMetadata` is tracked by the garbage collector: a field that can refer to any object belongs there.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use ottla_core::produce::completion::{Completion, Place};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

#[repr(C)]
pub struct DeliveryObject {
    pub(super) base: ffi::PyObject,
    /// From `Arc::into_raw`; null until the message is accepted.
    pub(super) completion: *const Completion,
    pub(super) timestamp_ms: i64,
    pub(super) index: u32,
    pub(super) key: *mut ffi::PyObject,
    pub(super) value: *mut ffi::PyObject,
}

/// With the fields that may refer to any object: headers, metadata, and the callback of the message.
#[repr(C)]
pub(super) struct ExtendedObject {
    pub(super) delivery: DeliveryObject,
    pub(super) headers: *mut ffi::PyObject,
    pub(super) metadata: *mut ffi::PyObject,
    on_delivery: *mut ffi::PyObject,
}

pub(super) static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
pub(super) static EXTENDED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The objects that a new delivery refers to; borrowed pointers, null where absent.
pub struct Parts {
    pub timestamp_ms: i64,
    pub key: *mut ffi::PyObject,
    pub value: *mut ffi::PyObject,
    pub headers: *mut ffi::PyObject,
    pub metadata: *mut ffi::PyObject,
    pub on_delivery: *mut ffi::PyObject,
}

/// Makes a delivery before its message is accepted, with no place yet: `place` gives it one.
///
/// # Safety
/// The GIL is held; the parts are valid objects or null.
#[inline(always)]
pub unsafe fn new_delivery(py: Python<'_>, parts: &Parts) -> PyResult<*mut DeliveryObject> {
    // SAFETY: the types were made at import; the objects are filled before anything else can see them.
    unsafe {
        let more = [parts.headers, parts.metadata, parts.on_delivery];
        let extended = more.iter().any(|part| !part.is_null());
        let object = if extended {
            let made =
                ffi::PyType_GenericAlloc(type_pointer(py, &EXTENDED), 0).cast::<ExtendedObject>();
            if made.is_null() {
                return Err(PyErr::fetch(py));
            }
            (*made).headers = xincref(parts.headers);
            (*made).metadata = xincref(parts.metadata);
            (*made).on_delivery = xincref(parts.on_delivery);
            made.cast::<DeliveryObject>()
        } else {
            let memory = ffi::PyObject_Malloc(size_of::<DeliveryObject>()).cast::<ffi::PyObject>();
            if memory.is_null() {
                return Err(pyo3::exceptions::PyMemoryError::new_err(()));
            }
            ffi::PyObject_Init(memory, type_pointer(py, &TYPE)).cast::<DeliveryObject>()
        };
        (*object).completion = ptr::null();
        (*object).index = 0;
        (*object).timestamp_ms = parts.timestamp_ms;
        (*object).key = xincref(parts.key);
        (*object).value = xincref(parts.value);
        Ok(object)
    }
}

/// Gives a new delivery its place.
///
/// # Safety
/// `object` comes from `new_delivery` and has no place yet.
pub unsafe fn place(object: *mut DeliveryObject, completion: Arc<Completion>, index: u32) {
    // SAFETY: by contract.
    unsafe {
        (*object).completion = Arc::into_raw(completion);
        (*object).index = index;
    }
}

fn type_pointer(py: Python<'_>, made: &PyOnceLock<Py<PyAny>>) -> *mut ffi::PyTypeObject {
    made.get(py)
        .map_or(ptr::null_mut(), |made| made.as_ptr().cast())
}

pub(super) unsafe fn xincref(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: valid or null, by contract of the callers.
    unsafe { ffi::Py_XINCREF(object) };
    object
}

fn nowhere() -> Arc<Completion> {
    static NOWHERE: OnceLock<Arc<Completion>> = OnceLock::new();
    NOWHERE
        .get_or_init(|| Completion::new(Arc::from(""), -1))
        .clone()
}

/// The completion and index of a delivery, wherever it was forwarded to.
pub fn where_is(object: *mut ffi::PyObject) -> Place {
    let delivery = object.cast::<DeliveryObject>();
    // SAFETY: only deliveries get here; the pointer came from `Arc::into_raw` and the object keeps its count.
    let completion = unsafe {
        let raw = (*delivery).completion;
        if raw.is_null() {
            // The collector can show a delivery that waits for buffer space.
            return (nowhere(), 0);
        }
        Arc::increment_strong_count(raw);
        Arc::from_raw(raw)
    };
    // SAFETY: as above.
    completion.place(unsafe { (*delivery).index })
}

/// The fields of the extended type; None where the delivery is of the plain one.
pub(super) fn extension<'a>(py: Python<'a>, slf: *mut ffi::PyObject) -> Option<&'a ExtendedObject> {
    // SAFETY: a living object, which has the fields of the extended type if it is of that type.
    unsafe {
        (ffi::Py_TYPE(slf) == type_pointer(py, &EXTENDED)).then(|| &*slf.cast::<ExtendedObject>())
    }
}

/// The callback that the message was sent with.
pub fn own_callback<'py>(delivery: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let callback = extension(delivery.py(), delivery.as_ptr())?.on_delivery;
    // SAFETY: a field of a living delivery: null or an object.
    unsafe { Bound::from_borrowed_ptr_or_opt(delivery.py(), callback) }
}

// ---- life -------------------------------------------------------------------------------------------------------------

unsafe fn clear_delivery(object: *mut DeliveryObject) {
    // SAFETY: the object is being freed: nobody else sees it.
    unsafe {
        if !(*object).completion.is_null() {
            drop(Arc::from_raw((*object).completion));
        }
        ffi::Py_XDECREF((*object).key);
        ffi::Py_XDECREF((*object).value);
    }
}

pub(super) unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: Python frees a delivery that nothing refers to; a heap type is released with each of its objects.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        clear_delivery(slf.cast());
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

pub(super) unsafe extern "C" fn dealloc_extended(slf: *mut ffi::PyObject) {
    // SAFETY: as `dealloc`; the collector forgets the object first.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        ffi::PyObject_GC_UnTrack(slf.cast());
        clear_extended(slf);
        clear_delivery(slf.cast());
        ffi::PyObject_GC_Del(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

pub(super) unsafe extern "C" fn clear_extended(slf: *mut ffi::PyObject) -> c_int {
    let object = slf.cast::<ExtendedObject>();
    // SAFETY: of the extended type; each field is taken out before it is released.
    unsafe {
        let headers = std::mem::replace(&mut (*object).headers, ptr::null_mut());
        let metadata = std::mem::replace(&mut (*object).metadata, ptr::null_mut());
        let on_delivery = std::mem::replace(&mut (*object).on_delivery, ptr::null_mut());
        ffi::Py_XDECREF(headers);
        ffi::Py_XDECREF(metadata);
        ffi::Py_XDECREF(on_delivery);
    }
    0
}

pub(super) unsafe extern "C" fn traverse_extended(
    slf: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let object = slf.cast::<ExtendedObject>();
    // SAFETY: of the extended type; visiting changes no count.
    unsafe {
        let fields = [
            ffi::Py_TYPE(slf).cast(),
            (*object).headers,
            (*object).metadata,
            (*object).on_delivery,
            (*object).delivery.key,
            (*object).delivery.value,
        ];
        for field in fields {
            if !field.is_null() {
                let stop = visit(field, arg);
                if stop != 0 {
                    return stop;
                }
            }
        }
    }
    0
}
