//! Linger: how long an open batch waits for more messages. An awaited batch does not linger.
//!
//! Lingering costs latency and gains larger batches. A caller that sleeps until its message is acknowledged gains nothing, as it
//! sends no more while it sleeps. So the open batches of its topic are sent at once, unless a batch of their partition is in flight:
//! then they are sent when it is answered, with all messages that were sent until then. That is Nagle's rule (RFC 896), and limits
//! the requests that waiting can cause to one for each partition and round trip.
//! Station: accumulator; under the producer's lock. See `docs/adr/0023-awaited-messages-do-not-linger.md`
//! and `docs/adr/0024-fewer-wake-ups-for-linger.md`.

use std::sync::Arc;

use crate::ids::Micros;
use crate::produce::append::accumulator::Accumulator;
use crate::produce::batch::Open;
use crate::produce::completion::Completion;
use crate::produce::partition::Partition;

/// A batch that cannot be sent accepts messages for this part of `delivery_timeout_ms`.
const PARTS_OF_TIMEOUT: Micros = 8;

impl Accumulator {
    /// Ends the linger of the open batches of a topic, because a caller waits until this completion resolves.
    pub fn end_linger(&mut self, completion: &Arc<Completion>) {
        let Some(topic) = self.topics.find(&completion.topic) else {
            return;
        };
        let Ok(number) = usize::try_from(completion.partition()) else {
            return;
        };
        let Some(&part) = self.topics[topic].parts.get(number) else {
            return;
        };
        let open = self.parts[part].open.as_ref();
        let Some(open) = open.filter(|open| Arc::ptr_eq(&open.completion, completion)) else {
            return;
        };
        if open.id >= self.topics[topic].awaited_before {
            self.topics[topic].awaited_before = self.open_batches.next_id;
            self.attention.request();
        }
    }

    /// Whether a caller waits for the open batch, and no other batch of its partition is in front of it.
    fn is_awaited(&self, entry: &Partition, open: &Open) -> bool {
        let is_alone = entry.flight.is_empty() && entry.queue.is_empty();
        is_alone && open.id < self.topics[entry.topic].awaited_before
    }

    /// Whether an open batch has waited long enough for more.
    ///
    /// Three quarters of the linger are enough where the I/O thread is awake anyway: batches that were opened one after the other
    /// are sent in one request, and the thread need not wake again for one that is nearly due. Java sends every open batch for a
    /// broker together with any other.
    pub(crate) fn has_lingered(&self, entry: &Partition, open: &Open, now: Micros) -> bool {
        let linger = self.topics[entry.topic].batching.set.linger;
        self.is_awaited(entry, open) || open.created.saturating_add(linger - linger / 4) <= now
    }

    /// Latest time until which an open batch waits for more messages; 0 where a caller waits for it.
    pub(crate) fn lingers_until(&self, entry: &Partition, open: &Open) -> Micros {
        if self.is_awaited(entry, open) {
            return 0;
        }
        let linger = self.topics[entry.topic].batching.set.linger;
        open.created.saturating_add(linger)
    }

    /// Whether a message is so old that a new one may not share its batch. A batch has one expiry, that of its first message, so in
    /// an outage the newest message would have hardly any time left.
    pub(crate) fn is_aged(&self, created: Micros, now: Micros) -> bool {
        self.ages_at(created) <= now
    }

    pub(crate) fn ages_at(&self, created: Micros) -> Micros {
        created.saturating_add(self.settings.delivery_timeout / PARTS_OF_TIMEOUT)
    }
}
