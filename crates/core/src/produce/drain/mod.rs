//! The produce flow: batches of routed partitions to the broker and back, and holds for everything else.
//!
//! Stations: batch → outbox → request → response. `flow` has the state; each other file has one of its parts.

pub mod answers;
pub mod conn;
pub mod expiry;
pub mod flow;
pub mod gapless;
pub mod holds;
pub mod plan;
pub mod rebuild;
pub mod requests;
pub mod sealing;
pub mod todo;
pub mod too_large;
