//! The messages of one `send_many`, wherever they come from.
//!
//! Station: message.

use pyo3::prelude::*;

use crate::accepting::Accepting;

/// Where the messages of one call come from.
pub trait Source: Send + Sync {
    /// Sends what comes next until one has to wait; true where all are accepted.
    fn advance(&mut self, py: Python<'_>, accepting: &mut Accepting) -> PyResult<bool>;
    /// The topic of all of them; None where each has its own.
    fn topic(&self, _py: Python<'_>) -> Option<String> {
        None
    }
}
