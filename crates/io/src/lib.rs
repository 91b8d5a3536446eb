//! The I/O thread: owns every socket of the data plane and drives the flows of `ottla-core`; knows no Python.

mod notify;

pub use notify::Notify;
