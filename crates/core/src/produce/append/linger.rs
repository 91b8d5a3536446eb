//! How long an open batch waits for more: what somebody waits for does not linger for nobody.
//!
//! Lingering pays latency for larger batches. A caller that sleeps until its message is acknowledged pays it for nothing:
//! it sends nothing while it sleeps. So the open batches of its topic go at once, unless a batch of their partition is on its
//! way: then they go with its answer, and whoever sends meanwhile goes along. That is Nagle's rule (RFC 896), and bounds the
//! requests that waiting can cause to one for each partition and round trip.
//! Station: accumulator; under the producer's lock. See `docs/adr/0023-awaited-messages-do-not-linger.md`
//! and `docs/adr/0024-fewer-wake-ups-for-linger.md`.

use std::sync::Arc;

use crate::ids::Micros;
use crate::produce::append::accumulator::Accumulator;
use crate::produce::batch::Open;
use crate::produce::completion::Completion;
use crate::produce::partition::Partition;

/// A batch that cannot go takes messages for this part of `delivery_timeout_ms`.
const PARTS_OF_TIMEOUT: Micros = 8;

impl Accumulator {
    /// Somebody sleeps until this completion resolves.
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

    /// Somebody waits for it, and nothing of its partition is in front of it.
    fn is_awaited(&self, entry: &Partition, open: &Open) -> bool {
        let is_alone = entry.flight.is_empty() && entry.queue.is_empty();
        is_alone && open.id < self.topics[entry.topic].awaited_before
    }

    /// Whether an open batch has waited long enough for more.
    ///
    /// Where the I/O thread is awake anyway, three quarters of the time are enough: batches that were opened one after the
    /// other leave in one request, and for one that is nearly due nobody has to wake again. Java sends whatever is open to a broker
    /// to which anything is sent.
    pub(crate) fn has_lingered(&self, entry: &Partition, open: &Open, now: Micros) -> bool {
        let linger = self.topics[entry.topic].batching.set.linger;
        self.is_awaited(entry, open) || open.created.saturating_add(linger - linger / 4) <= now
    }

    /// How long an open batch waits for more at the most; 0 where somebody waits for it.
    pub(crate) fn lingers_until(&self, entry: &Partition, open: &Open) -> Micros {
        if self.is_awaited(entry, open) {
            return 0;
        }
        let linger = self.topics[entry.topic].batching.set.linger;
        open.created.saturating_add(linger)
    }

    /// Whether so much of a message's time is over that none that comes now shares its batch: a batch has one time, that of its
    /// first message, and in an outage the last one to come would hardly have any.
    pub(crate) fn is_aged(&self, created: Micros, now: Micros) -> bool {
        self.ages_at(created) <= now
    }

    pub(crate) fn ages_at(&self, created: Micros) -> Micros {
        created.saturating_add(self.settings.delivery_timeout / PARTS_OF_TIMEOUT)
    }
}
