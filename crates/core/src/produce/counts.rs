//! Counters of a producer's messages.

/// Number of messages accepted, and by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub accepted: u64,
    pub delivered: u64,
    pub failed: u64,
    pub unknown: u64,
    pub batches: u64,
    pub requests: u64,
    pub retries: u64,
}
