//! Sealing ahead: large batches are compressed before the request that takes them is made, and not by it.
//!
//! Station: batch. A complete batch of some size is `Queued`; whoever has time takes it (`next_seal`), compresses it
//! without any lock (`SealJob::run`) and brings it back (`on_sealed`). From then on its real size is known. A batch is not
//! sent before that, so order needs no care. Cheap codecs are the I/O thread's, between two turns; for the others it has
//! threads (`crates/io/src/sealers.rs`). References: KIP-126; ADR 0014.
//!
//! Invariant: while `Queued` or `BeingSealed` is at the head of a partition, the partition is not sent from. A returning batch may find its
//! place gone: it has expired or was given up.

use crate::bytes::compression::codec::Cost;
use crate::produce::append::charges::sealed_bytes;
use crate::produce::batch::Content;
use crate::produce::drain::flow::ProduceFlow;
use crate::record::encode::ProducerFields;
use crate::record::sealing::{SealJob, Sealed};

impl ProduceFlow {
    /// The next batch of this cost to be sealed, oldest first. It is away until `on_sealed`.
    pub fn next_seal(&mut self, cost: Cost) -> Option<SealJob> {
        while let Some((part, id)) = self.acc.seals.pop(cost) {
            let entry = &mut self.acc.parts[part];
            let found = entry.being_sealed(id);
            // Of what expired meanwhile only the number is left.
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

    /// A batch comes back sealed. What turns out too large for a request is taken apart before anybody sees it.
    pub fn on_sealed(&mut self, done: Sealed) {
        let Sealed { part, id, sealed } = done;
        // A batch that cannot be sealed goes out empty and the broker refuses it: no message is lost silently.
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
        // One that is held is looked at again when it is its turn.
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
