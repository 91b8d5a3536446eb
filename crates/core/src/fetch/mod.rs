//! Consuming: positions out to the brokers, batches back into the inbox, records out of it.
//!
//! Stations: request → fetch response → inbox → record. Takers, the engine and the I/O thread enter by `shared`. `flow` has the
//! state; `lanes`, `plan`, `session` and `wire` make requests of it, `answer` and `filter` read responses; `inbox` has the batches by
//! partition (`shelf`) until takers have them (`take`, `run`). `picture` makes the statistics (`stats`).

pub mod answer;
pub(crate) mod broker;
pub(crate) mod faults;
pub mod filter;
pub mod flow;
pub mod inbox;
pub mod lanes;
pub(crate) mod nodes;
pub mod picture;
pub mod places;
pub mod plan;
pub mod run;
pub mod session;
pub mod shared;
pub mod shelf;
pub mod stats;
pub mod take;
pub mod waiters;
pub mod wire;
