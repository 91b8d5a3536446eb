//! `Io`: the I/O thread as the engine sees it. Every method only queues a command or takes queued events.
//!
//! Owner: the engine thread. In the child of a fork every method raises `ForkedClient` before it touches anything of the
//! parent; dropping it closes the child's own copies of the bell and no more.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ottla_io::{ConnectOptions, DialTls, Handle};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::fork;
use crate::seam::connections;
use crate::tls::TlsContext;

/// A request starts with API key, version and correlation id.
const SMALLEST_REQUEST: usize = 8;
/// How long a jump of the clock waits for the thread's turn: one that is stuck is no reason to hang.
const PATIENCE: Duration = Duration::from_secs(5);

#[pyclass(frozen, module = "ottla._native")]
pub struct Io {
    handle: Handle,
    generation: u32,
}

impl Io {
    /// For flows: the way to the I/O thread.
    pub fn handle(&self, py: Python<'_>) -> PyResult<&Handle> {
        fork::check(py, self.generation, fork::SOMEBODY)?;
        Ok(&self.handle)
    }
}

#[pymethods]
impl Io {
    #[staticmethod]
    fn start() -> PyResult<Self> {
        Ok(Self {
            handle: Handle::start()?,
            generation: fork::generation(),
        })
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.handle(py)?.bell_fd())
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let drained = PyList::empty(py);
        for event in self.handle(py)?.drain_events() {
            drained.append(connections::event(py, event)?)?;
        }
        Ok(drained)
    }

    #[pyo3(signature = (ip, port, *, timeout, send_buffer_bytes, receive_buffer_bytes, frame_cap_bytes, tls=None, server_name=""))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python signature"
    )]
    fn connect(
        &self,
        py: Python<'_>,
        ip: &str,
        port: u16,
        timeout: f64,
        send_buffer_bytes: i64,
        receive_buffer_bytes: i64,
        frame_cap_bytes: usize,
        tls: Option<&TlsContext>,
        server_name: &str,
    ) -> PyResult<u64> {
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| PyValueError::new_err(format!("{ip:?} is not a numeric address")))?;
        let options = ConnectOptions {
            address: SocketAddr::new(ip, port),
            timeout: seconds("timeout", timeout)?,
            // Kafka's -1 is the system's choice, as 0 is.
            send_buffer_bytes: usize::try_from(send_buffer_bytes).unwrap_or(0),
            receive_buffer_bytes: usize::try_from(receive_buffer_bytes).unwrap_or(0),
            frame_cap_bytes,
            tls: tls.map(|tls| {
                Box::new(DialTls {
                    context: tls.context.clone(),
                    server_name: server_name.to_owned(),
                })
            }),
        };
        Ok(self.handle(py)?.connect(&options))
    }

    #[pyo3(signature = (conn, token, frame, *, timeout, expects_response=true))]
    fn request(
        &self,
        py: Python<'_>,
        conn: u64,
        token: u64,
        frame: &[u8],
        timeout: f64,
        expects_response: bool,
    ) -> PyResult<()> {
        let timeout = seconds("timeout", timeout)?;
        let frame = request_frame(frame)?;
        self.handle(py)?
            .request(conn, token, frame, timeout, expects_response);
        Ok(())
    }

    #[pyo3(signature = (conn, frame, *, interval, timeout, error_offset))]
    fn beat(
        &self,
        py: Python<'_>,
        conn: u64,
        frame: &[u8],
        interval: f64,
        timeout: f64,
        error_offset: usize,
    ) -> PyResult<u64> {
        let interval = seconds("interval", interval)?;
        if interval.is_zero() {
            return Err(PyValueError::new_err("interval must be above 0"));
        }
        let timeout = seconds("timeout", timeout)?;
        let frame = request_frame(frame)?;
        Ok(self
            .handle(py)?
            .beat(conn, frame, interval, timeout, error_offset))
    }

    fn beat_stop(&self, py: Python<'_>, beat: u64) -> PyResult<()> {
        self.handle(py)?.beat_stop(beat);
        Ok(())
    }

    fn close(&self, py: Python<'_>, conn: u64) -> PyResult<()> {
        self.handle(py)?.close(conn);
        Ok(())
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        connections::statistics(py, self.handle(py)?.statistics())
    }

    fn skip(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let time = self::seconds("seconds", seconds)?;
        let handle = self.handle(py)?;
        Ok(py.detach(|| handle.skip(time, PATIENCE)))
    }

    fn shutdown(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = seconds("timeout", timeout)?;
        let handle = self.handle(py)?;
        Ok(py.detach(|| handle.shutdown(timeout)))
    }
}

fn request_frame(frame: &[u8]) -> PyResult<Vec<u8>> {
    if frame.len() < SMALLEST_REQUEST {
        let message = format!("a request frame of {} bytes has no header", frame.len());
        return Err(PyValueError::new_err(message));
    }
    Ok(frame.to_vec())
}

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    if value.is_nan() || value < 0.0 {
        let message = format!("{name} must be 0 or more seconds, not {value}");
        return Err(PyValueError::new_err(message));
    }
    Ok(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Io>()
}
