//! How the batches of a topic are made: its settings, and how large an open batch grows.
//!
//! Stations: accumulator → batch. The limit of an open batch is computed when it is opened, so that a message costs one
//! comparison.

use crate::bytes::compression::codec::Compression;
use crate::produce::append::ratio::Ratio;
use crate::produce::settings::Batching;
use crate::record::header::HEADER_LEN;

/// A batch this much smaller than a full one says nothing of how full ones compress.
const REPRESENTATIVE_PART: usize = 4;

/// A batch is cut by the number of its records, and a piece gets larger than the others by about so much at the most.
const UNEVEN_PART: usize = 16;

/// A topic's batching and what is known of how it compresses.
#[derive(Debug)]
pub(crate) struct TopicBatching {
    pub set: Batching,
    ratio: Ratio,
    /// Bytes at which an open batch is full.
    pub limit: usize,
    /// The largest batch that the topic takes, as sent, as far as refusals tell.
    pub max_accepted: usize,
}

impl TopicBatching {
    pub fn new(set: Batching) -> Self {
        Self {
            set,
            ratio: Ratio::default(),
            limit: set.batch_bytes,
            max_accepted: usize::MAX,
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
        if bytes <= self.max_accepted {
            let half = bytes / 2 + bytes / UNEVEN_PART + HEADER_LEN;
            self.max_accepted = half.min(bytes.saturating_sub(1));
        }
        self.limit = self.limit_of(buffer_bytes);
    }

    /// The topic is another one under the same name, whose limit nobody knows.
    pub fn topic_recreated(&mut self, buffer_bytes: usize) {
        self.max_accepted = usize::MAX;
        self.limit = self.limit_of(buffer_bytes);
    }

    /// Into how many pieces a batch of this size, as sent, is cut for the topic to take them.
    pub fn pieces(&self, bytes: usize) -> usize {
        let uneven = bytes + bytes / UNEVEN_PART;
        uneven.div_ceil(self.max_accepted.max(1)).max(2)
    }

    /// Whether a batch that is not sealed yet would be refused. Of what is compressed nobody knows.
    pub fn refuses_open(&self, bytes: usize) -> bool {
        self.set.compression == Compression::default() && bytes > self.max_accepted
    }

    /// The size of a full batch as it is sent.
    fn full(&self) -> usize {
        self.set.batch_bytes.min(self.max_accepted)
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
        let representative = before >= self.full() / REPRESENTATIVE_PART;
        if representative && self.set.compression != Compression::default() {
            self.ratio.observe(before, after);
            self.limit = self.limit_of(buffer_bytes);
        }
    }
}
