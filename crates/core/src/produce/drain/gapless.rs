//! `gapless`: after a failed record of a partition, all later ones fail too.
//!
//! Stations: accumulator, outbox. All of them fail under one lock, so that an application that receives the first failure
//! finds the partition empty and can send again from there. Reference: `docs/adr/0018-gapless.md`.

use crate::failure::Failure;
use crate::produce::drain::flow::ProduceFlow;

impl ProduceFlow {
    /// Fails everything behind an expired batch, with `gapless`.
    pub(super) fn fail_behind_expired(&mut self, part: usize, first: &Failure) {
        if self.acc.settings.gapless {
            self.fail_behind(part, first);
        }
    }

    /// Fails everything behind a failure: the queue and the open batch, and the batches in flight whose messages have no outcome.
    pub(super) fn fail_behind(&mut self, part: usize, first: &Failure) {
        let mut flight = std::mem::take(&mut self.acc.parts[part].flight);
        for batch in flight
            .iter_mut()
            .filter(|batch| batch.completion.is_pending())
        {
            // It stays in flight until its attempt has ended: its sequence is in use.
            if batch.is_appended() {
                self.written(part, batch, -1, -1);
            } else {
                self.report_and_fail(part, batch, first.behind(batch.outcome()));
            }
        }
        self.acc.parts[part].flight = flight;
        self.acc.close_open(part);
        for batch in std::mem::take(&mut self.acc.parts[part].queue) {
            self.report_and_fail(part, &batch, first.behind(batch.outcome()));
            self.release_batch(batch);
        }
    }
}
