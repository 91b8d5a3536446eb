//! A request whose batches are chosen; they are sealed without the lock.
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

/// A batch that was chosen for a request. One that is not sealed is sealed without the lock.
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
    /// It is sent for the first time.
    pub(super) first: bool,
    /// Its size before compression, if it was sealed here; else 0.
    pub(super) before: usize,
    /// Capacity of its new buffer; 0: it has no new one.
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
    /// Seals the batches that are not sealed yet (compression, checksums), without any lock.
    pub fn seal(&mut self, compressor: &mut Compressor, pool: &Arc<Pool>) {
        for pick in &mut self.picks {
            pick.content = match std::mem::replace(&mut pick.content, Content::BeingSealed) {
                Content::Open(builder) => Content::Sealed(pick.sealed(builder, compressor, pool)),
                Content::Ready(mut buffer) => {
                    pick.producer.stamp(&mut buffer);
                    Content::Sealed(pooled(buffer, pool))
                }
                Content::Sealed(bytes) if pick.restamp => {
                    // The capacity of the old buffer is not known here, so the new one has only the size of its bytes.
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
            // A batch that cannot be sealed is sent empty and the broker refuses it: no message is lost silently.
            Err(_) => Bytes::new(),
        }
    }
}

impl ProducerFields {
    /// Writes the fields into a sealed batch. Bytes that are no batch stay unchanged, and the broker refuses them.
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

/// Space left in a request.
pub(super) struct RequestSpace {
    version: i16,
    left: usize,
    /// Topics that are in the request already.
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

    /// Adds a batch of this size and its overhead if they fit. A batch too large for any request is sent alone: the request then
    /// exceeds its limit, by no more than the overhead for a batch within `batch_size` and `Accumulator::largest`.
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
