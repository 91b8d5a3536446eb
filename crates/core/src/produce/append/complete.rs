//! Complete batches: each waits for its request, or is sealed ahead of it.
//!
//! Station: batch; under the producer's lock.

use crate::bytes::compression::codec::{Compression, Cost};
use crate::produce::append::accumulator::Accumulator;
use crate::produce::batch::Content;
use crate::record::encode::BatchBuilder;

impl Accumulator {
    /// Content of a complete batch. It is sealed when it is put into a request, or ahead of that where sealing takes long.
    pub(crate) fn complete(&mut self, part: usize, id: u64, builder: BatchBuilder) -> Content {
        if !self.is_sealed_ahead(part, builder.len_bytes()) {
            return Content::Open(builder);
        }
        self.seals.push(self.cost(part), (part, id));
        Content::Queued(builder)
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
        bytes >= self.seals.ahead_from(self.compression(part))
    }

    /// Same as `complete`, for a batch at the head of its partition, behind which others wait.
    pub(crate) fn complete_first(
        &mut self,
        part: usize,
        id: u64,
        builder: BatchBuilder,
    ) -> Content {
        let content = self.complete(part, id, builder);
        if matches!(content, Content::Queued(_)) {
            self.seals.move_last_to_front(self.cost(part));
        }
        content
    }

    /// Updates the estimate of compression: a batch of the partition, of `before` bytes, was sealed to `after` bytes.
    pub(crate) fn sealed(&mut self, part: usize, before: usize, after: usize) {
        let buffer_bytes = self.settings.buffer_bytes;
        let topic = self.parts[part].topic;
        self.topics[topic]
            .batching
            .sealed(before, after, buffer_bytes);
    }
}
