//! Hand-made types and methods: what PyO3's own forms cost too much for on the hot path.
//!
//! Every function that Python calls goes through `guard`, so that an error becomes an exception and a panic never crosses
//! the border. PyO3 does not know that the GIL is held: a `Py` that is dropped here is released when PyO3 is next called, which may
//! be never. So such a function drops objects as `Bound`, or with `drop_ref`. References: CPython's limited API, version 3.11.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::errors;

/// Runs the body of a native function: errors are raised, panics become RuntimeError.
pub fn guard(body: impl FnOnce(Python<'_>) -> PyResult<*mut ffi::PyObject>) -> *mut ffi::PyObject {
    // SAFETY: Python calls native functions with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let error = match catch_unwind(AssertUnwindSafe(|| body(py))) {
        Ok(Ok(object)) => return object,
        Ok(Err(error)) => error,
        Err(_) => PyRuntimeError::new_err("a bug in ottla: the native code panicked"),
    };
    error.restore(py);
    ptr::null_mut()
}

/// A getter of a hand-made type, and what `help` says of it.
pub const fn getter(name: &'static CStr, doc: &'static CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    }
}

/// The end of a table of getters.
pub const fn no_getter() -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: ptr::null(),
        get: None,
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    }
}

/// A method that takes its arguments as an array, positional ones first, keywords named in a tuple.
///
/// `doc` begins with its signature, `name($self, /, …)\n--\n\n`, which CPython takes out of the text.
pub const fn fast_method(
    name: &'static CStr,
    doc: &'static CStr,
    method: ffi::PyCFunctionFastWithKeywords,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: method,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// A method without arguments.
pub const fn plain_method(name: &'static CStr, method: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: method,
        },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: ptr::null(),
    }
}

/// The method with what `help` says of it, which begins as in `fast_method`.
pub const fn documented(method: ffi::PyMethodDef, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_doc: doc.as_ptr(),
        ..method
    }
}

/// A method with one argument.
pub const fn single_method(name: &'static CStr, method: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_flags: ffi::METH_O,
        ..plain_method(name, method)
    }
}

/// A method that takes its arguments as a tuple.
pub const fn varied_method(name: &'static CStr, method: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_flags: ffi::METH_VARARGS,
        ..plain_method(name, method)
    }
}

/// `__class_getitem__`: the class can be named with the types of its parameters, which nothing reads at run time.
pub const fn class_getitem() -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_flags: ffi::METH_O | ffi::METH_CLASS,
        ..plain_method(c"__class_getitem__", alias)
    }
}

unsafe extern "C" fn alias(
    class: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as Python calls a method with one argument.
    unsafe { ffi::Py_GenericAlias(class, arguments) }
}

/// The end of a table of methods.
pub const fn no_method() -> ffi::PyMethodDef {
    ffi::PyMethodDef::zeroed()
}

/// A slot of a type.
pub const fn slot(slot: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot {
        slot,
        pfunc: function,
    }
}

/// Makes a heap type.
pub fn make_type(
    py: Python<'_>,
    name: &'static CStr,
    basic_size: usize,
    flags: std::ffi::c_ulong,
    slots: &mut [ffi::PyType_Slot],
) -> PyResult<Py<PyAny>> {
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: basic_size as c_int,
        itemsize: 0,
        flags: flags as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec and its slots are valid for the call; the tables that they point to are static.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec)).map(Bound::unbind) }
}

/// One optional argument of a fast method, by position or by keyword.
pub struct Arguments {
    pub positional: *const *mut ffi::PyObject,
    pub count: usize,
    pub keywords: *mut ffi::PyObject,
}

impl Arguments {
    /// Sorts the arguments by these interned names; a missing one is null.
    ///
    /// # Safety
    /// The arguments are those with which Python calls a METH_FASTCALL | METH_KEYWORDS function; `names` are interned str objects.
    #[inline(always)]
    pub unsafe fn sort<const N: usize>(
        &self,
        function: &str,
        names: impl FnOnce() -> [*mut ffi::PyObject; N],
    ) -> PyResult<[*mut ffi::PyObject; N]> {
        let mut sorted = [ptr::null_mut(); N];
        if self.count > N {
            return Err(pyo3::exceptions::PyTypeError::new_err(format!(
                "{function}() takes at most {N} arguments ({} given)",
                self.count
            )));
        }
        for (index, place) in sorted.iter_mut().enumerate().take(self.count) {
            // SAFETY: `positional` has `count` arguments.
            *place = unsafe { *self.positional.add(index) };
        }
        if !self.keywords.is_null() {
            // SAFETY: by contract.
            unsafe { self.sort_keywords(function, &names(), &mut sorted)? };
        }
        Ok(sorted)
    }

    unsafe fn sort_keywords(
        &self,
        function: &str,
        names: &[*mut ffi::PyObject],
        sorted: &mut [*mut ffi::PyObject],
    ) -> PyResult<()> {
        // SAFETY: `keywords` is a tuple of str, whose values stand behind the positional arguments.
        let keywords = unsafe { ffi::PyTuple_Size(self.keywords) } as usize;
        for keyword in 0..keywords {
            // SAFETY: as above.
            let (name, value) = unsafe {
                (
                    ffi::PyTuple_GetItem(self.keywords, keyword as isize),
                    *self.positional.add(self.count + keyword),
                )
            };
            let index = names.iter().position(|known| *known == name).or_else(|| {
                // A name that is equal and not the same object: made at run time.
                // SAFETY: both are str objects.
                names
                    .iter()
                    .position(|known| unsafe { ffi::PyUnicode_Compare(*known, name) } == 0)
            });
            match index {
                Some(index) if sorted[index].is_null() => sorted[index] = value,
                found => {
                    // SAFETY: a borrowed str; the GIL is held.
                    let name = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), name) };
                    return Err(Self::wrong_keyword(function, &name, found.is_some()));
                }
            }
        }
        Ok(())
    }

    /// For a keyword that there is not, or that is given twice.
    #[cold]
    fn wrong_keyword(function: &str, name: &Bound<'_, PyAny>, twice: bool) -> PyErr {
        if twice {
            return pyo3::exceptions::PyTypeError::new_err(format!(
                "{function}() got multiple values for argument '{name}'"
            ));
        }
        if function.starts_with("send") {
            return errors::foreign_argument(name.py(), function, name);
        }
        pyo3::exceptions::PyTypeError::new_err(format!(
            "{function}() got an unexpected keyword argument '{name}'"
        ))
    }
}

/// Makes a method of a class that PyO3 made out of a function that it does not know.
///
/// # Safety
/// `method` is static, and its function takes instances of the class.
pub unsafe fn add_method(
    class: &Bound<'_, pyo3::types::PyType>,
    method: *mut ffi::PyMethodDef,
) -> PyResult<()> {
    let py = class.py();
    // SAFETY: by contract.
    let (name, descriptor) = unsafe {
        let name = CStr::from_ptr((*method).ml_name);
        let made = ffi::PyDescr_NewMethod(class.as_type_ptr(), method);
        (name, Bound::from_owned_ptr_or_err(py, made)?)
    };
    class.setattr(name.to_string_lossy().as_ref(), descriptor)
}
