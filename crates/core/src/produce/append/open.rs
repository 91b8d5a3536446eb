//! Open batches: the sizes of their buffers, and their change into complete batches.
//!
//! Stations: accumulator → batch; under the producer's lock.

use crate::bytes::compression::codec::Codec;
use crate::bytes::pool::Fit;
use crate::ids::Micros;
use crate::produce::append::accumulator::Accumulator;
use crate::produce::append::charges::BATCH_BYTES;
use crate::produce::batch::{Attempt, Batch, Open, Proof};
use crate::produce::event::Event;
use crate::produce::partition::{Hold, Route};
use crate::record::encode::{BatchBuilder, RECORD_SPARE};
use crate::record::header::HEADER_LEN;

/// Bytes of the first buffer of a partition; it grows with its records. Later ones begin as large as the batches before them.
const FIRST_BUFFER: usize = 16 * 1024;
const SMALLEST_BUFFER: usize = 1024;
/// Size of the first record from which on the checksum of a batch is computed while it fills. For smaller records that gains less
/// than it costs `send`.
const SUMMED_FROM: usize = 1024;
/// One of k open batches begins with at most this part of the budget, divided by k: a thousand of them with one message in each
/// leave space for others, and the few of a busy producer begin at their full size.
const SHARE_OF_BUDGET: usize = 8;

impl Accumulator {
    /// Opens a batch or enlarges its buffer, so that a record of this size can be appended.
    #[cold]
    #[inline(never)]
    pub(super) fn make_ready(&mut self, part: usize, size: usize, now: impl FnOnce() -> Micros) {
        let takes = |open: &Open| open.takes(size);
        if !self.parts[part].open.as_ref().is_some_and(takes) {
            self.open_next(part, size, now());
        }
        let left = self.memory.left().saturating_sub(self.memory.per_message());
        let Some(open) = self.parts[part].open.as_mut() else {
            unreachable!("it was opened just now");
        };
        let (pool, limit) = (&self.memory.pool, open.limit);
        let before = open.builder.capacity_bytes();
        open.builder.make_ready(size, |small, least| {
            let fit = larger_fit(small.capacity(), least, limit, left);
            pool.exchange(small, fit)
        });
        let more = open.builder.capacity_bytes() - before;
        open.accounted += more;
        self.memory.take(more);
    }

    /// Opens a batch that a record of this size fits into, in place of the current one.
    fn open_next(&mut self, part: usize, size: usize, now: Micros) {
        self.close_open(part);
        self.open_batches.opened = true;
        self.open_batches.count += 1;
        self.note_use(self.parts[part].topic, now);
        let entry = &self.parts[part];
        let topic = &self.topics[entry.topic];
        let (limit, linger) = (topic.batching.limit, topic.batching.set.linger);
        let fit = self.first_fit(entry.last_bytes, size, limit);
        let mut builder = BatchBuilder::with_buffer(self.memory.pool.take(fit));
        if size >= SUMMED_FROM && topic.batching.set.compression.codec == Codec::None {
            builder = builder.summing();
        }
        let completion = self.completion(topic.name.clone(), entry.number);
        let accounted = builder.capacity_bytes() + BATCH_BYTES;
        self.memory.take(accounted);
        let id = self.batch_id();
        self.parts[part].open = Some(Open {
            id,
            builder,
            completion,
            created: now,
            accounted,
            limit,
        });
        let due = now.saturating_add(linger);
        self.attention.request_by(due);
        self.mark_active(part);
        self.request_route(part);
    }

    /// Size of the first buffer of a batch for a record of this size, where the batch before it had `last` bytes.
    ///
    /// The new batch is counted in `open_batches` already.
    fn first_fit(&self, last: usize, size: usize, limit: usize) -> Fit {
        let least = HEADER_LEN + size + RECORD_SPARE;
        let wish = match last {
            0 => FIRST_BUFFER,
            _ => last + size + RECORD_SPARE,
        };
        let share = self.settings.buffer_bytes / SHARE_OF_BUDGET / self.open_batches.count.max(1);
        let full = limit.saturating_add(RECORD_SPARE);
        Fit {
            least,
            wish: wish.min(full).min(share).max(SMALLEST_BUFFER).max(least),
            most: self
                .memory
                .left()
                .saturating_sub(BATCH_BYTES + self.memory.per_message()),
        }
    }

    /// Requests a route from the engine, once, for batches that wait for it.
    pub(crate) fn request_route(&mut self, part: usize) {
        let entry = &mut self.parts[part];
        if entry.route == Route::None && entry.hold == Hold::No {
            entry.route = Route::Wanted;
            let topic = self.topics[entry.topic].name.clone();
            self.reports
                .events
                .push(Event::RouteWanted(topic, entry.number));
        }
    }

    /// Closes the open batch: it is complete and ready to be sent.
    pub(in crate::produce) fn close_open(&mut self, part: usize) {
        if self.close_to_send(part) {
            self.attention.request();
        }
    }

    /// Same as `close_open`, called by the I/O thread, which needs no wake for a batch that it is about to send. False where none
    /// is open.
    pub(in crate::produce) fn close_to_send(&mut self, part: usize) -> bool {
        let Some(open) = self.parts[part].open.take() else {
            return false;
        };
        self.open_batches.count -= 1;
        let id = open.id;
        let count = open.builder.count();
        let bytes = open.builder.len_bytes();
        let content = self.complete(part, id, open.builder);
        let entry = &mut self.parts[part];
        // The size fades slowly, so that an occasional small batch does not make the next large one begin small.
        let faded = entry.last_bytes - entry.last_bytes / 8;
        entry.last_bytes = bytes.max(faded);
        entry.queue.push_back(Batch {
            id,
            count,
            content,
            raw: bytes,
            completion: open.completion,
            created: open.created,
            accounted: open.accounted,
            sequence: None,
            attempts: 0,
            attempt: Attempt::None,
            proof: Proof::None,
            refused: 0,
        });
        true
    }
}

/// Size of the next buffer of a batch that is full at `limit` bytes and has outgrown this capacity: twice as large, within the free
/// part of the budget (`left`).
fn larger_fit(capacity: usize, least: usize, limit: usize, left: usize) -> Fit {
    let full = limit.saturating_add(RECORD_SPARE);
    Fit {
        least,
        wish: (2 * capacity).min(full).max(least),
        most: capacity + left,
    }
}
