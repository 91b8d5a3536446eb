//! A topic as the accumulator knows it.
//!
//! Stations: message → partition; under the producer's lock.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::failure::Trouble;
use crate::partitioning::partitioner::Sticky;
use crate::produce::append::batching::TopicBatching;
use crate::produce::append::topic_wait::TopicWait;
use crate::produce::append::waiting::Waiting;
use crate::produce::stats::{Ends, Traffic};

pub(crate) struct Topic {
    pub name: Arc<str>,
    pub id: [u8; 16],
    /// Ids that it had before it was made anew: who still tells one of them lags behind.
    pub former: Vec<[u8; 16]>,
    /// Indices of its partitions; empty while its metadata is not known.
    pub parts: Vec<usize>,
    /// How many of them there are now: fewer than `parts` where the topic was deleted and made anew with fewer.
    pub(super) count: usize,
    pub(super) available: Vec<usize>,
    /// Those of them whose leader is in the client's rack, sorted: messages without a key go there first (KIP-1123).
    pub(super) near: Vec<usize>,
    /// Somebody waits for what its open batches with a lower number have: `produce/append/linger.rs`.
    pub(super) hurried: u64,
    pub batching: TopicBatching,
    pub(super) sticky: Sticky,
    /// How many messages were placed in turn.
    pub(super) turns: usize,
    /// Messages that wait for its metadata, the oldest first.
    pub(super) waiting: VecDeque<Waiting>,
    /// What keeps its messages from being sent, as the engine knows it: for who asks why they expired.
    pub trouble: Option<Trouble>,
    pub(super) wait: TopicWait,
    pub(crate) traffic: Traffic,
    pub(crate) ends: Ends,
}

impl Topic {
    /// The partitions that a message may go to which may go anywhere: those with a leader, if any has one.
    pub(super) fn choices(&self) -> &[usize] {
        if self.available.is_empty() {
            &self.parts[..self.count]
        } else {
            &self.available
        }
    }

    /// The same for a visit of messages without a key: those in the client's rack, if there are any.
    pub(super) fn destinations(&self) -> &[usize] {
        if self.near.is_empty() {
            self.choices()
        } else {
            &self.near
        }
    }
}
