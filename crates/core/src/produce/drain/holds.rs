//! Holds: a partition stops, its batches are reported to the engine, and the decisions of the engine end the hold.
//!
//! Station: outbox. A hold begins on the I/O thread or the engine's; it is released by the engine.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::ids::Identity;
use crate::produce::batch::{Attempt, Batch};
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::event::{BadRelease, Decision, Event, HeldBatch, HoldCause};
use crate::produce::partition::Hold;

const NO_ID: [u8; 16] = [0; 16];

impl ProduceFlow {
    /// Begins a hold of a partition. One without batches in flight is reported at once.
    pub fn hold(&mut self, topic: &str, number: i32) {
        if let Some(part) = self.find(topic, number)
            && self.acc.parts[part].hold == Hold::No
        {
            self.begin_hold(part, HoldCause::Asked);
        }
    }

    pub(super) fn begin_hold(&mut self, part: usize, cause: HoldCause) {
        self.acc.parts[part].hold = Hold::Ending(cause);
        self.report_if_at_rest(part);
    }

    /// Reports a hold to the engine once every batch in flight has ended.
    pub(super) fn report_if_at_rest(&mut self, part: usize) {
        let entry = &mut self.acc.parts[part];
        let Hold::Ending(cause) = &entry.hold else {
            return;
        };
        if !entry
            .flight
            .iter()
            .all(|batch| batch.attempt != Attempt::InFlight)
        {
            return;
        }
        let cause = cause.clone();
        entry.hold = Hold::Reported { recreated: false };
        // Batches that were sent before and wait to be sent again belong to the hold: they have sequences and may be in the log.
        while entry.queue.front().is_some_and(Batch::was_sent) {
            entry.flight.extend(entry.queue.pop_front());
        }
        self.unroute(part);
        let entry = &self.acc.parts[part];
        let batches = entry
            .flight
            .iter()
            .map(|batch| HeldBatch {
                records: batch.count,
                bytes: batch.content.len_bytes(),
                attempts: batch.attempts,
                expired: batch.is_settled(),
                proof: batch.proof,
                may_be_written: batch.may_be_written(),
                answer: match &batch.attempt {
                    Attempt::Refused(answer) => Some(answer.clone()),
                    Attempt::None | Attempt::InFlight | Attempt::Lost => None,
                },
            })
            .collect();
        let topic = self.acc.topics[entry.topic].name.clone();
        let identity = entry.numbering.identity;
        self.acc.reports.events.push(Event::Held {
            topic,
            partition: entry.number,
            cause,
            batches,
            identity,
        });
    }

    /// Ends a hold as the engine decided.
    ///
    /// decisions: One for each batch that the event reported, in order. A batch whose messages got their outcome meanwhile
    ///     keeps it, independent of the decision.
    /// behind: Failure after which all messages that are not part of the hold fail too. Where all failing batches got their
    ///     outcome meanwhile, so did all messages behind them, and messages sent since then are not affected.
    /// identity: New identity of the partition, with sequences from 0.
    pub fn release(
        &mut self,
        topic: &str,
        number: i32,
        decisions: Vec<Decision>,
        behind: Option<&Failure>,
        identity: Option<Identity>,
    ) -> Result<(), BadRelease> {
        let Some(part) = self.find(topic, number) else {
            return Ok(());
        };
        let Hold::Reported { recreated } = self.acc.parts[part].hold else {
            return Ok(());
        };
        self.check_release(part, &decisions, identity.is_some())?;
        let flight = std::mem::take(&mut self.acc.parts[part].flight);
        let mut again: Vec<Batch> = Vec::new();
        let mut failed = false;
        for (batch, decision) in flight.into_iter().zip(decisions) {
            if batch.completion.is_pending() {
                failed |= matches!(decision, Decision::Fail(_) | Decision::FailRecords(_));
                self.decide(part, batch, decision, &mut again);
            } else {
                self.release_batch(batch);
            }
        }
        if let Some(first) = behind.filter(|_| failed) {
            self.fail_behind(part, first);
        }
        for mut batch in again.into_iter().rev() {
            self.complete_piece(part, &mut batch);
            self.acc.parts[part].queue.push_front(batch);
        }
        let entry = &mut self.acc.parts[part];
        if let Some(identity) = identity {
            entry.numbering.restart(identity);
            for batch in &mut entry.queue {
                batch.sequence = None;
            }
        }
        entry.hold = Hold::No;
        entry.numbering.forget_acknowledgement();
        if recreated {
            self.begin_hold(part, HoldCause::Recreated);
        } else if entry.has_work() {
            self.acc.request_route(part);
        }
        Ok(())
    }

