//! Settings of a producer, and those of them that a topic may have by itself.

use std::collections::HashMap;

use crate::bytes::compression::codec::{Codec, Compression};
use crate::ids::Micros;
use crate::partitioning::partitioner::Partitioner;

/// Settings of a producer. Each field is one option of the user, hence their number.
#[derive(Debug, Clone)]
pub struct Settings {
    pub client_id: String,
    pub acks: i16,
    pub idempotent: bool,
    /// After a failed record of a partition, all later ones fail too.
    pub gapless: bool,
    pub transactional_id: Option<String>,
    pub codec: Codec,
    pub level: Option<i32>,
    pub linger: Micros,
    pub batch_bytes: usize,
    pub request_bytes: usize,
    /// Maximum size of a message, in a batch of its own.
    pub message_bytes: usize,
    pub buffer_bytes: usize,
    pub in_flight: usize,
    pub request_timeout: Micros,
    pub delivery_timeout: Micros,
    pub partitioner: Partitioner,
    /// Messages without a key go to partitions by their load (KIP-794).
    pub adaptive: bool,
    /// A leader to which nothing could be sent for this time is left out of that choice; 0: no leader is left out.
    pub availability_timeout: Micros,
    /// Outcomes are reported one by one: each message has a delivery, which is charged until its outcome was reported.
    pub keeps_outcomes: bool,
    /// Topics with their own batching.
    pub topics: HashMap<String, Batching>,
}

/// Settings that a topic may have by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    pub compression: Compression,
    /// Maximum bytes of a batch as it is sent.
    pub batch_bytes: usize,
    pub linger: Micros,
}

impl Settings {
    /// Returns the topic's own batching, or that of all topics.
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

    /// Whether messages of any topic linger.
    pub fn lingers(&self) -> bool {
        self.linger > 0 || self.topics.values().any(|topic| topic.linger > 0)
    }
}
