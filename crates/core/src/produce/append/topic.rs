//! A topic as the accumulator knows it.
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
    /// Ids that it had before it was made anew: who still tells one of them lags behind.
    pub former: Vec<[u8; 16]>,
    /// Indices of its partitions; empty while its metadata is not known.
    pub parts: Vec<usize>,
    pub(super) destinations: Destinations,
    /// Somebody waits for what its open batches with a lower number have: `produce/append/linger.rs`.
    pub(super) awaited_before: u64,
    pub batching: TopicBatching,
    /// Messages that wait for its metadata, the oldest first.
    pub(super) waiting: VecDeque<Waiting>,
    /// How many messages have ever waited for its metadata.
    pub(super) stored: u64,
    /// When its last batch was opened, or a message waited for its metadata last.
    pub(super) used_at: Micros,
    /// The engine does not follow its metadata any more: it is told of the next message.
    pub(super) dropped: bool,
    /// What keeps its messages from being sent, as the engine knows it: for who asks why they expired.
    pub trouble: Option<Trouble>,
    pub(super) wait: TopicWait,
    pub(crate) traffic: Traffic,
    pub(crate) outcomes: OutcomeCounts,
}

/// The partitions that its messages may go to, as indices.
#[derive(Default)]
pub(super) struct Destinations {
    /// How many partitions the topic has now: fewer than are known where it was deleted and recreated with fewer.
    pub count: usize,
    /// Those with a leader.
    pub available: Vec<usize>,
    /// Those of them whose leader is in the client's rack, sorted: messages without a key go there first (KIP-1123).
    pub near: Vec<usize>,
    /// Where messages without a key go now.
    pub sticky: Sticky,
    /// How many messages were placed in turn.
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
    /// The partitions of a message that may go to any: those with a leader, if any has one.
    pub(super) fn choices(&self) -> &[usize] {
        if self.destinations.available.is_empty() {
            &self.parts[..self.destinations.count]
        } else {
            &self.destinations.available
        }
    }

    /// The same for messages without a key, which stay at one partition for a while: those in the client's rack, if any is.
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

    /// Adds a topic that is not there yet; returns its index.
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
