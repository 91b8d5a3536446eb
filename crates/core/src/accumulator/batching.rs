//! How the batches of a topic are made: its settings, and how large an open batch grows.
//!
//! Stations: accumulator → batch. The limit of an open batch is computed when it is opened, so that a message costs one
//! comparison.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Accumulator, Settings};
use crate::compression::{Compression, Cost};
use crate::flow::Micros;
use crate::produce_flow::Content;
use crate::ratio::Ratio;
use crate::record::encode::BatchBuilder;

/// A batch this much smaller than a full one says nothing of how full ones compress.
const TELLING_PART: usize = 4;

/// What may be set for a topic by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    pub compression: Compression,
    /// At most so many bytes as they are sent.
    pub batch_bytes: usize,
    pub linger: Micros,
}

impl Settings {
    /// The topic's own, or what holds for all.
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
}

/// A topic's batching and what is known of how it compresses.
#[derive(Debug)]
pub(crate) struct TopicBatching {
    pub set: Batching,
    ratio: Ratio,
    /// Bytes at which an open batch is full.
    pub limit: usize,
}

impl TopicBatching {
    pub fn new(set: Batching) -> Self {
        Self {
            set,
            ratio: Ratio::default(),
            limit: set.batch_bytes,
        }
    }

    /// A batch of `before` bytes is `after` bytes as it is sent.
    pub fn sealed(&mut self, before: usize, after: usize, buffer_bytes: usize) {
        let telling = before >= self.set.batch_bytes / TELLING_PART;
        if telling && self.set.compression != Compression::default() {
            self.ratio.observe(before, after);
            self.limit = self.ratio.limit(self.set.batch_bytes, buffer_bytes);
        }
    }
}

/// Complete batches that are sealed ahead, by partition and id, oldest first; what is cheap apart from what is not.
#[derive(Debug, Default)]
pub(crate) struct SealLine {
    low: VecDeque<(usize, u64)>,
    high: VecDeque<(usize, u64)>,
    waiting: Arc<SealsWaiting>,
}

/// How many they are, for who does not want the lock.
#[derive(Debug, Default)]
pub(crate) struct SealsWaiting {
    low: AtomicUsize,
    high: AtomicUsize,
}

impl SealsWaiting {
    fn of(&self, cost: Cost) -> &AtomicUsize {
        match cost {
            Cost::Low => &self.low,
            Cost::High => &self.high,
        }
    }

    pub fn get(&self, cost: Cost) -> usize {
        self.of(cost).load(Ordering::Relaxed)
    }
}

impl SealLine {
    pub fn waiting(&self) -> Arc<SealsWaiting> {
        self.waiting.clone()
    }

    fn change<R>(&mut self, cost: Cost, work: impl FnOnce(&mut VecDeque<(usize, u64)>) -> R) -> R {
        let line = match cost {
            Cost::Low => &mut self.low,
            Cost::High => &mut self.high,
        };
        let result = work(line);
        self.waiting.of(cost).store(line.len(), Ordering::Relaxed);
        result
    }

    fn push(&mut self, cost: Cost, batch: (usize, u64)) {
        self.change(cost, |line| line.push_back(batch));
    }

    fn last_goes_first(&mut self, cost: Cost) {
        self.change(cost, |line| line.rotate_right(1.min(line.len())));
    }

    /// Which is next; it may have expired meanwhile.
    pub fn pop(&mut self, cost: Cost) -> Option<(usize, u64)> {
        self.change(cost, VecDeque::pop_front)
    }
}

impl Accumulator {
    /// A batch that is complete: sealed when it is put into a request, or ahead of that where it takes long.
    pub(crate) fn complete(&mut self, part: usize, id: u64, builder: BatchBuilder) -> Content {
        if !self.is_sealed_ahead(part, builder.len_bytes()) {
            return Content::Open(builder);
        }
        self.to_seal.push(self.cost(part), (part, id));
        Content::Queued(builder)
    }

    fn cost(&self, part: usize) -> Cost {
        let topic = self.parts[part].topic;
        self.topics[topic].batching.set.compression.cost()
    }

    /// Whether a batch of this size is sealed ahead of its request.
    pub(crate) fn is_sealed_ahead(&self, part: usize, bytes: usize) -> bool {
        let topic = self.parts[part].topic;
        let compression = self.topics[topic].batching.set.compression;
        bytes >= self.ahead_from.unwrap_or(compression.ahead_from())
    }

    /// As `complete`, of a batch that others wait behind.
    pub(crate) fn complete_first(
        &mut self,
        part: usize,
        id: u64,
        builder: BatchBuilder,
    ) -> Content {
        let content = self.complete(part, id, builder);
        if matches!(content, Content::Queued(_)) {
            self.to_seal.last_goes_first(self.cost(part));
        }
        content
    }

    /// A batch of the partition, of `before` bytes, is `after` bytes as it is sent.
    pub(crate) fn sealed(&mut self, part: usize, before: usize, after: usize) {
        let buffer_bytes = self.settings.buffer_bytes;
        let topic = self.parts[part].topic;
        self.topics[topic]
            .batching
            .sealed(before, after, buffer_bytes);
    }
}
