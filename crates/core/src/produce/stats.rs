//! What a producer counts, once per batch or request and never per message, and the picture of it that is handed out.
//!
//! Stations: batch → request → response. Written under the producer's lock by whoever sends or resolves; a picture is taken in
//! one hold of the lock, so its numbers fit together.

use std::sync::Arc;

use crate::ids::Micros;
use crate::produce::counts::Counts;

/// Buckets of a power of two: a latency is told to an eighth.
const STEPS_LOG2: u32 = 3;
const STEPS: u64 = 1 << STEPS_LOG2;
/// Up to 2^35 microseconds; what took longer is told by `max`.
const BUCKETS: usize = 264;
/// Latencies are forgotten after one to two of these.
const WINDOW: Micros = 30_000_000;

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

/// How long requests took: microseconds, of the last window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percentiles {
    pub count: u64,
    pub p50: Micros,
    pub p95: Micros,
    pub p99: Micros,
    pub max: Micros,
}

#[derive(Clone)]
struct Histogram {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
    max: Micros,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
            max: 0,
        }
    }
}

fn bucket(value: Micros) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let top = value.ilog2();
    let step = (value >> (top - STEPS_LOG2)) & (STEPS - 1);
    let index = (u64::from(top - STEPS_LOG2) + 1) * STEPS + step;
    (index as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn ceiling(bucket: usize) -> Micros {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS + 1) << shift) - 1
}

impl Histogram {
    fn record(&mut self, value: Micros) {
        let count = &mut self.buckets[bucket(value)];
        *count = count.saturating_add(1);
        self.count += 1;
        self.max = self.max.max(value);
    }

    fn add(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *count = count.saturating_add(*more);
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
        self.max = 0;
    }

    fn percentile(&self, percent: u64) -> Micros {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return ceiling(index).min(self.max);
            }
        }
        self.max
    }

    fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.count,
            p50: self.percentile(50),
            p95: self.percentile(95),
            p99: self.percentile(99),
            max: self.max,
        }
    }
}

/// The latencies of this window and of the one before it.
#[derive(Clone, Default)]
struct Latency {
    now: Histogram,
    before: Histogram,
    since: Micros,
}

impl Latency {
    fn turn(&mut self, now: Micros) {
        let age = now.saturating_sub(self.since);
        if age < WINDOW {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        if age >= 2 * WINDOW {
            self.before.clear();
        }
        self.since = now;
    }

    fn record(&mut self, value: Micros, now: Micros) {
        self.turn(now);
        self.now.record(value);
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
    pub fn owes_since(&mut self, oldest: Option<Micros>) {
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
    pub ends: Ends,
    pub buffered_bytes: usize,
    pub buffered_records: u64,
}

/// How many messages of a topic came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
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
        stats.latency.turn(now);
        let mut both = stats.latency.now.clone();
        both.add(&stats.latency.before);
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
    fn a_bucket_holds_what_its_ceiling_says() {
        let mut value = 0;
        while value < 1 << 34 {
            let ceiling = ceiling(bucket(value));
            assert!(ceiling >= value, "{value}");
            assert!(ceiling - value <= value / 8, "{value} is told as {ceiling}");
            assert_eq!(bucket(ceiling), bucket(value));
            assert_eq!(bucket(ceiling + 1), bucket(value) + 1);
            value = value * 17 / 16 + 1;
        }
        assert_eq!(bucket(Micros::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_right_to_an_eighth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), Percentiles::default());
        for value in 1..=1000 {
            histogram.record(value * 10);
        }
        let told = histogram.percentiles();
        assert_eq!((told.count, told.max), (1000, 10_000));
        for (is, should) in [(told.p50, 5000), (told.p95, 9500), (told.p99, 9900)] {
            assert!(is >= should && is <= should + should / 8, "{is} {should}");
        }
    }

    #[test]
    fn old_latencies_are_forgotten() {
        let mut latency = Latency::default();
        let count = |latency: &Latency| latency.now.count + latency.before.count;
        latency.record(5, WINDOW);
        latency.record(5, 2 * WINDOW);
        assert_eq!(count(&latency), 2);
        latency.turn(3 * WINDOW);
        assert_eq!(count(&latency), 1);
        latency.turn(9 * WINDOW);
        assert_eq!(count(&latency), 0);
    }

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
