//! The plain values that name things: times, connections, topics, assignments.

/// A connection for as long as it lives: a reconnect has a new id, so a dead connection's bytes can never be mistaken.
pub type ConnId = u64;

/// Monotonic microseconds since an arbitrary point of this process, read by the I/O thread.
pub type Micros = u64;

pub type TopicId = [u8; 16];

/// One assignment of a partition; an assignment after it has another one.
pub type PartId = u64;
