//! Keys, values and headers as Python gives them, seen as bytes without a copy.

use std::ffi::c_char;
use std::ptr;

use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyTuple};

use crate::errors;

/// One field for the length of a call: borrowed from bytes or str, or held through the buffer protocol.
pub enum Field {
    None,
    Borrowed(*const u8, usize),
    Buffer(Box<ffi::Py_buffer>),
}

impl Field {
    /// # Safety
    /// The GIL is held and `object` (null: absent) stays alive for as long as the field.
    #[inline(always)]
    pub unsafe fn of(py: Python<'_>, object: *mut ffi::PyObject, what: &str) -> PyResult<Self> {
        // SAFETY: a valid object, by contract; bytes and str do not change or move.
        unsafe {
            if object.is_null() || object == ffi::Py_None() {
                return Ok(Self::None);
            }
            if ffi::PyBytes_CheckExact(object) != 0 {
                let data = ffi::PyBytes_AsString(object);
                return Ok(Self::Borrowed(
                    data.cast(),
                    ffi::PyBytes_Size(object) as usize,
                ));
            }
            if ffi::PyUnicode_Check(object) != 0 {
                let mut size = 0;
                let data: *const c_char = ffi::PyUnicode_AsUTF8AndSize(object, &mut size);
                if data.is_null() {
                    return Err(refused(py, object, what));
                }
                return Ok(Self::Borrowed(data.cast(), size as usize));
            }
            Self::of_buffer(py, object, what)
        }
    }

    #[cold]
    unsafe fn of_buffer(py: Python<'_>, object: *mut ffi::PyObject, what: &str) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: a valid object; the view is released when the field is dropped.
        unsafe {
            if ffi::PyObject_CheckBuffer(object) == 0
                || ffi::PyObject_GetBuffer(object, &mut *view, ffi::PyBUF_SIMPLE) != 0
            {
                return Err(refused(py, object, what));
            }
        }
        Ok(Self::Buffer(view))
    }

    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        let (data, len) = match self {
            Self::None => return None,
            Self::Borrowed(data, len) => (*data, *len),
            Self::Buffer(view) => (view.buf.cast_const().cast(), view.len as usize),
        };
        if len == 0 {
            return Some(&[]);
        }
        // SAFETY: valid for as long as the object lives, which the maker of the field has promised.
        Some(unsafe { std::slice::from_raw_parts(data, len) })
    }
}

/// The reason why the object gives no bytes. The exception that was raised is the cause, unless it has nothing to do with the object.
///
/// # Safety
/// The GIL is held and `object` is valid.
#[cold]
unsafe fn refused(py: Python<'_>, object: *mut ffi::PyObject, what: &str) -> PyErr {
    let about_the_object = |raised: &PyErr| {
        raised.is_instance_of::<PyBufferError>(py)
            || raised.is_instance_of::<PyValueError>(py)
            || raised.is_instance_of::<PyTypeError>(py)
    };
    // SAFETY: by contract.
    let given = unsafe { Bound::from_borrowed_ptr(py, object) };
    match PyErr::take(py) {
        Some(raised) if !about_the_object(&raised) => raised,
        None => errors::argument(py, "payload_error", (what, given)),
        raised => {
            let error = errors::argument(py, "payload_error", (what, given));
            error.set_cause(py, raised);
            error
        }
    }
}

impl Field {
    /// The object that it was made of, to be stored beyond the call; a copy of its bytes where these can change.
    ///
    /// # Safety
    /// The GIL is held and `object` is what `of` was given, alive.
    pub unsafe fn stored(&self, py: Python<'_>, object: *mut ffi::PyObject) -> Option<Py<PyAny>> {
        match self {
            Self::None => None,
            // SAFETY: by contract.
            Self::Borrowed(..) => Some(unsafe { Bound::from_borrowed_ptr(py, object) }.unbind()),
            Self::Buffer(_) => {
                let copy = PyBytes::new(py, self.bytes().unwrap_or_default());
                Some(copy.into_any().unbind())
            }
        }
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        if let Self::Buffer(view) = self {
            // SAFETY: filled by PyObject_GetBuffer, released once; fields live within calls that hold the GIL.
            unsafe { ffi::PyBuffer_Release(&mut **view) };
        }
    }
}