    /// Refuses decisions that contradict the facts.
    fn check_release(
        &self,
        part: usize,
        decisions: &[Decision],
        new_identity: bool,
    ) -> Result<(), BadRelease> {
        let batches = &self.acc.parts[part].flight;
        if decisions.len() != batches.len() {
            return Err(BadRelease::Count {
                decisions: decisions.len(),
                batches: batches.len(),
            });
        }
        let pending =
            |(_, (batch, _)): &(usize, (&Batch, &Decision))| batch.completion.is_pending();
        for (position, (batch, decision)) in
            batches.iter().zip(decisions).enumerate().filter(pending)
        {
            match decision {
                Decision::Drop => return Err(BadRelease::Dropped(position)),
                // Under another identity it would be in the log twice.
                Decision::Retry if batch.is_appended() && new_identity => {
                    return Err(BadRelease::Overtaken(position));
                }
                Decision::Fail(_) | Decision::FailRecords(_) if batch.is_appended() => {
                    return Err(BadRelease::Overtaken(position));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Carries out the decision about a batch whose messages have no outcome.
    fn decide(
        &mut self,
        part: usize,
        mut batch: Batch,
        decision: Decision,
        again: &mut Vec<Batch>,
    ) {
        match decision {
            Decision::Retry => {
                // A later refusal proves nothing about this attempt.
                batch.proof = batch.proof_so_far();
                batch.attempt = Attempt::None;
                again.push(batch);
            }
            Decision::Split => {
                let pieces = self.refused_as_too_large(part, batch.content.len_bytes());
                let most = (batch.count as usize).div_ceil(pieces);
                self.rebuild(part, batch, &BTreeMap::new(), most, again);
            }
            Decision::Written => {
                self.written(part, &batch, -1, -1);
                self.release_batch(batch);
            }
            Decision::Drop => self.release_batch(batch),
            Decision::Fail(failed) => {
                self.report_and_fail(part, &batch, failed);
                self.release_batch(batch);
            }
            Decision::FailRecords(failed) => {
                self.rebuild(part, batch, &failed, usize::MAX, again);
            }
        }
    }

    /// Fails every message of a batch, and reports it.
    pub(super) fn report_and_fail(&mut self, part: usize, batch: &Batch, failed: Failure) {
        let (topic, number) = self.place_of(part);
        let count = u64::from(batch.count);
        self.acc
            .report_failure(&topic, number, count, failed.clone());
        self.acc.fail(&batch.completion, count, failed);
    }

    /// Applies new metadata of a topic. Where it is another topic under the same name, its partitions are held: the log that their
    /// batches were written to no longer exists, and sequences restart.
    pub fn set_topic(
        &mut self,
        name: &str,
        id: [u8; 16],
        partitions: usize,
        available: &[i32],
        near: &[i32],
    ) {
        let index = self.acc.topic(name);
        let before = self.acc.topics[index].id;
        if self.acc.topics[index].former.contains(&id) {
            return;
        }
        self.acc.set_topic(name, id, partitions, available, near);
        if before == id || before == NO_ID || id == NO_ID {
            return;
        }
        let buffer_bytes = self.acc.settings.buffer_bytes;
        self.acc.topics[index].former.push(before);
        self.acc.topics[index]
            .batching
            .topic_recreated(buffer_bytes);
        for part in self.acc.topics[index].parts.clone() {
            let entry = &mut self.acc.parts[part];
            let sent = entry.queue.front().is_some_and(Batch::was_sent);
            if entry.numbering.identity.is_none() && entry.flight.is_empty() && !sent {
                continue;
            }
            match entry.hold {
                Hold::No => self.begin_hold(part, HoldCause::Recreated),
                Hold::Ending(_) => entry.hold = Hold::Ending(HoldCause::Recreated),
                // The decisions of the pending release do not take it into account.
                Hold::Reported { .. } => entry.hold = Hold::Reported { recreated: true },
            }
        }
    }
}
