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
use crate::record::header::HEADER_LEN;

/// A batch this much smaller than a full one says nothing of how full ones compress.
const TELLING_PART: usize = 4;

/// A batch is cut by the number of its records, and a piece gets larger than the others by about so much at the most.
const UNEVEN_PART: usize = 16;

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

    /// Whether messages of any topic do.
    pub fn lingers(&self) -> bool {
        self.linger > 0 || self.topics.values().any(|topic| topic.linger > 0)
    }
}

/// A topic's batching and what is known of how it compresses.
#[derive(Debug)]
pub(crate) struct TopicBatching {
    pub set: Batching,
    ratio: Ratio,
    /// Bytes at which an open batch is full.
    pub limit: usize,
    /// The largest batch that the topic takes, as sent, as far as refusals tell.
    pub taken: usize,
}

impl TopicBatching {
    pub fn new(set: Batching) -> Self {
        Self {
            set,
            ratio: Ratio::default(),
            limit: set.batch_bytes,
            taken: usize::MAX,
        }
    }

    /// The topic refused a batch of this size as too large.
    ///
    /// What it takes is halved until it is right, so it never gets below half of what the topic would take. It stays until the topic
    /// is made anew: a refusal stops the partition for a round trip and takes a batch apart, batches of half the size cost next to
    /// nothing, and no answer of a broker tells that its limit was raised. Java forgets only how well the topic compresses, as its
    /// batches are small.
    pub fn refused(&mut self, bytes: usize, buffer_bytes: usize) {
        // A larger one was made before this was known, and says nothing new.
        if bytes <= self.taken {
            let half = bytes / 2 + bytes / UNEVEN_PART + HEADER_LEN;
            self.taken = half.min(bytes.saturating_sub(1));
        }
        self.limit = self.limit_of(buffer_bytes);
    }

    /// The topic is another one under the same name, whose limit nobody knows.
    pub fn made_anew(&mut self, buffer_bytes: usize) {
        self.taken = usize::MAX;
        self.limit = self.limit_of(buffer_bytes);
    }

    /// Into how many pieces a batch of this size, as sent, is cut for the topic to take them.
    pub fn pieces(&self, bytes: usize) -> usize {
        let uneven = bytes + bytes / UNEVEN_PART;
        uneven.div_ceil(self.taken.max(1)).max(2)
    }

    /// Whether a batch that is not sealed yet would be refused. Of what is compressed nobody knows.
    pub fn refuses_open(&self, bytes: usize) -> bool {
        self.set.compression == Compression::default() && bytes > self.taken
    }

    /// The size of a full batch as it is sent.
    fn full(&self) -> usize {
        self.set.batch_bytes.min(self.taken)
    }

    fn limit_of(&self, buffer_bytes: usize) -> usize {
        if self.set.compression == Compression::default() {
            self.full()
        } else {
            self.ratio.limit(self.full(), buffer_bytes)
        }
    }

    /// A batch of `before` bytes is `after` bytes as it is sent.
    pub fn sealed(&mut self, before: usize, after: usize, buffer_bytes: usize) {
        let telling = before >= self.full() / TELLING_PART;
        if telling && self.set.compression != Compression::default() {
            self.ratio.observe(before, after);
            self.limit = self.limit_of(buffer_bytes);
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

    /// Batches of this size and more are sealed ahead, whatever their codec: for scripts with small ones.
    #[doc(hidden)]
    pub fn seal_ahead_from(&mut self, bytes: usize) {
        self.ahead_from = Some(bytes);
    }

    pub(crate) fn compression(&self, part: usize) -> Compression {
        let topic = self.parts[part].topic;
        self.topics[topic].batching.set.compression
    }

    fn cost(&self, part: usize) -> Cost {
        self.compression(part).cost()
    }

    /// Whether a batch of this size is sealed ahead of its request.
    pub(crate) fn is_sealed_ahead(&self, part: usize, bytes: usize) -> bool {
        bytes
            >= self
                .ahead_from
                .unwrap_or(self.compression(part).ahead_from())
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
