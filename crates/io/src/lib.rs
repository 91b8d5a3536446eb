//! The I/O thread: owns every socket of the data plane and drives the flows of `ottla-core`; knows no Python.
//!
//! Station: connection. Other threads use `Handle`, `Driver` is the loop of the thread, `Connection` the state of one
//! broker connection; `frame`, `write_queue` and `pool` move the bytes and do no I/O themselves
//! (`frame` and `pool` are public for `fuzz/`).
#![deny(unsafe_code)]

mod api_names;
pub mod clock;
mod connection;
mod driver;
pub mod frame;
mod handle;
mod notify;
pub mod pool;
mod sealers;
mod shared;
mod sys;
pub mod tls;
mod transport;
mod write_queue;

pub use handle::{ConnectOptions, Handle, Statistics};
pub use notify::Notify;
pub use shared::{BeatId, FlowId, IoEvent};
pub use transport::DialTls;
