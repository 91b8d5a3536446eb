//! Charges of messages and batches against the budget: the memory that they occupy, not the bytes that are sent.
//!
//! Station: accumulator; under the producer's lock. Why: `docs/adr/0016-one-budget-one-queue.md`.

use crate::produce::batch::Batch;
use crate::record::encode::RECORD_SPARE;
use crate::record::header::HEADER_LEN;

/// Memory of a batch in addition to its buffer: the batch itself, its completion, its entries in queues and requests.
pub(super) const BATCH_BYTES: usize = 512;

/// Memory of a `Delivery` that is stored until its outcome was reported. The key and value in it are the caller's own objects.
pub const DELIVERY_BYTES: usize = 128;

/// Maximum overhead of a message in addition to its record: that of a batch with this message alone. A message whose topic is not
/// known takes less than that: its entry in a list, and an allocation of no more bytes than its record.
pub(super) const fn record_overhead(per_message: usize) -> usize {
    BATCH_BYTES + HEADER_LEN + RECORD_SPARE + per_message
}

/// Memory of a sealed batch: its buffer, and until its outcomes were reported their deliveries, with the keys and values.
///
/// `capacity`: that of its buffer.
pub(crate) fn sealed_bytes(batch: &Batch, capacity: usize, per_message: usize) -> usize {
    let deliveries = match per_message {
        0 => DELIVERY_BYTES * batch.completion.attached_count(),
        each => each * batch.count as usize,
    };
    let buffer = match deliveries {
        0 => capacity,
        _ => capacity.max(batch.raw),
    };
    buffer + BATCH_BYTES + deliveries
}
