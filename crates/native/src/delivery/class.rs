//! `Delivery` and `DeliveryWithMetadata` as Python sees them: methods, attributes, and the types.
//!
//! Station: delivery. Threads: any.

use std::ffi::{CStr, c_void};
use std::ptr;

use ottla_core::produce::completion::State;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::blocked_loop::BlockingCall;
use crate::callback;
use crate::delivery::object::{
    DeliveryObject, EXTENDED, ExtendedObject, TYPE, clear_extended, dealloc, dealloc_extended,
    extension, traverse_extended, where_is, xincref,
};
use crate::delivery::outcome::{
    AwaitedDelivery, call_when_settled, error_of, settled, wait_error, wait_result,
};
use crate::docs;
use crate::errors;
use crate::raw::{
    Arguments, documented, fast_method, getter, guard, make_type, no_getter, no_method,
    plain_method, slot,
};
use crate::seam::failures::outcome_name;
use crate::wait::ready::ready;
use crate::wait::time::seconds;
use crate::wait::waiting::Waiting;

const RESULT: BlockingCall = BlockingCall {
    name: "Delivery.result()",
    instead: "await delivery",
};
const EXCEPTION: BlockingCall = BlockingCall {
    name: "Delivery.exception()",
    instead: "await delivery",
};

// ---- methods ----------------------------------------------------------------------------------------------------------

unsafe fn timeout_argument(
    function: &str,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> PyResult<Option<f64>> {
    // SAFETY: the GIL is held in methods.
    let py = unsafe { Python::assume_attached() };
    let arguments = Arguments {
        positional: args,
        count: count as usize,
        keywords,
    };
    // SAFETY: as Python calls.
    let [timeout] =
        unsafe { arguments.sort(function, || [pyo3::intern!(py, "timeout").as_ptr()])? };
    if timeout.is_null() {
        return Ok(None);
    }
    // SAFETY: a borrowed argument.
    seconds(&unsafe { Bound::from_borrowed_ptr(py, timeout) })
}

unsafe extern "C" fn result(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: as Python calls.
        let timeout = unsafe { timeout_argument("result", args, count, keywords)? };
        wait_result(py, slf, timeout, Some(&RESULT)).map(Py::into_ptr)
    })
}

unsafe extern "C" fn exception(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: as Python calls.
        let timeout = unsafe { timeout_argument("exception", args, count, keywords)? };
        wait_error(py, slf, timeout, Some(&EXCEPTION))
    })
}

unsafe extern "C" fn done(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        Ok((where_is(slf).0.state() != State::Pending)
            .into_pyobject(py)?
            .to_owned()
            .into_ptr())
    })
}

/// Refused: a delivery is one message of one process, and means nothing in another one, nor as a copy.
unsafe extern "C" fn reduce(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|_| {
        Err(PyTypeError::new_err(
            "a Delivery cannot be copied or pickled: only this process receives its outcome. Its result() can, and its error, \
             topic, key and value",
        ))
    })
}

unsafe extern "C" fn add_done_callback(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        let arguments = Arguments {
            positional: args,
            count: count as usize,
            keywords,
        };
        // SAFETY: as Python calls.
        let [callback] = unsafe {
            arguments.sort("add_done_callback", || {
                [pyo3::intern!(py, "callback").as_ptr()]
            })?
        };
        if callback.is_null() {
            return Err(PyTypeError::new_err(
                "add_done_callback() needs a function (delivery)",
            ));
        }
        // SAFETY: borrowed objects of the call.
        let (callback, delivery) = unsafe {
            (
                Bound::from_borrowed_ptr(py, callback),
                Bound::from_borrowed_ptr(py, slf),
            )
        };
        callback::check_done_callback(&callback)?;
        call_when_settled(&delivery, &callback)?;
        Ok(py.None().into_ptr())
    })
}

/// Awaiting a written message costs no more than its metadata.
unsafe extern "C" fn await_(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        if let Some(settled) = settled(py, slf)? {
            // SAFETY: an owned reference that is given away.
            return unsafe { ready(py, settled?.into_ptr()) };
        }
        // SAFETY: a borrowed object of the call.
        let delivery = unsafe { Bound::from_borrowed_ptr(py, slf).unbind() };
        let waiting = Waiting::new(Box::new(AwaitedDelivery::new(delivery)), None);
        Ok(Py::new(py, waiting)?.into_ptr())
    })
}

unsafe extern "C" fn repr(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        let (completion, index) = where_is(slf);
        let state = match completion.state() {
            State::Pending => "pending".to_owned(),
            State::Written { base_offset, .. } if base_offset >= 0 => {
                format!("written at offset {}", base_offset + i64::from(index))
            }
            State::Written { .. } => "written".to_owned(),
            State::Failed(failure) => {
                let outcome = outcome_name(failure.outcome);
                format!("{outcome}: {}", errors::text_of(py, &failure)?)
            }
        };
        let topic = &completion.topic;
        let text = match completion.partition() {
            ..0 => format!("<Delivery {topic} {state}>"),
            partition => format!("<Delivery {topic}-{partition} {state}>"),
        };
        Ok(text.into_pyobject(py)?.into_ptr())
    })
}

