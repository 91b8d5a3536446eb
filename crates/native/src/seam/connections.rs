//! `ottla.seam.connections`: the events of the I/O thread, and its statistics.

use ottla_core::seam::LostCause;
use ottla_io::{IoEvent, Statistics};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{named, security};

pub fn loss<'py>(py: Python<'py>, cause: &LostCause) -> PyResult<Bound<'py, PyAny>> {
    let kind = cause.kind.name();
    named!(
        py,
        "connections",
        Loss {
            kind,
            message: &cause.message
        }
    )
}

pub fn event(py: Python<'_>, event: IoEvent) -> PyResult<Bound<'_, PyAny>> {
    match event {
        IoEvent::Connected { conn, tls } => {
            let tls = tls.map(|peer| security::peer(py, &peer)).transpose()?;
            named!(py, "connections", Connected { conn, tls })
        }
        IoEvent::TlsFailed { conn, failure } => {
            let failure = security::failure(py, &failure)?;
            named!(py, "connections", TlsFailed { conn, failure })
        }
        IoEvent::Response { conn, token, frame } => {
            let frame = PyBytes::new(py, &frame);
            named!(py, "connections", Responded { conn, token, frame })
        }
        IoEvent::Lost {
            conn,
            cause,
            tokens,
        } => {
            let loss = loss(py, &cause)?;
            named!(py, "connections", Lost { conn, loss, tokens })
        }
        IoEvent::Beat { beat, frame } => {
            let frame = PyBytes::new(py, &frame);
            named!(py, "connections", BeatAnswered { beat, frame })
        }
        IoEvent::BeatMissed { beat, cause } => {
            let loss = loss(py, &cause)?;
            named!(py, "connections", BeatMissed { beat, loss })
        }
    }
}

pub fn statistics(py: Python<'_>, counts: Statistics) -> PyResult<Bound<'_, PyAny>> {
    named!(
        py,
        "connections",
        IoStatistics {
            turns: counts.turns,
            connections: counts.connections,
            lost: counts.lost,
            requests: counts.requests,
            responses: counts.responses,
            bytes_written: counts.bytes_written,
            bytes_read: counts.bytes_read,
            pooled_bytes: counts.pooled_bytes,
        }
    )
}
