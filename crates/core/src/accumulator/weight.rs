//! What a message and a batch weigh against the budget: the memory that they hold, not their bytes.
//!
//! Station: accumulator; under the producer's lock. Why: `docs/adr/0016-one-budget-and-one-line.md`.

use super::{Accumulator, Message, Stored};
use crate::flow::Micros;
use crate::produce_flow::Batch;
use crate::record::encode::BatchBuilder;

/// What a batch takes beside its buffer: itself, its completion, its places in queues and requests.
pub(super) const BATCH_BYTES: usize = 512;
/// What a `Delivery` takes that is kept for readers of outcomes. The key and value in it are the caller's own objects.
pub(super) const DELIVERY_BYTES: usize = 128;
/// What an allocation takes beside its bytes.
const ALLOCATION_BYTES: usize = 16;

/// What a stored message takes beside its bytes: the list's growth, and an allocation for each field.
pub(super) fn stored_bytes(message: &Message<'_>) -> usize {
    let fields = usize::from(message.key.is_some()) + usize::from(message.value.is_some());
    let header = size_of::<(Vec<u8>, Option<Vec<u8>>)>() + 2 * ALLOCATION_BYTES;
    size_of::<Stored>() * 3 / 2 + fields * ALLOCATION_BYTES + message.headers.len() * header
}

/// What a batch weighs that was sealed: its buffer, or as much as its outcomes weigh until they are read.
///
/// `held`: what its buffer takes.
pub(crate) fn sealed_bytes(batch: &Batch, held: usize, per_message: usize) -> usize {
    let held = match per_message {
        0 => held,
        _ => held.max(batch.raw),
    };
    held + BATCH_BYTES + per_message * batch.count as usize
}

impl Accumulator {
    /// What a batch that is not sealed weighs.
    pub(crate) fn open_bytes(&self, builder: &BatchBuilder) -> usize {
        builder.capacity_bytes() + BATCH_BYTES + self.per_message * builder.count() as usize
    }

    /// Bytes and messages that wait for a topic's metadata.
    pub(crate) fn stored(&self, topic: usize) -> (usize, u64) {
        match &self.topics[topic].waiting {
            Some(waiting) => (
                waiting.messages.iter().map(|stored| stored.bytes).sum(),
                waiting.messages.len() as u64,
            ),
            None => (0, 0),
        }
    }

    /// Since when.
    pub(crate) fn stored_since(&self, topic: usize) -> Option<Micros> {
        let waiting = self.topics[topic].waiting.as_ref()?;
        Some(waiting.created)
    }
}
