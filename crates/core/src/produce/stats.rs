//! Counters of a producer, updated per batch or request and never per message, and the snapshot of them.
//!
//! Stations: batch → request → response. Updated under the producer's lock by the thread that sends or resolves; a snapshot is
//! taken under one lock, so its numbers are consistent.

use std::sync::Arc;

use crate::ids::Micros;
use crate::latency::{Histogram, Latency, Percentiles, WINDOW};
use crate::produce::counts::Counts;

/// Batches sent for the first time, and the number of times that batches were sent again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub batches: u64,
    pub records: u64,
    /// Bytes as appended, before compression.
    pub raw_bytes: u64,
    /// Bytes as sent.
    pub sent_bytes: u64,
    pub retries: u64,
}

impl Traffic {
    pub(crate) fn sent(&mut self, records: u32, raw: usize, bytes: usize) {
        self.batches += 1;
        self.records += u64::from(records);
        self.raw_bytes += raw as u64;
        self.sent_bytes += bytes as u64;
    }

    fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.records += other.records;
        self.raw_bytes += other.raw_bytes;
        self.sent_bytes += other.sent_bytes;
        self.retries += other.retries;
    }
}

/// Counters of one node, over all its connections.
#[derive(Clone, Default)]
pub(crate) struct NodeStats {
    pub address: Arc<str>,
    pub traffic: Traffic,
    pub requests: u64,
    pub throttle_ms: u64,
    /// Time at which the oldest unanswered request was sent; remains when a connection is lost.
    pub waiting_since: Option<Micros>,
    /// Time at which a connection was lost since the last request.
    lost: Option<Micros>,
    latency: Latency,
}

impl NodeStats {
    pub fn note_request(&mut self, now: Micros) {
        self.requests += 1;
        if self
            .lost
            .take()
            .is_some_and(|at| now.saturating_sub(at) > WINDOW)
        {
            // The loss was long ago: the unanswered requests from before it have ended otherwise.
            self.waiting_since = None;
        }
        self.waiting_since.get_or_insert(now);
    }

    pub fn note_loss(&mut self, now: Micros) {
        self.lost = Some(now);
    }

    /// The socket has taken a request that is never answered; `oldest`: send time of the oldest one that it has not taken.
    pub fn set_waiting_since(&mut self, oldest: Option<Micros>) {
        self.waiting_since = oldest;
    }

    /// The node answered a request that was sent at `sent`; `oldest`: send time of the oldest one without an answer.
    pub fn note_answer(&mut self, sent: Micros, oldest: Option<Micros>, now: Micros) {
        self.waiting_since = oldest;
        self.latency.record(now.saturating_sub(sent), now);
    }
}

/// One node in a snapshot.
#[derive(Debug, Clone)]
pub struct NodeSnapshot {
    pub node: i32,
    pub address: Arc<str>,
    pub traffic: Traffic,
    pub requests: u64,
    pub in_flight: usize,
    pub throttle_ms: u64,
    /// Time for which nothing more is sent to it.
    pub throttled_for: Micros,
    /// Time for which the oldest request has had no answer; 0: all are answered.
    pub silent_for: Micros,
    pub latency: Percentiles,
}

/// One topic in a snapshot.
#[derive(Debug, Clone, Default)]
pub struct TopicSnapshot {
    pub name: Arc<str>,
    pub traffic: Traffic,
    pub outcomes: OutcomeCounts,
    pub buffered_bytes: usize,
    pub buffered_records: u64,
}

/// Numbers of messages of a topic, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    pub delivered: u64,
    pub failed: u64,
    pub unknown: u64,
}

/// Snapshot of the counters and the memory of a producer.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub counts: Counts,
    pub traffic: Traffic,
    pub used: usize,
    pub cap: usize,
    pub waiting_senders: usize,
    pub latency: Percentiles,
    pub nodes: Vec<NodeSnapshot>,
    pub topics: Vec<TopicSnapshot>,
}

/// Sums over nodes while a snapshot is taken.
#[derive(Default)]
pub(crate) struct Sum {
    latency: Histogram,
    pub nodes: Vec<NodeSnapshot>,
}

impl Sum {
    /// Adds a node; `in_flight`, `muted_until`: of its connections.
    pub fn node(
        &mut self,
        id: i32,
        stats: &mut NodeStats,
        in_flight: usize,
        muted_until: Micros,
        now: Micros,
    ) {
        let both = stats.latency.recent(now);
        self.latency.add(&both);
        self.nodes.push(NodeSnapshot {
            node: id,
            address: stats.address.clone(),
            traffic: stats.traffic,
            requests: stats.requests,
            in_flight,
            throttle_ms: stats.throttle_ms,
            throttled_for: muted_until.saturating_sub(now),
            silent_for: stats.waiting_since.map_or(0, |at| now.saturating_sub(at)),
            latency: both.percentiles(),
        });
    }

    pub fn latency(&self) -> Percentiles {
        self.latency.percentiles()
    }
}

/// All topics together.
pub(crate) fn total(topics: &[TopicSnapshot]) -> Traffic {
    let mut sum = Traffic::default();
    for topic in topics {
        sum.add(&topic.traffic);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_silent_since_its_oldest_request() {
        let mut stats = NodeStats::default();
        stats.note_request(10);
        stats.note_request(20);
        assert_eq!(stats.waiting_since, Some(10));
        stats.note_answer(10, Some(20), 30);
        assert_eq!(stats.waiting_since, Some(20));
        stats.note_answer(20, None, 40);
        assert_eq!(stats.waiting_since, None);
    }

    #[test]
    fn a_node_that_comes_back_is_still_silent_but_not_after_a_long_time() {
        let mut stats = NodeStats::default();
        stats.note_request(10);
        stats.note_loss(20);
        stats.note_request(30);
        assert_eq!(stats.waiting_since, Some(10));
        stats.note_loss(40);
        stats.note_request(50 + WINDOW);
        assert_eq!(stats.waiting_since, Some(50 + WINDOW));
    }
}
