//! What a message and a batch weigh against the budget: the memory that they hold, not their bytes.
//!
//! Station: accumulator; under the producer's lock. Why: `docs/adr/0016-one-budget-one-queue.md`.

use crate::produce::batch::Batch;
use crate::record::encode::RECORD_SPARE;
use crate::record::header::HEADER_LEN;

/// What a batch takes beside its buffer: itself, its completion, its places in queues and requests.
pub(super) const BATCH_BYTES: usize = 512;

/// What a `Delivery` takes that is kept for readers of outcomes. The key and value in it are the caller's own objects.
pub(super) const DELIVERY_BYTES: usize = 128;

/// What a message can take beside the size of its record: a batch of its own. A message whose topic is not known takes less
/// than that: its entry in a list, and an allocation of no more bytes than its record.
pub(super) const fn beside_record(per_message: usize) -> usize {
    BATCH_BYTES + HEADER_LEN + RECORD_SPARE + per_message
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
