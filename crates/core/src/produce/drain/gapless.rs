//! `gapless`: where a record of a partition fails, everything behind it fails as well.
//!
//! Stations: accumulator, outbox. All of it under one lock, so that whoever hears of the first failure finds the partition
//! empty, and what is sent from then on begins anew. Reference: `docs/adr/0018-gapless.md`.

use std::collections::BTreeMap;

use crate::failure::{Cause, Failure, Outcome, failure};
use crate::produce::batch::Batch;
use crate::produce::drain::flow::ProduceFlow;

/// As `ottla.errors.from_native` takes it.
pub(super) const KIND: &str = "gapless";

/// The failure of what is behind the first one, which it names.
pub(crate) fn behind(first: &Failure, outcome: Outcome) -> Failure {
    if first.kind == KIND {
        return Failure {
            outcome,
            ..first.clone()
        };
    }
    let message = format!(
        "a message before it in the partition failed: {}",
        first.told()
    );
    Failure {
        cause: Some(Cause {
            kind: first.kind.clone(),
            code: first.code,
            message: first.message.clone(),
        }),
        ..failure(KIND, first.code, &message, outcome)
    }
}

impl ProduceFlow {
    /// Fails what waits behind a failure: the queue and the open batch, and what is in flight as far as it is pending.
    pub(super) fn fail_behind(&mut self, part: usize, first: &Failure) {
        if !self.acc.settings.gapless {
            return;
        }
        let mut flight = std::mem::take(&mut self.acc.parts[part].flight);
        for batch in flight
            .iter_mut()
            .filter(|batch| batch.completion.is_pending())
        {
            // It keeps its place until its attempt has ended: its sequence is on the way.
            if batch.is_appended() {
                self.written(part, batch, -1, -1);
            } else {
                self.tell_and_fail(part, batch, behind(first, batch.outcome()));
            }
        }
        self.acc.parts[part].flight = flight;
        self.acc.close_open(part);
        for batch in std::mem::take(&mut self.acc.parts[part].queue) {
            self.tell_and_fail(part, &batch, behind(first, batch.outcome()));
            self.let_go(batch);
        }
    }

    /// The failures of the records that the broker refuses, by index; with `gapless` also of all behind the first of them.
    pub(super) fn failures(
        &self,
        batch: &Batch,
        refused: BTreeMap<u32, String>,
        code: i16,
    ) -> BTreeMap<u32, Failure> {
        let outcome = batch.outcome();
        let mut failed: BTreeMap<u32, Failure> = refused
            .into_iter()
            .map(|(index, text)| (index, failure("broker", code, &text, outcome)))
            .collect();
        if self.acc.settings.gapless
            && let Some((&first, why)) = failed.first_key_value()
        {
            let behind = behind(why, outcome);
            for index in first..batch.count {
                failed.entry(index).or_insert_with(|| behind.clone());
            }
        }
        failed
    }
}
