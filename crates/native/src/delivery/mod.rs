//! `Delivery`: what became of one message. Hand-made, 56 bytes, not tracked by the collector.
//!
//! It is a batch's completion and an index, and the caller's own key and value. Only a message with headers or metadata,
//! through which a cycle could go, gets the subtype that the collector knows. `object` is the object itself; `outcome` is how
//! one waits for it, `class` what Python sees of it. Station: delivery. Threads: any.

pub mod class;
pub mod object;
pub mod outcome;
