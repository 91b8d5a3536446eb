//! `ottla._native`: arguments, the hand-made hot types, GIL release, error mapping. What moves bytes is in
//! `ottla-core` and `ottla-io`; what decides is in Python.

use pyo3::prelude::*;
use pyo3::types::PyDict;

#[macro_use] // first: its macro is for the modules that follow
#[rustfmt::skip] // generated
mod docs;

mod bell;
mod blocked_loop;
mod callback;
mod consumer;
mod content;
mod deliveries;
mod delivery;
mod errors;
mod fetch_flow;
mod fetch_take;
mod flush;
mod fork;
mod io;
mod metadata;
mod origin;
mod outcome_take;
mod outcomes;
mod own_thread;
mod produce_flow;
mod raw;
mod record;
mod records;
mod seam;
mod send;
#[cfg(feature = "testing")]
mod testing;
mod tls;
mod view;
mod wait;
mod walk;

/// How this module was built; a benchmark refuses anything but a release build.
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("profile", env!("OTTLA_PROFILE"))?;
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("rustc", env!("OTTLA_RUSTC"))?;
    info.set_item("abi", "abi3-py311")?;
    let features = if cfg!(feature = "testing") {
        "testing"
    } else {
        "none"
    };
    info.set_item("features", features)?;
    Ok(info)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(build_info, module)?)?;
    fork::register(module)?;
    own_thread::register(module)?;
    io::register(module)?;
    tls::register(module)?;
    wait::bridge::register(module)?;
    wait::sleep::register(module)?;
    wait::latch::register(module)?;
    delivery::class::register(module)?;
    deliveries::register(module)?;
    wait::ready::register(module)?;
    wait::waiting::register(module)?;
    produce_flow::register(module)?;
    send::producer::register(module)?;
    record::register(module)?;
    records::register(module)?;
    walk::register(module)?;
    consumer::register(module)?;
    fetch_flow::register(module)?;
    #[cfg(feature = "testing")]
    testing::register(module)?;
    Ok(())
}
