//! The seam: values that cross between Python and Rust. The classes are Python's, in `ottla.seam`, one module here for each
//! there; a field has the same name on both sides.

pub mod budget;
pub mod connections;
pub mod failures;
pub mod fetching;
pub mod latency;
pub mod leaders;
pub mod produce_statistics;
pub mod producing;
pub mod records;
pub mod security;
pub mod settings;

/// A value of a class of `ottla.seam`, made by the names of its fields: `named!(py, "connections", Connected { conn })`.
/// Each field is an expression that becomes a Python object; the result is a `PyResult`.
macro_rules! named {
    ($py:expr, $module:literal, $class:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        static CLASS: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::PyAny>> = pyo3::sync::PyOnceLock::new();
        let py = $py;
        let make = || -> pyo3::PyResult<pyo3::Bound<'_, pyo3::PyAny>> {
            let fields = pyo3::types::PyDict::new(py);
            $(fields.set_item(pyo3::intern!(py, stringify!($field)), named!(@ $field $($value)?))?;)*
            CLASS
                .import(py, concat!("ottla.seam.", $module), stringify!($class))?
                .call((), Some(&fields))
        };
        make()
    }};
    (@ $field:ident) => { $field };
    (@ $field:ident $value:expr) => { $value };
}

pub(crate) use named;
