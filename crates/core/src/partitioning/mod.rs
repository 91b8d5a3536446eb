//! The partition of a message by its key, or without one: pure rules, without the state of any partition.
//!
//! Station: partition. Their use on live queues: `produce/append/choice.rs`.

pub mod key_hash;
pub mod murmur2;
pub mod partitioner;
