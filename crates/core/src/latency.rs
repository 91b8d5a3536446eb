//! Latencies of requests: percentiles over the last 30 to 60 seconds, counted once per request.
//!
//! Time is passed in. Used by both flows, under their locks.

use crate::ids::Micros;

/// Buckets per power of two: percentiles are exact to an eighth.
const STEPS_LOG2: u32 = 3;
const STEPS: u64 = 1 << STEPS_LOG2;
/// Number of buckets: up to 2^35 microseconds; longer latencies are visible in `max` only.
const BUCKETS: usize = 264;
/// Length of a window: latencies are dropped after one to two of them.
pub(crate) const WINDOW: Micros = 30_000_000;

/// Latencies of the last one to two windows, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percentiles {
    pub count: u64,
    pub p50: Micros,
    pub p95: Micros,
    pub p99: Micros,
    pub max: Micros,
}

/// Latencies by size.
#[derive(Clone)]
pub(crate) struct Histogram {
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

    pub fn add(&mut self, other: &Self) {
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

    pub fn percentiles(&self) -> Percentiles {
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
pub(crate) struct Latency {
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

    pub fn record(&mut self, value: Micros, now: Micros) {
        self.turn(now);
        self.now.record(value);
    }

    /// Both windows together.
    pub fn recent(&mut self, now: Micros) -> Histogram {
        self.turn(now);
        let mut both = self.now.clone();
        both.add(&self.before);
        both
    }
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
            assert!(
                ceiling - value <= value / 8,
                "{value} is reported as {ceiling}"
            );
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
        let found = histogram.percentiles();
        assert_eq!((found.count, found.max), (1000, 10_000));
        for (is, should) in [(found.p50, 5000), (found.p95, 9500), (found.p99, 9900)] {
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
}
