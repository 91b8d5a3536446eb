//! `ottla.seam.latency`: latencies, as statistics of both flows have them.

use ottla_core::ids::Micros;
use ottla_core::latency::Percentiles;
use pyo3::prelude::*;

use super::named;

pub fn latency<'py>(py: Python<'py>, known: &Percentiles) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "latency",
        Latency {
            requests: known.count,
            p50_ms: ms(known.p50),
            p95_ms: ms(known.p95),
            p99_ms: ms(known.p99),
            max_ms: ms(known.max),
        }
    )
}

pub fn ms(micros: Micros) -> f64 {
    micros as f64 / 1e3
}