/// The headers of a message: pairs, or a mapping. No iterator: a message that has to wait is read once more.
pub struct Headers {
    fields: Vec<(Field, Field)>,
    /// Keeps what the fields borrow from alive.
    items: Vec<Py<PyAny>>,
}

impl Headers {
    pub fn of(headers: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::read(headers).map_err(|raised| {
            errors::argument_or(headers.py(), raised, "headers_error", (headers,))
        })
    }

    fn read(headers: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = headers.py();
        let pairs = match headers.cast::<pyo3::types::PyMapping>() {
            Ok(mapping) => mapping.items()?.into_any(),
            Err(_) => headers.clone(),
        };
        // SAFETY: a living object.
        if unsafe { ffi::PyIter_Check(pairs.as_ptr()) } != 0 {
            return Err(PyTypeError::new_err("headers are an iterator"));
        }
        let mut fields = Vec::new();
        let mut items = Vec::new();
        for pair in pairs.try_iter()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
            if !name.is_instance_of::<pyo3::types::PyString>() {
                return Err(PyTypeError::new_err("a header's name is no str"));
            }
            // SAFETY: both are kept alive in `items`.
            unsafe {
                fields.push((
                    Field::of(py, name.as_ptr(), "a header's name")?,
                    Field::of(py, value.as_ptr(), "a header's value")?,
                ));
            }
            items.push(name);
            items.push(value);
        }
        Ok(Self {
            fields,
            items: items.into_iter().map(Bound::unbind).collect(),
        })
    }

    /// The same headers, to be stored beyond the call: a tuple, since the caller may change its list and the items.
    pub fn stored(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let pairs = self.fields.iter().zip(self.items.chunks_exact(2));
        let pairs: Vec<_> = pairs
            .map(|((_, value), pair)| {
                // SAFETY: the fields were made of these, which `items` keeps alive.
                let value = unsafe { value.stored(py, pair[1].as_ptr()) };
                (pair[0].clone_ref(py), value)
            })
            .collect();
        Ok(PyTuple::new(py, pairs)?.into_any().unbind())
    }

    pub fn refs(&self) -> Vec<(&[u8], Option<&[u8]>)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.bytes().unwrap_or_default(), value.bytes()))
            .collect()
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: prepared fields live within a call, which has the GIL; PyO3 does not know it there.
        let py = unsafe { Python::assume_attached() };
        for item in self.items.drain(..) {
            item.drop_ref(py);
        }
    }
}

/// An optional argument that is a number of 0 or more; null and None are absent. `refusal` makes the exception for any other.
///
/// # Safety
/// The GIL is held and `object` is valid or null.
pub unsafe fn optional_number<T: TryFrom<i64>>(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    refusal: &str,
) -> PyResult<Option<T>> {
    let object = null_for_none(object);
    if object.is_null() {
        return Ok(None);
    }
    // SAFETY: by contract.
    let given = unsafe { Bound::from_borrowed_ptr(py, object) };
    if given.is_instance_of::<PyBool>() {
        return Err(errors::argument(py, refusal, (given,)));
    }
    match given.extract::<i64>() {
        Ok(number @ 0..) if let Ok(number) = T::try_from(number) => Ok(Some(number)),
        Ok(_) => Err(errors::argument(py, refusal, (given,))),
        Err(raised) => {
            // OverflowError too: a number that is out of range.
            errors::drop_error(py, raised);
            Err(errors::argument(py, refusal, (given,)))
        }
    }
}

/// Null for None, so that one test is enough further on.
pub fn null_for_none(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: only the pointer is compared.
    if object == unsafe { ffi::Py_None() } {
        ptr::null_mut()
    } else {
        object
    }
}
