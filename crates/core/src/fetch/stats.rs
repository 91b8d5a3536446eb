//! Counts of a consumer, once per request, response or batch, and the picture made of them.
//!
//! Stations: request → fetch response → inbox. Written under the flow's lock; a picture is taken in one hold of the lock, so
//! its numbers fit together.

use std::sync::Arc;

use crate::ids::Micros;
use crate::latency::{Latency, Percentiles};

/// Fetched bytes, batches and records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of whole responses of a node, of batches of a partition.
    pub bytes: u64,
    pub batches: u64,
}

/// Counts of one node, over all its connections.
#[derive(Default)]
pub(crate) struct NodeStats {
    pub address: Arc<str>,
    pub requests: u64,
    pub fetched: Fetched,
    pub throttle_ms: u64,
    pub latency: Latency,
}

/// One node in the picture.
#[derive(Debug, Clone)]
pub struct NodePicture {
    pub node: i32,
    pub address: Arc<str>,
    pub requests: u64,
    pub in_flight: usize,
    pub fetched: Fetched,
    pub throttle_ms: u64,
    /// Remaining time in which no request is sent to it.
    pub throttled_for: Micros,
    /// Age of the request that it has not answered; 0: there is none.
    pub waiting_for: Micros,
    pub latency: Percentiles,
}

/// One assigned partition in the picture.
#[derive(Debug, Clone)]
pub struct PartitionPicture {
    pub topic: Arc<str>,
    pub partition: i32,
    /// The node that it is fetched from.
    pub node: Option<i32>,
    /// -1 before it has one.
    pub position: i64,
    /// -1 before the first response.
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub buffered_records: usize,
    pub buffered_bytes: usize,
    pub handed_records: u64,
    pub fetched: Fetched,
    pub paused: bool,
}

/// Counts and contents of a consumer at one moment.
#[derive(Debug, Clone)]
pub struct Picture {
    pub requests: u64,
    pub responses: u64,
    pub fetched: Fetched,
    pub handed_records: u64,
    pub holds: u64,
    pub buffered_bytes: usize,
    pub buffer_bytes: usize,
    pub sessions: usize,
    pub latency: Percentiles,
    pub nodes: Vec<NodePicture>,
    pub partitions: Vec<PartitionPicture>,
}
