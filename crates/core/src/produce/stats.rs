//! What a producer counts, once per batch or request and never per message, and the picture of it that is handed out.
//!
//! Stations: batch → request → response. Written under the producer's lock by whoever sends or resolves; a picture is taken in
//! one hold of the lock, so its numbers fit together.

use std::sync::Arc;

use crate::ids::Micros;
use crate::latency::{Histogram, Latency, Percentiles, WINDOW};
use crate::produce::counts::Counts;

/// Batches that left for the first time, and how often batches left again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub batches: u64,
    pub records: u64,
    /// As they were appended.
    pub raw_bytes: u64,
    /// As they were sent.
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

/// What is counted of one node, over all its connections.
#[derive(Clone, Default)]
pub(crate) struct NodeStats {
    pub address: Arc<str>,
    pub traffic: Traffic,
    pub requests: u64,
    pub throttle_ms: u64,
    /// When the oldest request was sent that it has not answered; goes on over a lost connection.
    pub waiting_since: Option<Micros>,
    /// When a connection was lost since its last request.
    lost: Option<Micros>,
    latency: Latency,
}

impl NodeStats {
    pub fn requested(&mut self, now: Micros) {
        self.requests += 1;
        if self
            .lost
            .take()
            .is_some_and(|at| now.saturating_sub(at) > WINDOW)
        {
            // What it owed has ended otherwise, long ago.
            self.waiting_since = None;
        }
        self.waiting_since.get_or_insert(now);
    }

    pub fn lost(&mut self, now: Micros) {
        self.lost = Some(now);
    }

    /// The socket took a request that is never answered; `oldest`: of what it has not taken yet.
    pub fn set_waiting_since(&mut self, oldest: Option<Micros>) {
        self.waiting_since = oldest;
    }

    /// It answered a request of that time; `oldest`: of what it has not answered yet.
    pub fn answered(&mut self, sent: Micros, oldest: Option<Micros>, now: Micros) {
        self.waiting_since = oldest;
        self.latency.record(now.saturating_sub(sent), now);
    }
}

/// One node in the picture.
#[derive(Debug, Clone)]
pub struct NodePicture {
    pub node: i32,
    pub address: Arc<str>,
    pub traffic: Traffic,
    pub requests: u64,
    pub in_flight: usize,
    pub throttle_ms: u64,
    /// So long it will be sent nothing more.
    pub throttled_for: Micros,
    /// So long it owes an answer; 0: it owes none.
    pub silent_for: Micros,
    pub latency: Percentiles,
}

/// One topic in the picture.
#[derive(Debug, Clone, Default)]
pub struct TopicPicture {
    pub name: Arc<str>,
    pub traffic: Traffic,
    pub outcomes: OutcomeCounts,
    pub buffered_bytes: usize,
    pub buffered_records: u64,
}

/// How many messages of a topic came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    pub delivered: u64,
    pub failed: u64,
    pub unknown: u64,
}

/// What a producer has counted and what it holds, at one moment.
#[derive(Debug, Clone)]
pub struct Picture {
    pub counts: Counts,
    pub traffic: Traffic,
    pub used: usize,
    pub cap: usize,
    pub waiting_senders: usize,
    pub latency: Percentiles,
    pub nodes: Vec<NodePicture>,
    pub topics: Vec<TopicPicture>,
}

/// Nodes that are added up while a picture is made.
#[derive(Default)]
pub(crate) struct Sum {
    latency: Histogram,
    pub nodes: Vec<NodePicture>,
}

impl Sum {
    /// `in_flight`, `muted_until`: of its connections.
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
        self.nodes.push(NodePicture {
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
pub(crate) fn total(topics: &[TopicPicture]) -> Traffic {
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
    fn a_node_is_silent_from_its_oldest_request_on() {
        let mut stats = NodeStats::default();
        stats.requested(10);
        stats.requested(20);
        assert_eq!(stats.waiting_since, Some(10));
        stats.answered(10, Some(20), 30);
        assert_eq!(stats.waiting_since, Some(20));
        stats.answered(20, None, 40);
        assert_eq!(stats.waiting_since, None);
    }

    #[test]
    fn a_node_that_comes_back_is_silent_still_and_after_a_long_time_no_more() {
        let mut stats = NodeStats::default();
        stats.requested(10);
        stats.lost(20);
        stats.requested(30);
        assert_eq!(stats.waiting_since, Some(10));
        stats.lost(40);
        stats.requested(50 + WINDOW);
        assert_eq!(stats.waiting_since, Some(50 + WINDOW));
    }
}
