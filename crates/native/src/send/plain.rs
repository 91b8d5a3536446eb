//! The usual messages: bytes for value and key, a topic that was sent to before, nothing else given.
//!
//! Almost every message is one, so these have a way of their own, with nothing in it that they do not need. A message
//! that is not usual (another type, headers, no buffer space, an error) takes the general way, from the start.
//! Stations: message → partition → accumulator. Threads: any; the GIL is held.

use std::sync::Arc;

use ottla_core::produce::completion::Completion;
use ottla_core::produce::message::Message;
use ottla_io::clock;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::delivery::object::{self, DeliveryObject, Parts};
use crate::send::field::null_for_none;
use crate::send::message::Given;
use crate::send::queued::owned;
use crate::send::sender::{Sender, now_ms};

/// How many messages are appended in one hold of the producer's lock.
const RUN: usize = 64;

/// A key or a value, where it is bytes or absent.
///
/// # Safety
/// The GIL is held; `object` is valid or null and outlives the result.
#[inline(always)]
unsafe fn plain<'a>(object: *mut ffi::PyObject) -> Option<Option<&'a [u8]>> {
    let object = null_for_none(object);
    if object.is_null() {
        return Some(None);
    }
    // SAFETY: a valid object, by contract; bytes do not change or move.
    unsafe {
        if ffi::PyBytes_CheckExact(object) == 0 {
            return None;
        }
        let data = ffi::PyBytes_AsString(object).cast::<u8>();
        let len = ffi::PyBytes_Size(object) as usize;
        Some(Some(std::slice::from_raw_parts(data, len)))
    }
}

impl Sender {
    /// Sends a usual message, if it is one and there is free buffer space.
    ///
    /// # Safety
    /// The GIL is held; the objects are valid or null.
    #[inline(always)]
    pub unsafe fn send_plain(
        &self,
        py: Python<'_>,
        given: &Given,
    ) -> PyResult<Option<*mut DeliveryObject>> {
        let more = [
            given.headers,
            given.partition,
            given.timestamp_ms,
            given.metadata,
            given.on_delivery,
        ];
        if more.iter().any(|object| !object.is_null()) {
            return Ok(None);
        }
        // SAFETY: by contract.
        let (value, key) = unsafe { (plain(given.value), plain(given.key)) };
        let (Some(topic), Some(value), Some(key)) = (self.known_topic(given.topic), value, key)
        else {
            return Ok(None);
        };
        let message = Message {
            partition: None,
            timestamp_ms: now_ms(),
            key,
            value,
            headers: &[],
            extra: 0,
        };
        let parts = Parts {
            timestamp_ms: message.timestamp_ms,
            key: null_for_none(given.key),
            value: null_for_none(given.value),
            headers: std::ptr::null_mut(),
            metadata: std::ptr::null_mut(),
            on_delivery: std::ptr::null_mut(),
        };
        // SAFETY: by contract.
        let made = unsafe { object::new_delivery(py, &parts)? };
        let accepted = |completion: &Arc<Completion>, index| {
            self.keep(completion, index, made, false);
            // SAFETY: it was made just now, and has no place yet.
            unsafe { object::place(made, completion.clone(), index) };
        };
        let refused = self
            .shared
            .append(topic, &message, None, clock::now, accepted)
            .is_err();
        if refused {
            drop(owned(py, made));
        }
        Ok((!refused).then_some(made))
    }

    /// Sends values of a list or tuple from `start` on, as long as they are usual and there is free buffer space, at most `RUN`.
    ///
    /// # Safety
    /// The GIL is held; `values` is a list or a tuple.
    pub unsafe fn send_plain_run(
        &self,
        topic: usize,
        timestamp_ms: i64,
        values: *mut ffi::PyObject,
        start: usize,
        accepted: impl FnMut(&Arc<Completion>, u32),
    ) {
        let mut found = [None; RUN];
        let mut count = 0;
        // SAFETY: by contract; nothing here runs Python code that could change the list before its values are copied.
        unsafe {
            let end = (ffi::PySequence_Size(values).max(0) as usize).min(start + RUN);
            for index in start..end {
                let Some(value) = plain(item(values, index)) else {
                    break;
                };
                found[count] = value;
                count += 1;
            }
        }
        let messages = found[..count].iter().map(|value| Message {
            partition: None,
            timestamp_ms,
            key: None,
            value: *value,
            headers: &[],
            extra: 0,
        });
        self.shared
            .append_run(topic, messages, clock::now, accepted);
    }
}

/// A borrowed item.
///
/// # Safety
/// `values` is a list or a tuple with more than `index` items.
#[inline(always)]
unsafe fn item(values: *mut ffi::PyObject, index: usize) -> *mut ffi::PyObject {
    // SAFETY: by contract.
    unsafe {
        if ffi::PyList_Check(values) != 0 {
            ffi::PyList_GetItem(values, index as ffi::Py_ssize_t)
        } else {
            ffi::PyTuple_GetItem(values, index as ffi::Py_ssize_t)
        }
    }
}
