//! Plain values for times and names: connections, topics, assignments, identities.

/// A connection for its lifetime: a reconnect has a new id, so bytes of a dead connection can never be mistaken.
pub type ConnId = u64;

/// Monotonic microseconds since an arbitrary point of this process, read by the I/O thread.
pub type Micros = u64;

pub type TopicId = [u8; 16];

/// One assignment of a partition; the next assignment has another id.
pub type PartId = u64;

/// The identity of an idempotent producer: brokers count its sequences by it, per partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub producer_id: i64,
    pub epoch: i16,
}
