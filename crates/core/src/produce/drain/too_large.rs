//! Batches that are too large: for a request, or for their topic, of which only a refusal tells what it takes.
//!
//! Stations: batch, outbox. What is refused halves what the topic's batches may have; what was made before that is taken apart when
//! it is its turn, so that a backlog of large batches costs one refusal and not one for each. References: KIP-126; Java:
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
    /// The largest batch that may be sent: what a single message may be, or `batch_size` itself, where the user has set that to more.
    pub(super) fn most_bytes(&self, part: usize) -> usize {
        let settings = &self.acc.settings;
        let topic = &self.acc.topics[self.acc.parts[part].topic];
        let room = settings.request_bytes.saturating_sub(overhead_bound(
            &settings.client_id,
            settings.transactional_id.as_deref(),
            &topic.name,
        ));
        room.min(settings.message_bytes)
            .max(topic.batching.set.batch_bytes)
            .min(topic.batching.max_accepted)
    }

    /// The topic refused a batch of this size. Returns how many pieces it is cut into.
    pub(super) fn refused_as_too_large(&mut self, part: usize, bytes: usize) -> usize {
        let buffer_bytes = self.acc.settings.buffer_bytes;
        let topic = self.acc.parts[part].topic;
        let batching = &mut self.acc.topics[topic].batching;
        batching.refused(bytes, buffer_bytes);
        batching.pieces(bytes)
    }

    /// Whether an open batch is known to be refused.
    pub(super) fn is_too_large_open(&self, part: usize, bytes: usize) -> bool {
        let topic = self.acc.parts[part].topic;
        self.acc.topics[topic].batching.refuses_open(bytes)
    }

    /// Takes apart the next batch of the queue while it is known to be refused.
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
            // The broker knows a batch again by its first and last sequence: what may be in the log stays as it was sent.
            if batch.count < 2 || batch.may_be_written() {
                return;
            }
            let pieces = batching.pieces(len);
            self.take_apart_unsent(part, 0, pieces);
        }
    }

    /// Several batches in the place of one that is in no log.
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

    /// A piece that others wait behind: sealed ahead, where it is large enough.
    pub(super) fn complete_piece(&mut self, part: usize, piece: &mut Batch) {
        piece.content = match std::mem::replace(&mut piece.content, Content::BeingSealed) {
            Content::Open(builder) => self.acc.complete_first(part, piece.id, builder),
            other => other,
        };
    }

    /// Sealed without compression, to be read again at once. Empty where that cannot be, and then its messages fail.
    fn seal_uncompressed(&self, builder: BatchBuilder) -> Bytes {
        let tools = Tools {
            compressor: &mut Compressor::default(),
            pool: &self.acc.memory.pool,
        };
        let sealed = seal_with(tools, builder, Compression::default(), ProducerFields::NONE);
        sealed.map_or_else(|_| Bytes::new(), |sealed| Bytes::from(sealed.bytes))
    }
}
