//! The records in the bytes of a fetch response, without a flow.

use std::sync::Arc;

use bytes::Bytes;
use ottla_core::fetch::run::Run;
use ottla_core::record::iter_batches;
use pyo3::prelude::*;

use crate::errors;
use crate::records::Records;

/// Maximum size of a decompressed batch.
const DECODED_BYTES: usize = 1 << 30;

/// The records in the bytes of one partition, as a fetch response has them, from `position` on.
#[pyfunction]
#[pyo3(signature = (topic, partition, data, position=0))]
fn decode_records(
    py: Python<'_>,
    topic: &str,
    partition: i32,
    data: &[u8],
    position: i64,
) -> PyResult<Records> {
    let frame = Bytes::copy_from_slice(data);
    let name: Arc<str> = topic.into();
    let runs = py.detach(|| {
        let mut runs = Vec::new();
        for batch in iter_batches(&frame) {
            let batch = batch?;
            if batch.header().is_control() {
                continue;
            }
            let batch = batch.decode(DECODED_BYTES)?;
            runs.push(Run {
                topic: name.clone(),
                partition,
                records: batch.first_index_at(position)..batch.len(),
                next_offset: batch.header().next_offset(),
                batch: Arc::new(batch),
            });
        }
        Ok(runs)
    });
    let runs = runs
        .map_err(|error| errors::decode(py, &error, topic, partition, error.batch_offset, None))?;
    Ok(Records::of_runs(py, &runs))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(decode_records, module)?)
}
