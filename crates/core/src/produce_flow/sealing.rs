//! Sealing ahead: large batches are compressed before the request that takes them is made, and not by it.
//!
//! Station: batch. A complete batch of some size is `Queued`; whoever has time takes it (`next_seal`), compresses it
//! without any lock (`SealJob::run`) and brings it back (`on_sealed`). From then on its real size is known. A batch is not
//! sent before that, so order needs no care. Cheap codecs are the I/O thread's, between two turns; for the others it has
//! threads (`crates/io/src/sealers.rs`). References: KIP-126; ADR 0014.

use std::sync::Arc;

use super::{Batch, Content, Partition, ProduceFlow};
use crate::accumulator::sealed_bytes;
use crate::compression::{Compression, Compressor, Cost};
use crate::error::EncodeError;
use crate::pool::Pool;
use crate::record::encode::{BatchBuilder, ProducerFields, SealedBatch, Tools, seal_with};

/// A batch to be sealed: owns all that it needs.
#[derive(Debug)]
pub struct SealJob {
    part: usize,
    id: u64,
    builder: BatchBuilder,
    compression: Compression,
    producer: ProducerFields,
    pool: Arc<Pool>,
}

/// What became of it, for `on_sealed`.
#[derive(Debug)]
pub struct Sealed {
    part: usize,
    id: u64,
    sealed: Result<SealedBatch, EncodeError>,
}

impl SealJob {
    /// Takes as long as compression takes; to be called without any lock.
    pub fn run(self, compressor: &mut Compressor) -> Sealed {
        let tools = Tools {
            compressor,
            pool: &self.pool,
        };
        Sealed {
            part: self.part,
            id: self.id,
            sealed: seal_with(tools, self.builder, self.compression, self.producer),
        }
    }

    /// What to bring back where `run` met a bug: the batch fails, and its partition goes on.
    pub fn failed(&self) -> Sealed {
        Sealed {
            part: self.part,
            id: self.id,
            sealed: Err(EncodeError::TooLarge { bytes: 0 }),
        }
    }
}

impl Partition {
    /// A batch that is sealed or waits for that. A piece of one that was sent is part of the story of the next hold, and is
    /// sealed among what is in flight as well.
    fn in_line(&mut self, id: u64) -> Option<&mut Batch> {
        let mut line = self.queue.iter_mut().chain(&mut self.flight);
        line.find(|batch| batch.id == id)
    }
}

impl ProduceFlow {
    /// The next batch of this cost to be sealed, oldest first. It is away until `on_sealed`.
    pub fn next_seal(&mut self, cost: Cost) -> Option<SealJob> {
        while let Some((part, id)) = self.acc.to_seal.pop(cost) {
            let entry = &mut self.acc.parts[part];
            let found = entry.in_line(id);
            // Of what expired meanwhile only the number is left.
            let Some(batch) = found.filter(|batch| matches!(batch.content, Content::Queued(_)))
            else {
                continue;
            };
            if let Content::Queued(builder) = std::mem::replace(&mut batch.content, Content::Away) {
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
                    pool: self.acc.pool.clone(),
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
            self.acc.pool.give(spare);
        }
        let len = bytes.len();
        let per_message = self.acc.per_message;
        let Some(batch) = self.acc.parts[part].in_line(id) else {
            self.acc.pool.give(bytes);
            return;
        };
        let held = sealed_bytes(batch, bytes.capacity(), per_message);
        let taken = held as isize - batch.accounted as isize;
        batch.accounted = held;
        batch.content = Content::Ready(bytes);
        let may_be_cut = batch.count > 1 && !batch.may_be_written();
        self.acc.weighed_anew(taken);
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
        self.acc.look();
        self.acc.wake_room();
    }
}
