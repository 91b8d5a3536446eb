//! What a producer is set to, and what of it may be set for a topic by itself.

use std::collections::HashMap;

use crate::bytes::compression::codec::{Codec, Compression};
use crate::ids::Micros;
use crate::partitioning::partitioner::Partitioner;

/// What a producer is set to: each field is one option of the user, so they are many.
#[derive(Debug, Clone)]
pub struct Settings {
    pub client_id: String,
    pub acks: i16,
    pub idempotent: bool,
    /// Where a record of a partition fails, everything behind it fails as well.
    pub gapless: bool,
    pub transactional_id: Option<String>,
    pub codec: Codec,
    pub level: Option<i32>,
    pub linger: Micros,
    pub batch_bytes: usize,
    pub request_bytes: usize,
    /// The largest message, and what a batch of it alone takes.
    pub message_bytes: usize,
    pub buffer_bytes: usize,
    pub in_flight: usize,
    pub request_timeout: Micros,
    pub delivery_timeout: Micros,
    pub partitioner: Partitioner,
    /// Partitions without a key by what waits for them (KIP-794).
    pub adaptive: bool,
    /// A leader that could not be sent to for this long is left out of that choice; 0: none is.
    pub availability_timeout: Micros,
    /// Somebody hears of outcomes one by one: each message has a delivery, which weighs until it was heard of.
    pub keeps_outcomes: bool,
    /// Topics whose batches are made in another way.
    pub topics: HashMap<String, Batching>,
}

/// What may be set for a topic by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    pub compression: Compression,
    /// At most so many bytes as they are sent.
    pub batch_bytes: usize,
    pub linger: Micros,
}

impl Settings {
    /// The topic's own, or what holds for all.
    pub fn batching(&self, topic: &str) -> Batching {
        self.topics.get(topic).copied().unwrap_or(Batching {
            compression: Compression {
                codec: self.codec,
                level: self.level,
            },
            batch_bytes: self.batch_bytes,
            linger: self.linger,
        })
    }

    /// Whether messages of any topic do.
    pub fn lingers(&self) -> bool {
        self.linger > 0 || self.topics.values().any(|topic| topic.linger > 0)
    }
}
