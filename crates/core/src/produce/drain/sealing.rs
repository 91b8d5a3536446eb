//! Sealing ahead: large batches are compressed before their request is built.
//!
//! Station: batch. A large complete batch is `Queued`; the I/O thread or a sealer takes it (`next_seal`), compresses it
//! without any lock (`SealJob::run`) and returns it (`on_sealed`). From then on its real size is known. A batch is not
//! sent before that, so the order of batches is not affected. The I/O thread compresses with cheap codecs, between two turns; the
//! other codecs have threads (`crates/io/src/sealers.rs`). References: KIP-126; ADR 0014.
//!
//! Invariant: while a batch at the head of a partition is `Queued` or `BeingSealed`, no batch of the partition is sent. A batch may be
//! gone from the partition when its sealed bytes return: it has expired or was aborted.

use crate::bytes::compression::codec::Cost;
use crate::produce::append::charges::sealed_bytes;
use crate::produce::batch::Content;
use crate::produce::drain::flow::ProduceFlow;
use crate::record::encode::ProducerFields;
use crate::record::sealing::{SealJob, Sealed};

impl ProduceFlow {
    /// Takes the next batch of this cost to be sealed, oldest first. It is `BeingSealed` until `on_sealed`.
    pub fn next_seal(&mut self, cost: Cost) -> Option<SealJob> {
        while let Some((part, id)) = self.acc.seals.pop(cost) {
            let entry = &mut self.acc.parts[part];
            let found = entry.being_sealed(id);
            // A batch that expired meanwhile is in the queue only by its number.
            let Some(batch) = found.filter(|batch| matches!(batch.content, Content::Queued(_)))
            else {
                continue;
            };
            if let Content::Queued(builder) =
                std::mem::replace(&mut batch.content, Content::BeingSealed)
            {
                let topic = &self.acc.topics[entry.topic];
                return Some(SealJob {
                    part,
                    id,
                    builder,
                    compression: topic.batching.set.compression,
                    producer: ProducerFields {
                        transactional: self.acc.settings.transactional_id.is_some(),
                        ..ProducerFields::NONE
                    },
                    pool: self.acc.memory.pool.clone(),
                });
            }
        }
        None
    }

    /// Stores a sealed batch. One that is too large for a request is split before it is sent.
    pub fn on_sealed(&mut self, done: Sealed) {
        let Sealed { part, id, sealed } = done;
        // A batch that cannot be sealed is sent empty and the broker refuses it: no message is lost silently.
        let (bytes, spare, before) = match sealed {
            Ok(batch) => (batch.bytes, batch.spare, batch.uncompressed_len),
            Err(_) => (Vec::new(), None, 0),
        };
        if let Some(spare) = spare {
            self.acc.memory.pool.give(spare);
        }
        let len = bytes.len();
        let per_message = self.acc.memory.per_message();
        let Some(batch) = self.acc.parts[part].being_sealed(id) else {
            self.acc.memory.pool.give(bytes);
            return;
        };
        let held = sealed_bytes(batch, bytes.capacity(), per_message);
        let taken = held as isize - batch.accounted as isize;
        batch.accounted = held;
        batch.content = Content::Ready(bytes);
        let may_be_cut = batch.count > 1 && !batch.may_be_written();
        self.acc.memory.adjust(taken);
        if before > 0 {
            self.acc.sealed(part, before, len);
        }
        let most = self.most_bytes(part);
        let mut queue = self.acc.parts[part].queue.iter();
        // A batch that is held is checked when it is sent next.
        if let Some(position) = queue.position(|batch| batch.id == id)
            && len > most
            && may_be_cut
        {
            self.take_apart_unsent(part, position, len.div_ceil(most).max(2));
        }
        self.acc.attention.request();
        self.acc.wake_senders();
    }
}
