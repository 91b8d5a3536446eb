//! Producing: messages in, requests out, outcomes back.
//!
//! Stations: message → accumulator → batch → outbox → request → response → delivery. Callers, the engine and
//! the I/O thread enter through `shared`. `append` puts messages into batches, `drain` sends the batches to the brokers and handles the
//! answers; `completion` gives callers the outcome.

pub mod append;
pub mod batch;
pub mod completion;
pub mod counts;
pub mod drain;
pub mod event;
pub mod message;
pub mod outcome;
pub mod partition;
pub mod settings;
pub mod shared;
pub mod snapshot;
pub mod stats;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wire;
