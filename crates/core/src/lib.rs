//! The byte path of Ottla without I/O: no socket, clock, thread or log in here.
//!
//! A message passes from top to bottom when it is produced, and back up as a record when it is fetched: `produce` and `fetch` are the
//! two flows, `record` has Kafka's batches, `bytes` everything below them. The modules import
//! downwards only, and no two of them each other: `tests/unit/test_rust_layers.py`.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod error;
pub mod failure;
pub mod fetch;
pub mod ids;
pub mod latency;
pub mod partitioning;
pub mod produce;
pub mod record;
pub mod seam;
