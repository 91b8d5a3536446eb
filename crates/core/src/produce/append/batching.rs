//! Batching of a topic: its settings, and the size up to which an open batch grows.
//!
//! Stations: accumulator → batch. The limit of an open batch is computed when it is opened, so that a message costs one
//! comparison.

use crate::bytes::compression::codec::Compression;
use crate::produce::append::ratio::Ratio;
use crate::produce::settings::Batching;
use crate::record::header::HEADER_LEN;

/// A batch smaller than this part of a full one is ignored in the estimate of how full ones compress.
const REPRESENTATIVE_PART: usize = 4;

/// A batch is split by number of records, and a piece is larger than the average by at most about this part of it.
const UNEVEN_PART: usize = 16;

/// Settings of a topic's batches, the estimate of how they compress, and the sizes that follow from both.
#[derive(Debug)]
pub(crate) struct TopicBatching {
    pub set: Batching,
    ratio: Ratio,
    /// Bytes at which an open batch is full.
    pub limit: usize,
    /// Size, as sent, of the largest batch that the topic accepts, as far as refusals have shown.
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

    /// Lowers `max_accepted`, because the topic refused a batch of this size as too large.
    ///
    /// It is halved until the topic accepts, so it never gets below half of the topic's real limit. It remains until the topic is
    /// recreated: a refusal stops the partition for a round trip and splits a batch, batches of half the size cost next to nothing,
    /// and no answer of a broker shows that its limit was raised. Java resets only its estimate of how well the topic compresses, as
    /// its batches are small.
    pub fn refused(&mut self, bytes: usize, buffer_bytes: usize) {
        // A larger batch was created before the limit was known, so its refusal adds nothing.
        if bytes <= self.max_accepted {
            let half = bytes / 2 + bytes / UNEVEN_PART + HEADER_LEN;
            self.max_accepted = half.min(bytes.saturating_sub(1));
        }
        self.limit = self.limit_of(buffer_bytes);
    }

    /// Forgets the limit: the topic is another one under the same name.
    pub fn topic_recreated(&mut self, buffer_bytes: usize) {
        self.max_accepted = usize::MAX;
        self.limit = self.limit_of(buffer_bytes);
    }

    /// Number of pieces into which a batch of this size, as sent, is split so that the topic accepts them.
    pub fn pieces(&self, bytes: usize) -> usize {
        let uneven = bytes + bytes / UNEVEN_PART;
        uneven.div_ceil(self.max_accepted.max(1)).max(2)
    }

    /// Whether a batch that is not sealed yet would be refused. Before compression that is not known, so false with compression.
    pub fn refuses_open(&self, bytes: usize) -> bool {
        self.set.compression == Compression::default() && bytes > self.max_accepted
    }

    /// Size of a full batch as it is sent.
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

    /// Updates the estimate: a batch of `before` bytes was sealed to `after` bytes.
    pub fn sealed(&mut self, before: usize, after: usize, buffer_bytes: usize) {
        let representative = before >= self.full() / REPRESENTATIVE_PART;
        if representative && self.set.compression != Compression::default() {
            self.ratio.observe(before, after);
            self.limit = self.limit_of(buffer_bytes);
        }
    }
}
