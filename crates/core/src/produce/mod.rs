//! Producing: messages in, requests out, outcomes back.
//!
//! Stations: message → accumulator → batch → outbox → request → response → delivery. `shared` is the door: callers, the engine
//! and the I/O thread come in by it. `append` puts messages into batches, `drain` takes the batches to the brokers and back;
//! `completion` is what callers see of the end.

pub mod append;
pub mod batch;
pub mod completion;
pub mod counts;
pub mod drain;
pub mod event;
pub mod message;
pub mod outcome;
pub mod partition;
pub mod picture;
pub mod settings;
pub mod shared;
pub mod stats;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wire;
