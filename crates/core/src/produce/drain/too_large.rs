//! Batches that are too large: for a request, or for their topic, whose limit is known only from refusals.
//!
//! Stations: batch, outbox. A refusal halves the maximum size of the topic's batches; batches created before it are split when
//! they are sent next, so that a backlog of large batches costs one refusal and not one for each. References: KIP-126; Java:
//! `Sender.completeBatch`, `RecordAccumulator.splitAndReenqueue`.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::bytes::compression::codec::Compression;
use crate::bytes::compression::compressor::Compressor;
use crate::produce::batch::{Batch, Content};
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::wire::overhead_bound;
use crate::record::encode::{BatchBuilder, ProducerFields, Tools, seal_with};

impl ProduceFlow {
    /// Maximum size of a batch that may be sent: that of a single message, or `batch_size` where that is larger.
    pub(super) fn most_bytes(&self, part: usize) -> usize {
        let settings = &self.acc.settings;
        let topic = &self.acc.topics[self.acc.parts[part].topic];
        let space = settings.request_bytes.saturating_sub(overhead_bound(
            &settings.client_id,
            settings.transactional_id.as_deref(),
            &topic.name,
        ));
        space
            .min(settings.message_bytes)
            .max(topic.batching.set.batch_bytes)
            .min(topic.batching.max_accepted)
    }

    /// Notes that the topic refused a batch of this size. Returns the number of pieces to split it into.
    pub(super) fn refused_as_too_large(&mut self, part: usize, bytes: usize) -> usize {
        let buffer_bytes = self.acc.settings.buffer_bytes;
        let topic = self.acc.parts[part].topic;
        let batching = &mut self.acc.topics[topic].batching;
        batching.refused(bytes, buffer_bytes);
        batching.pieces(bytes)
    }

    /// Whether the topic is known to refuse an open batch of this size.
    pub(super) fn is_too_large_open(&self, part: usize, bytes: usize) -> bool {
        let topic = self.acc.parts[part].topic;
        self.acc.topics[topic].batching.refuses_open(bytes)
    }

    /// Splits the next batch of the queue while it is known to be refused.
    pub(super) fn split_next_if_refused(&mut self, part: usize) {
        let topic = self.acc.parts[part].topic;
        while let Some(batch) = self.acc.parts[part].queue.front() {
            let batching = &self.acc.topics[topic].batching;
            let len = batch.content.len_bytes();
            let refused = match batch.content {
                Content::Open(_) => batching.refuses_open(len),
                Content::Ready(_) | Content::Sealed(_) => len > batching.max_accepted,
                Content::Queued(_) | Content::BeingSealed => false,
            };
            if !refused {
                return;
            }
            // The broker recognizes a duplicate by its first and last sequence: a batch that may be in the log is not changed.
            if batch.count < 2 || batch.may_be_written() {
                return;
            }
            let pieces = batching.pieces(len);
            self.take_apart_unsent(part, 0, pieces);
        }
    }

    /// Replaces a batch that is in no log by several.
    pub(super) fn take_apart_unsent(&mut self, part: usize, position: usize, pieces: usize) {
        let Some(mut batch) = self.acc.parts[part].queue.remove(position) else {
            return;
        };
        batch.content = match std::mem::replace(&mut batch.content, Content::BeingSealed) {
            Content::Open(builder) => Content::Sealed(self.seal_uncompressed(builder)),
            Content::Ready(bytes) => Content::Sealed(Bytes::from(bytes)),
            other => other,
        };
        let most = (batch.count as usize).div_ceil(pieces);
        let mut made = Vec::new();
        self.rebuild(part, batch, &BTreeMap::new(), most, &mut made);
        for mut piece in made.into_iter().rev() {
            self.complete_piece(part, &mut piece);
            self.acc.parts[part].queue.insert(position, piece);
        }
    }

    /// Completes a piece at the head of its partition; it is sealed ahead where it is large enough.
    pub(super) fn complete_piece(&mut self, part: usize, piece: &mut Batch) {
        piece.content = match std::mem::replace(&mut piece.content, Content::BeingSealed) {
            Content::Open(builder) => self.acc.complete_first(part, piece.id, builder),
            other => other,
        };
    }

    /// Seals without compression, to be decoded at once. The result is empty on an error, and then its messages fail.
    fn seal_uncompressed(&self, builder: BatchBuilder) -> Bytes {
        let tools = Tools {
            compressor: &mut Compressor::default(),
            pool: &self.acc.memory.pool,
        };
        let sealed = seal_with(tools, builder, Compression::default(), ProducerFields::NONE);
        sealed.map_or_else(|_| Bytes::new(), |sealed| Bytes::from(sealed.bytes))
    }
}
