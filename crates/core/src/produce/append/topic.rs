//! State of a topic in the accumulator.
//!
//! Stations: message → partition; under the producer's lock.

use std::collections::{HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use crate::failure::Trouble;
use crate::ids::Micros;
use crate::partitioning::partitioner::Sticky;
use crate::produce::append::batching::TopicBatching;
use crate::produce::append::topic_wait::TopicWait;
use crate::produce::append::waiting::Waiting;
use crate::produce::stats::{OutcomeCounts, Traffic};

pub(crate) struct Topic {
    pub name: Arc<str>,
    pub id: [u8; 16],
    /// Ids that it had before it was recreated: a broker that still reports one of them has old metadata.
    pub former: Vec<[u8; 16]>,
    /// Indices of its partitions; empty while its metadata is not known.
    pub parts: Vec<usize>,
    pub(super) destinations: Destinations,
    /// A caller waits for its open batches with a lower number: `produce/append/linger.rs`.
    pub(super) awaited_before: u64,
    pub batching: TopicBatching,
    /// Messages that wait for its metadata, the oldest first.
    pub(super) waiting: VecDeque<Waiting>,
    /// Number of messages that have ever waited for its metadata.
    pub(super) stored: u64,
    /// Time at which a batch was last opened or a message last stored.
    pub(super) used_at: Micros,
    /// The engine no longer follows its metadata: the next message is reported to it.
    pub(super) dropped: bool,
    /// Obstacle to sending its messages, as reported by the engine; becomes the cause when they expire.
    pub trouble: Option<Trouble>,
    pub(super) wait: TopicWait,
    pub(crate) traffic: Traffic,
    pub(crate) outcomes: OutcomeCounts,
}

/// The partitions that its messages may go to, as indices.
#[derive(Default)]
pub(super) struct Destinations {
    /// Number of partitions that the topic has now: fewer than `Topic::parts` where it was recreated with fewer.
    pub count: usize,
    /// Those with a leader.
    pub available: Vec<usize>,
    /// Those of them whose leader is in the client's rack, sorted: messages without a key go there first (KIP-1123).
    pub near: Vec<usize>,
    /// Current partition of messages without a key.
    pub sticky: Sticky,
    /// Number of messages placed in turn.
    pub turns: usize,
}

impl Destinations {
    /// Sets the partitions with a leader, and those of them to be preferred for messages without a key.
    pub fn set(&mut self, available: Vec<usize>, mut near: Vec<usize>) {
        near.sort_unstable();
        self.sticky
            .keep_to(if near.is_empty() { &available } else { &near });
        (self.available, self.near) = (available, near);
    }

    pub fn is_near(&self, part: usize) -> bool {
        self.near.binary_search(&part).is_ok()
    }
}

impl Topic {
    /// Partitions for a message that may go to any: those with a leader, or all if none has one.
    pub(super) fn choices(&self) -> &[usize] {
        if self.destinations.available.is_empty() {
            &self.parts[..self.destinations.count]
        } else {
            &self.destinations.available
        }
    }

    /// Same for messages without a key, which stay at one partition for a while: those in the client's rack, if there are any.
    pub(super) fn preferred(&self) -> &[usize] {
        if self.destinations.near.is_empty() {
            self.choices()
        } else {
            &self.destinations.near
        }
    }
}

/// The topics of a producer by index, which stays the same, and by name.
#[derive(Default)]
pub(in crate::produce) struct Topics {
    list: Vec<Topic>,
    by_name: HashMap<Arc<str>, usize>,
}

impl Topics {
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Adds a new topic; returns its index.
    pub fn add(&mut self, topic: Topic) -> usize {
        let index = self.list.len();
        self.by_name.insert(topic.name.clone(), index);
        self.list.push(topic);
        index
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.list.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.list.iter_mut()
    }
}

impl Index<usize> for Topics {
    type Output = Topic;

    #[inline(always)]
    fn index(&self, index: usize) -> &Topic {
        &self.list[index]
    }
}

impl IndexMut<usize> for Topics {
    #[inline(always)]
    fn index_mut(&mut self, index: usize) -> &mut Topic {
        &mut self.list[index]
    }
}
