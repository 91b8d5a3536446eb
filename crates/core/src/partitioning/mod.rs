//! Which partition a message gets by its key, or without one: pure rules, without the state of any partition.
//!
//! Station: partition. How they are used on live queues: `produce/append/choice.rs`.

pub mod key_hash;
pub mod murmur2;
pub mod partitioner;
