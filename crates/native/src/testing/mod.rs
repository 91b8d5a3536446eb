//! For tests alone (cargo feature `testing`; the wheel is built without it): the record codec by itself, flows whose broker is
//! the test, and the bridge of an event loop.

mod codec;
mod frames;
mod records;

use pyo3::prelude::*;

use crate::wait::bridge::LoopBridge;

/// The bridge of this loop, made and registered on first use, in the loop's own thread.
#[pyfunction]
#[pyo3(signature = (r#loop))]
fn bridge_for_loop<'py>(
    py: Python<'py>,
    r#loop: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, LoopBridge>> {
    crate::wait::bridge::bridge_for_loop(py, r#loop)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    codec::register(module)?;
    frames::register(module)?;
    records::register(module)?;
    module.add_function(wrap_pyfunction!(bridge_for_loop, module)?)
}
