//! A request whose batches are chosen: they are sealed without the lock.
//!
//! Stations: batch → request. I/O thread.

use std::sync::Arc;

use bytes::Bytes;

use crate::bytes::compression::codec::Compression;
use crate::bytes::compression::compressor::Compressor;
use crate::bytes::pool::{Fit, Pool, Pooled};
use crate::produce::batch::Content;
use crate::produce::settings::Settings;
use crate::produce::wire;
use crate::record::encode::{BatchBuilder, ProducerFields, Tools, seal_with, set_producer_fields};

/// A batch on its way into a request: what is not sealed is sealed without the lock.
pub struct Pick {
    pub(super) part: usize,
    pub(super) id: u64,
    pub(super) topic: Arc<str>,
    pub(super) topic_id: [u8; 16],
    pub(super) number: i32,
    pub(super) content: Content,
    pub(super) producer: ProducerFields,
    pub(super) restamp: bool,
    pub(super) compression: Compression,
    /// It leaves for the first time.
    pub(super) first: bool,
    /// Its size before it was sealed, where that happened here.
    pub(super) before: usize,
    /// What its buffer takes; 0: as before.
    pub(super) held: usize,
}

/// A request whose batches are chosen.
pub struct Plan {
    pub(super) node: i32,
    pub(super) version: i16,
    pub(super) token: u64,
    pub(super) picks: Vec<Pick>,
}

impl Plan {
    /// Seals what is not sealed yet: compression and checksums, without any lock.
    pub fn seal(&mut self, compressor: &mut Compressor, pool: &Arc<Pool>) {
        for pick in &mut self.picks {
            pick.content = match std::mem::replace(&mut pick.content, Content::BeingSealed) {
                Content::Open(builder) => Content::Sealed(pick.sealed(builder, compressor, pool)),
                Content::Ready(mut buffer) => {
                    pick.producer.stamp(&mut buffer);
                    Content::Sealed(pooled(buffer, pool))
                }
                Content::Sealed(bytes) if pick.restamp => {
                    // No larger than the one that it was in, of which no more is known here than its bytes.
                    let fit = Fit::within(bytes.len(), bytes.len());
                    let mut buffer = pool.take_empty(fit);
                    buffer.extend_from_slice(&bytes);
                    pick.producer.stamp(&mut buffer);
                    pick.held = buffer.capacity();
                    Content::Sealed(pooled(buffer, pool))
                }
                other => other,
            };
        }
    }
}

impl Pick {
    fn sealed(
        &mut self,
        builder: BatchBuilder,
        compressor: &mut Compressor,
        pool: &Arc<Pool>,
    ) -> Bytes {
        let tools = Tools { compressor, pool };
        match seal_with(tools, builder, self.compression, self.producer) {
            Ok(batch) => {
                if let Some(spare) = batch.spare {
                    pool.give(spare);
                }
                self.before = batch.uncompressed_len;
                self.held = batch.bytes.capacity();
                pooled(batch.bytes, pool)
            }
            // A batch that cannot be sealed goes out empty and the broker refuses it: no message is lost silently.
            Err(_) => Bytes::new(),
        }
    }
}

impl ProducerFields {
    /// Writes them into a sealed batch, which is left as it is only where it is none: the broker refuses that.
    fn stamp(self, buffer: &mut [u8]) {
        let _ = set_producer_fields(buffer, self.producer_id, self.epoch, self.base_sequence);
    }
}

fn pooled(buffer: Vec<u8>, pool: &Arc<Pool>) -> Bytes {
    Bytes::from_owner(Pooled {
        buffer,
        pool: pool.clone(),
    })
}

/// What is left of a request's size.
pub(super) struct RequestSpace {
    version: i16,
    left: usize,
    /// The topics that it has already.
    topics: Vec<Arc<str>>,
}

impl RequestSpace {
    pub(super) fn new(settings: &Settings, version: i16) -> Self {
        let head = wire::head_bytes(
            version,
            &settings.client_id,
            settings.transactional_id.as_deref(),
        );
        Self {
            version,
            left: settings.request_bytes.saturating_sub(head),
            topics: Vec::new(),
        }
    }

    /// Takes a batch of this size if it fits, with what the request needs beside it. One that never would goes alone: the
    /// request is larger then, by no more than that where the batch is of the size that `batch_size` and `Accumulator::largest`
    /// allow.
    pub(super) fn takes(&mut self, topic: &Arc<str>, bytes: usize) -> bool {
        let known = self.topics.iter().any(|known| Arc::ptr_eq(known, topic));
        let mut whole = bytes + wire::partition_bytes(self.version);
        if !known {
            whole += wire::topic_bytes(self.version, topic);
        }
        if whole > self.left && !self.topics.is_empty() {
            return false;
        }
        self.left = self.left.saturating_sub(whole);
        if !known {
            self.topics.push(topic.clone());
        }
        true
    }
}