// ---- attributes -------------------------------------------------------------------------------------------------------

fn or_none(py: Python<'_>, object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    if object.is_null() {
        return py.None().into_ptr();
    }
    // SAFETY: a field of a living delivery.
    unsafe { xincref(object) }
}

unsafe extern "C" fn get_topic(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| Ok(where_is(slf).0.topic.into_pyobject(py)?.into_ptr()))
}

unsafe extern "C" fn get_key(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a delivery.
        let key = unsafe { (*slf.cast::<DeliveryObject>()).key };
        Ok(or_none(py, key))
    })
}

unsafe extern "C" fn get_value(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a delivery.
        let value = unsafe { (*slf.cast::<DeliveryObject>()).value };
        Ok(or_none(py, value))
    })
}

unsafe extern "C" fn get_headers(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        Ok(or_none(
            py,
            extension(py, slf).map_or(ptr::null_mut(), |more| more.headers),
        ))
    })
}

unsafe extern "C" fn get_metadata(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        Ok(or_none(
            py,
            extension(py, slf).map_or(ptr::null_mut(), |more| more.metadata),
        ))
    })
}

unsafe extern "C" fn get_partition(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let partition = where_is(slf).0.partition();
        Ok((partition >= 0)
            .then_some(partition)
            .into_pyobject(py)?
            .into_ptr())
    })
}

unsafe extern "C" fn get_offset(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let (completion, index) = where_is(slf);
        let offset = completion.state().offset(index);
        Ok(offset.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn get_timestamp(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a delivery.
        let own = unsafe { (*slf.cast::<DeliveryObject>()).timestamp_ms };
        let timestamp = where_is(slf).0.state().timestamp(own);
        Ok(timestamp.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn get_outcome(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let outcome = match where_is(slf).0.state() {
            State::Pending => None,
            State::Written { .. } => Some("written"),
            State::Failed(failure) => Some(outcome_name(failure.outcome)),
        };
        Ok(outcome.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn get_error(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| error_of(py, slf))
}

// ---- the types --------------------------------------------------------------------------------------------------------

const NAME: &CStr = c"ottla._native.Delivery";
const NAME_EXTENDED: &CStr = c"ottla._native.DeliveryWithMetadata";

static mut GETTERS: [ffi::PyGetSetDef; 11] = [
    getter(c"topic", docs::DELIVERY_TOPIC, get_topic),
    getter(c"key", docs::DELIVERY_KEY, get_key),
    getter(c"value", docs::DELIVERY_VALUE, get_value),
    getter(c"headers", docs::DELIVERY_HEADERS, get_headers),
    getter(c"metadata", docs::DELIVERY_METADATA, get_metadata),
    getter(c"partition", docs::DELIVERY_PARTITION, get_partition),
    getter(c"offset", docs::DELIVERY_OFFSET, get_offset),
    getter(c"timestamp_ms", docs::DELIVERY_TIMESTAMP_MS, get_timestamp),
    getter(c"outcome", docs::DELIVERY_OUTCOME, get_outcome),
    getter(c"error", docs::DELIVERY_ERROR, get_error),
    no_getter(),
];

static mut METHODS: [ffi::PyMethodDef; 6] = [
    documented(plain_method(c"done", done), docs::DELIVERY_DONE),
    fast_method(c"result", docs::DELIVERY_RESULT, result),
    fast_method(c"exception", docs::DELIVERY_EXCEPTION, exception),
    fast_method(
        c"add_done_callback",
        docs::DELIVERY_ADD_DONE_CALLBACK,
        add_done_callback,
    ),
    plain_method(c"__reduce__", reduce),
    no_method(),
];

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let flags =
        ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_doc, docs::DELIVERY.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_getset, (&raw mut GETTERS).cast()),
        slot(ffi::Py_tp_methods, (&raw mut METHODS).cast()),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_am_await, await_ as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let base = make_type(py, NAME, size_of::<DeliveryObject>(), flags, &mut slots)?;
    let base = TYPE.get_or_init(py, || base);
    let flags =
        ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(
            ffi::Py_tp_doc,
            docs::DELIVERY_WITH_METADATA.as_ptr().cast_mut().cast(),
        ),
        slot(ffi::Py_tp_base, base.as_ptr().cast()),
        slot(ffi::Py_tp_dealloc, dealloc_extended as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse_extended as *mut c_void),
        slot(ffi::Py_tp_clear, clear_extended as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let extended = make_type(
        py,
        NAME_EXTENDED,
        size_of::<ExtendedObject>(),
        flags,
        &mut slots,
    )?;
    let extended = EXTENDED.get_or_init(py, || extended);
    module.add("Delivery", base)?;
    module.add("DeliveryWithMetadata", extended)
}
