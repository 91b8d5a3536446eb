//! One message between the call and the accumulator: as it was given, as it was read, and stored where it has to wait.
//!
//! Station: message. Threads: the caller's, with the GIL.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use ottla_core::record::encode::record_size_upper_bound;

use crate::raw::Arguments;
use crate::send::field::{Field, Headers};

/// The arguments of a send; null where absent. They are borrowed: from the call, from `Fields` or from `Stored`.
pub struct Given {
    pub topic: *mut ffi::PyObject,
    pub value: *mut ffi::PyObject,
    pub key: *mut ffi::PyObject,
    pub headers: *mut ffi::PyObject,
    pub partition: *mut ffi::PyObject,
    pub timestamp_ms: *mut ffi::PyObject,
    pub metadata: *mut ffi::PyObject,
    pub on_delivery: *mut ffi::PyObject,
}

/// Number of arguments of a send.
const COUNT: usize = 8;

impl Given {
    /// In the order of the arguments.
    #[inline(always)]
    fn of(
        [
            topic,
            value,
            key,
            headers,
            partition,
            timestamp_ms,
            metadata,
            on_delivery,
        ]: [*mut ffi::PyObject; COUNT],
    ) -> Self {
        Self {
            topic,
            value,
            key,
            headers,
            partition,
            timestamp_ms,
            metadata,
            on_delivery,
        }
    }

    /// The arguments of a call.
    ///
    /// # Safety
    /// The arguments are those with which Python calls a METH_FASTCALL | METH_KEYWORDS function.
    #[inline(always)]
    pub unsafe fn of_call(
        py: Python<'_>,
        function: &str,
        positional: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        keywords: *mut ffi::PyObject,
    ) -> PyResult<Self> {
        let arguments = Arguments {
            positional,
            count: count as usize,
            keywords,
        };
        let names = || {
            [
                pyo3::intern!(py, "topic").as_ptr(),
                pyo3::intern!(py, "value").as_ptr(),
                pyo3::intern!(py, "key").as_ptr(),
                pyo3::intern!(py, "headers").as_ptr(),
                pyo3::intern!(py, "partition").as_ptr(),
                pyo3::intern!(py, "timestamp_ms").as_ptr(),
                pyo3::intern!(py, "metadata").as_ptr(),
                pyo3::intern!(py, "on_delivery").as_ptr(),
            ]
        };
        // SAFETY: by contract.
        Ok(Self::of(unsafe { arguments.sort(function, names)? }))
    }
}

/// The objects of one message, held while it is sent, in the order of the arguments.
pub struct Fields<'py>(pub [Option<Bound<'py, PyAny>>; COUNT]);

impl Fields<'_> {
    pub fn given(&self) -> Given {
        let pointer = |object: &Option<Bound<'_, PyAny>>| {
            object.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr)
        };
        Given::of(self.0.each_ref().map(pointer))
    }
}

/// A message as it is appended; borrows from the objects of the call.
pub struct Prepared {
    pub topic: usize,
    pub partition: Option<i32>,
    pub timestamp_ms: i64,
    pub value: Field,
    pub key: Field,
    pub headers: Option<Box<Headers>>,
    /// The message has a callback of its own.
    pub callback: bool,
    /// Bytes of the budget in addition to the record.
    pub extra: usize,
}

impl Prepared {
    /// Its topic and partition, for errors.
    pub fn place(&self) -> (usize, Option<i32>) {
        (self.topic, self.partition)
    }

    /// Maximum number of bytes of the budget that it takes.
    pub fn size(&self) -> usize {
        let headers = self.headers.as_ref().map(|headers| headers.refs());
        let headers = headers.unwrap_or_default();
        record_size_upper_bound(self.key.bytes(), self.value.bytes(), &headers) + self.extra
    }
}

/// A message that waits beyond its call. Objects that could change meanwhile are copies.
pub struct Stored {
    topic: Py<PyAny>,
    /// Of the topic.
    pub index: usize,
    value: Option<Py<PyAny>>,
    key: Option<Py<PyAny>>,
    headers: Option<Py<PyAny>>,
    has_callback: bool,
    pub partition: Option<i32>,
    pub timestamp_ms: i64,
}

impl Stored {
    /// # Safety
    /// The objects of `given`, of which `prepared` was made, are valid or null.
    pub unsafe fn new(py: Python<'_>, given: &Given, prepared: &Prepared) -> PyResult<Self> {
        // SAFETY: by contract.
        let borrow = |object| unsafe { Bound::from_borrowed_ptr_or_opt(py, object) };
        // SAFETY: by contract.
        let (value, key) = unsafe {
            (
                prepared.value.stored(py, given.value),
                prepared.key.stored(py, given.key),
            )
        };
        let headers = prepared.headers.as_ref();
        Ok(Self {
            topic: borrow(given.topic)
                .ok_or_else(|| PyTypeError::new_err("send() needs a topic"))?
                .unbind(),
            index: prepared.topic,
            value,
            key,
            headers: headers.map(|headers| headers.stored(py)).transpose()?,
            has_callback: prepared.callback,
            partition: prepared.partition,
            timestamp_ms: prepared.timestamp_ms,
        })
    }

    /// Without the numbers and the callback, which were checked by the call.
    pub fn given(&self) -> Given {
        let null = std::ptr::null_mut();
        let pointer = |object: &Option<Py<PyAny>>| object.as_ref().map_or(null, Py::as_ptr);
        Given {
            topic: self.topic.as_ptr(),
            value: pointer(&self.value),
            key: pointer(&self.key),
            headers: pointer(&self.headers),
            partition: null,
            timestamp_ms: null,
            metadata: null,
            on_delivery: null,
        }
    }

    pub fn topic(&self, py: Python<'_>) -> Option<String> {
        self.topic.extract(py).ok()
    }

    pub fn has_callback(&self) -> bool {
        self.has_callback
    }

    /// Its topic and partition, for errors.
    pub fn place(&self) -> (usize, Option<i32>) {
        (self.index, self.partition)
    }
}
