//! What somebody waits for does not linger for nobody.
//!
//! Lingering pays latency for larger batches. A caller that sleeps until its message is acknowledged pays it for nothing:
//! it sends nothing while it sleeps. So the open batches of its topic go at once, unless a batch of their partition is on its
//! way: then they go with its answer, and whoever sends meanwhile goes along. That is Nagle's rule (RFC 896), and bounds the
//! requests that waiting can cause to one for each partition and round trip.
//! Station: accumulator; under the producer's lock. See `docs/adr/0023-what-is-waited-for-does-not-linger.md`.

use std::sync::Arc;

use super::{Accumulator, Open};
use crate::completion::Completion;
use crate::flow::Micros;
use crate::produce_flow::Partition;

impl Accumulator {
    /// Somebody sleeps until this completion resolves.
    pub fn hurry(&mut self, completion: &Arc<Completion>) {
        let Some(&topic) = self.names.get(&completion.topic) else {
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
        if open.id >= self.topics[topic].hurried {
            self.topics[topic].hurried = self.next_batch;
            self.look();
        }
    }

    /// Whether an open batch has waited long enough for more.
    pub(crate) fn has_lingered(&self, entry: &Partition, open: &Open, now: Micros) -> bool {
        let topic = &self.topics[entry.topic];
        let is_hurried = open.id < topic.hurried && entry.flight.is_empty();
        is_hurried || open.created.saturating_add(topic.batching.set.linger) <= now
    }
}
