//! Keys, values and headers as Python gives them, seen as bytes without a copy.

use std::ffi::c_char;
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

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
                    return Err(PyErr::fetch(py));
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
                ffi::PyErr_Clear();
                let kind = Bound::from_borrowed_ptr(py, object)
                    .get_type()
                    .name()?
                    .to_string();
                return Err(PyTypeError::new_err(format!(
                    "{what} must be bytes-like, str or None, not {kind}"
                )));
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

impl Drop for Field {
    fn drop(&mut self) {
        if let Self::Buffer(view) = self {
            // SAFETY: filled by PyObject_GetBuffer, released once; fields live within calls that hold the GIL.
            unsafe { ffi::PyBuffer_Release(&mut **view) };
        }
    }
}

/// The headers of a message: pairs in a sequence, or a mapping.
pub struct Headers {
    fields: Vec<(Field, Field)>,
    /// Keeps what the fields borrow from alive.
    items: Vec<Py<PyAny>>,
}

impl Headers {
    pub fn of(headers: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = headers.py();
        let pairs = match headers.cast::<pyo3::types::PyMapping>() {
            Ok(mapping) => mapping.items()?.into_any(),
            Err(_) => headers.clone(),
        };
        let mut fields = Vec::new();
        let mut items = Vec::new();
        for pair in pairs.try_iter()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?
                .extract()
                .map_err(|_| PyTypeError::new_err("headers must be pairs of name and value"))?;
            if !name.is_instance_of::<pyo3::types::PyString>() {
                let kind = name.get_type().name()?.to_string();
                return Err(PyTypeError::new_err(format!(
                    "a header's name must be str, not {kind}"
                )));
            }
            // SAFETY: both are kept alive in `items`.
            unsafe {
                fields.push((
                    Field::of(py, name.as_ptr(), "a header's name")?,
                    Field::of(py, value.as_ptr(), "a header's value")?,
                ));
            }
            items.push(name.unbind());
            items.push(value.unbind());
        }
        Ok(Self { fields, items })
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
        // SAFETY: what is prepared lives within a call, which has the GIL; PyO3 does not know it there.
        let py = unsafe { Python::assume_attached() };
        for item in self.items.drain(..) {
            item.drop_ref(py);
        }
    }
}

/// An optional integer argument; null and None are absent.
///
/// # Safety
/// The GIL is held and `object` is valid or null.
pub unsafe fn optional_int<T>(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Option<T>>
where
    for<'a, 'py> T: FromPyObject<'a, 'py, Error = PyErr>,
{
    // SAFETY: by contract.
    unsafe {
        if object.is_null() || object == ffi::Py_None() {
            return Ok(None);
        }
        Bound::from_borrowed_ptr(py, object).extract().map(Some)
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
