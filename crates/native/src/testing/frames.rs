//! Flows without an I/O thread: the test asks for their requests, answers them, and lets time pass.

use std::sync::Arc;

use ottla_core::produce::shared::ProduceShared;
use ottla_core::seam::{Flow, LostCause, LostKind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::fetch_flow::FetchFlow;
use crate::produce_flow::ProduceFlow;

#[derive(FromPyObject)]
enum AnyFlow<'py> {
    Produce(PyRef<'py, ProduceFlow>),
    Fetch(PyRef<'py, FetchFlow>),
}

impl AnyFlow<'_> {
    fn core(&self, py: Python<'_>) -> PyResult<Arc<dyn Flow>> {
        Ok(match self {
            Self::Produce(flow) => flow.shared.clone(),
            Self::Fetch(flow) => flow.inbox(py)?.clone(),
        })
    }

    /// Seals the batches that are to be sealed ahead: there is no thread that does it.
    fn seal(&self) {
        if let Self::Produce(flow) = self {
            ProduceShared::seal_here(&flow.shared);
        }
    }
}

/// The next request of a connection: its token, and the frame without its size.
#[pyfunction]
fn next_frame(
    py: Python<'_>,
    flow: AnyFlow<'_>,
    conn: u64,
    correlation_id: i32,
    now_us: u64,
) -> PyResult<Option<(u64, Vec<u8>)>> {
    flow.seal();
    let request = flow.core(py)?.next_request(conn, correlation_id, now_us);
    Ok(request.map(|request| (request.token, request.segments.concat())))
}

/// The answer to such a request, from behind the correlation id on.
#[pyfunction]
fn answer(
    py: Python<'_>,
    flow: AnyFlow<'_>,
    conn: u64,
    token: u64,
    frame: Vec<u8>,
    now_us: u64,
) -> PyResult<()> {
    flow.core(py)?
        .on_response(conn, token, frame.into(), now_us)
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The broker closes the connection.
#[pyfunction]
fn lose(
    py: Python<'_>,
    flow: AnyFlow<'_>,
    conn: u64,
    message: String,
    now_us: u64,
) -> PyResult<()> {
    let cause = LostCause {
        kind: LostKind::Eof,
        message,
    };
    flow.core(py)?.on_lost(conn, &cause, now_us);
    Ok(())
}

/// Time passes; returns when the flow is to be asked again.
#[pyfunction]
fn tick(py: Python<'_>, flow: AnyFlow<'_>, now_us: u64) -> PyResult<Option<u64>> {
    Ok(flow.core(py)?.on_tick(now_us))
}

/// The next message of the partition gets this sequence. ValueError: the flow has no such partition.
#[pyfunction]
fn assume_sequence(
    flow: PyRef<'_, ProduceFlow>,
    topic: &str,
    partition: i32,
    next: i32,
) -> PyResult<()> {
    let found = flow
        .shared
        .with(|flow| flow.assume_sequence(topic, partition, next));
    found.ok_or_else(|| PyValueError::new_err(format!("no partition {topic}-{partition}")))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(next_frame, module)?)?;
    module.add_function(wrap_pyfunction!(answer, module)?)?;
    module.add_function(wrap_pyfunction!(lose, module)?)?;
    module.add_function(wrap_pyfunction!(tick, module)?)?;
    module.add_function(wrap_pyfunction!(assume_sequence, module)?)
}
