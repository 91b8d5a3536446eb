//! For tests only (cargo feature `testing`): initial states for scripts of events, and checks of invariants for the random model.
//!
//! Under the producer's lock.

use crate::bytes::compression::codec::Cost;
use crate::ids::Micros;
use crate::produce::batch::Content;
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::partition::{Hold, Partition, Route};
use crate::produce::shared::ProduceShared;
use crate::seam::Flow;

impl ProduceShared {
    /// Seals the batches that are to be sealed ahead, in the calling thread.
    pub fn seal_here(&self) {
        let next = || {
            self.next_seal(Cost::Low)
                .or_else(|| self.next_seal(Cost::High))
        };
        while let Some(job) = next() {
            let done = job.run(&mut self.compressor.lock());
            self.on_sealed(done);
        }
    }
}

impl ProduceFlow {
    /// Assumes that the partition had its first acknowledgement.
    pub fn assume_acknowledged(&mut self, topic: &str, number: i32, now: Micros) {
        if let Some(part) = self.find(topic, number) {
            self.acc.parts[part].numbering.acknowledge(now);
        }
    }

    /// Assumes that the partition has sent messages, so that its next sequence is `next`. None: there is no such partition.
    pub fn assume_sequence(&mut self, topic: &str, number: i32, next: i32) -> Option<()> {
        let part = self.find(topic, number)?;
        self.acc.parts[part].numbering.next = next;
        Some(())
    }

    /// Seals batches of this size and more ahead, with any codec.
    pub fn seal_ahead_from(&mut self, bytes: usize) {
        self.acc.seals.forced_from = Some(bytes);
    }

    /// Checks that each partition with batches is active once, and listed once where it has a route.
    pub fn check_lists(&self) {
        let unsorted = self.acc.active.unsorted();
        for (part, entry) in self.acc.parts.iter().enumerate() {
            let count = |list: &[usize]| list.iter().filter(|other| **other == part).count();
            let (mut listed, mut routed) = (count(unsorted), 0);
            for (id, conn) in &self.conns {
                let here = (count(&conn.todo), count(&conn.parts));
                assert!(
                    here == (0, 0) || entry.route == Route::To(*id),
                    "{part} is in the lists of a connection that it is not routed to"
                );
                listed += here.0;
                routed += here.1;
            }
            let active = self.acc.active.iter().filter(|other| *other == part);
            assert_eq!(listed, usize::from(entry.listed), "{part} is listed");
            assert_eq!(
                active.count(),
                usize::from(entry.active),
                "{part} is active"
            );
            let has_route = entry.route.conn().is_some();
            assert_eq!(routed, usize::from(has_route), "{part} is routed");
            let has_work = entry.has_work();
            assert!(entry.active || !has_work && entry.flight.is_empty());
            assert!(
                entry.listed || !has_work || !has_route,
                "{part} is forgotten"
            );
            let waits = has_work && !has_route && entry.hold == Hold::No;
            assert!(
                entry.route == Route::Wanted || !waits,
                "{part} wants no route"
            );
        }
    }

    /// Checks that nothing is due while the I/O thread sleeps from `now` to `until`.
    pub fn check_sleep(&self, now: Micros, until: Option<Micros>) {
        for (part, entry) in self.acc.parts.iter().enumerate() {
            if let Some(due) = self.checked_by(entry, now) {
                assert!(
                    until.is_some_and(|until| until <= due),
                    "{part} is due at {due}: at {now} the I/O thread sleeps until {until:?}"
                );
            }
        }
    }

    /// Latest time at which the I/O thread has to check a partition.
    fn checked_by(&self, entry: &Partition, now: Micros) -> Option<Micros> {
        let closed = entry.flight.iter().chain(&entry.queue);
        let closed = closed.filter(|batch| !batch.is_settled());
        let created = closed.map(|batch| batch.created);
        let created = created.chain(entry.open.as_ref().map(|open| open.created));
        let limit = self.acc.settings.delivery_timeout;
        let expires = created.min().map(|created| created + limit);
        expires.into_iter().chain(self.leaves_at(entry, now)).min()
    }

    /// Time at which its next batch has to be sent; None where that does not depend on time alone.
    fn leaves_at(&self, entry: &Partition, now: Micros) -> Option<Micros> {
        let settings = &self.acc.settings;
        let Route::To(conn) = entry.route else {
            return None;
        };
        let conn = &self.conns[&conn];
        let is_alone = settings.idempotent && !entry.numbering.is_proven(now);
        let in_flight = if is_alone { 1 } else { settings.in_flight };
        if entry.hold != Hold::No
            || entry.flight.len() >= in_flight
            || conn.requests.len() >= settings.in_flight
            || (settings.idempotent && entry.numbering.identity.or(self.identity).is_none())
        {
            return None;
        }
        let ready = match (entry.queue.front(), &entry.open) {
            (Some(batch), _) => match batch.content {
                Content::Queued(_) | Content::BeingSealed => return None,
                _ => now,
            },
            (None, Some(open)) => self.acc.lingers_until(entry, open),
            (None, None) => return None,
        };
        Some(ready.max(conn.muted_until))
    }
}
