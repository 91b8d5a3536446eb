//! Holds: a partition comes to rest, the engine is told the whole story, and its decisions end the hold.
//!
//! Station: outbox. A hold begins on the I/O thread or the engine's; it is released by the engine.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::ids::{ConnId, Identity};
use crate::produce::batch::{Attempt, Batch, Proof};
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::drain::gapless;
use crate::produce::event::{Decision, Event, HeldBatch};
use crate::produce::partition::Hold;

const RECREATED: &str = "recreated";
const NO_ID: [u8; 16] = [0; 16];

impl ProduceFlow {
    /// Brings a partition to rest. One without a route is told at once.
    pub fn hold(&mut self, topic: &str, number: i32) {
        if let Some(part) = self.find(topic, number)
            && self.acc.parts[part].hold == Hold::No
        {
            self.begin_hold(part, "asked");
        }
    }

    pub(super) fn begin_hold(&mut self, part: usize, cause: &str) {
        self.acc.parts[part].hold = Hold::Ending(cause.into());
        self.tell_if_at_rest(part);
    }

    /// Tells the engine about a hold once every batch in flight has ended.
    pub(super) fn tell_if_at_rest(&mut self, part: usize) {
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
        // What was sent before and waits to go again is part of the story: its sequence was given, it may be in the log.
        while entry.queue.front().is_some_and(Batch::was_sent) {
            entry.flight.extend(entry.queue.pop_front());
        }
        self.unroute(part);
        let entry = &self.acc.parts[part];
        let batches = entry
            .flight
            .iter()
            .map(|batch| HeldBatch {
                base_sequence: batch.sequence.map_or(-1, |sequence| sequence.first),
                records: batch.count,
                bytes: batch.content.len_bytes(),
                attempts: batch.attempts,
                sent: batch.was_sent(),
                expired: batch.is_settled(),
                unanswered: batch.proof != Proof::None,
                may_be_written: batch.may_be_written(),
                answer: match &batch.attempt {
                    Attempt::Refused(answer) => Some(answer.clone()),
                    Attempt::None | Attempt::InFlight | Attempt::Lost => None,
                },
            })
            .collect();
        let topic = self.acc.topics[entry.topic].name.clone();
        let identity = entry.numbering.identity;
        let identity = identity.map(|identity| (identity.producer_id, identity.epoch));
        self.acc.reports.events.push(Event::Held {
            topic,
            partition: entry.number,
            cause,
            batches,
            identity,
        });
    }

    /// Ends a hold. `decisions`: one for each batch that the event told, in order.
    pub fn release(
        &mut self,
        topic: &str,
        number: i32,
        decisions: Vec<Decision>,
        conn: Option<ConnId>,
        identity: Option<(i64, i16, i32)>,
    ) {
        let Some(part) = self.find(topic, number) else {
            return;
        };
        let Hold::Reported { .. } = self.acc.parts[part].hold else {
            return;
        };
        let flight = std::mem::take(&mut self.acc.parts[part].flight);
        let mut again: Vec<Batch> = Vec::new();
        let mut decisions = decisions.into_iter();
        let mut first_failure: Option<Failure> = None;
        for batch in flight {
            let mut decision = decisions.next().unwrap_or(Decision::Retry);
            if let Some(first) = &first_failure {
                decision = Decision::Fail(gapless::behind(first, batch.outcome()));
            }
            let gone = identity.is_some() && matches!(decision, Decision::Retry);
            if batch.is_appended() && (gone || matches!(decision, Decision::Fail(_))) {
                // It is in the log: under another identity it would be there twice.
                decision = Decision::Written(-1);
            }
            if !batch.completion.is_pending() {
                // It expired, or was given up: its messages have their outcome.
                self.let_go(batch);
                continue;
            }
            let failed = self.decide(part, batch, decision, &mut again);
            if self.acc.settings.gapless {
                first_failure = first_failure.or(failed);
            }
        }
        if let Some(first) = &first_failure {
            self.fail_behind(part, first);
        }
        for mut batch in again.into_iter().rev() {
            self.complete_piece(part, &mut batch);
            self.acc.parts[part].queue.push_front(batch);
        }
        let entry = &mut self.acc.parts[part];
        if let Some((producer_id, epoch, sequence)) = identity {
            let identity = Identity { producer_id, epoch };
            entry.numbering.restart(identity, sequence);
            for batch in &mut entry.queue {
                batch.sequence = None;
            }
        }
        let hold = std::mem::replace(&mut entry.hold, Hold::No);
        entry.numbering.forget_acknowledgement();
        if hold == (Hold::Reported { recreated: true }) {
            self.begin_hold(part, RECREATED);
            return;
        }
        match conn {
            Some(conn) => self.route(topic, number, conn),
            None if self.acc.parts[part].has_work() => self.acc.want_route(part),
            None => {}
        }
    }

    /// Carries out one decision; returns the failure, where messages failed by it.
    pub(super) fn decide(
        &mut self,
        part: usize,
        mut batch: Batch,
        decision: Decision,
        again: &mut Vec<Batch>,
    ) -> Option<Failure> {
        match decision {
            Decision::Retry => {
                // A later refusal proves nothing of this attempt.
                batch.proof = batch.proof_so_far();
                batch.attempt = Attempt::None;
                again.push(batch);
            }
            Decision::Written(base_offset) => {
                self.written(part, &batch, base_offset, -1);
                self.let_go(batch);
            }
            Decision::Fail(failed) => {
                self.tell_and_fail(part, &batch, failed.clone());
                self.let_go(batch);
                return Some(failed);
            }
            Decision::FailRecords(failed, code) => {
                let failed = self.failures(&batch, failed, code);
                self.rebuild(part, batch, &failed, usize::MAX, again);
                return failed.into_values().next();
            }
            Decision::Split => {
                let pieces = self.refused_as_too_large(part, batch.content.len_bytes());
                let most = (batch.count as usize).div_ceil(pieces);
                self.rebuild(part, batch, &BTreeMap::new(), most, again);
            }
        }
        None
    }

    /// Fails every message of a batch, and says so.
    pub(super) fn tell_and_fail(&mut self, part: usize, batch: &Batch, failed: Failure) {
        let (topic, number) = self.place_of(part);
        let count = u64::from(batch.count);
        self.acc.tell_failed(&topic, number, count, failed.clone());
        self.acc.fail(&batch.completion, count, failed);
    }

    /// A topic's metadata came or changed. Where it is another topic under the same name, its partitions come to rest: the
    /// log that could tell what was written is gone, and sequences begin anew.
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
        self.acc.topics[index].batching.made_anew(buffer_bytes);
        for part in self.acc.topics[index].parts.clone() {
            let entry = &mut self.acc.parts[part];
            let sent = entry.queue.front().is_some_and(Batch::was_sent);
            if entry.numbering.identity.is_none() && entry.flight.is_empty() && !sent {
                continue;
            }
            match entry.hold {
                Hold::No => self.begin_hold(part, RECREATED),
                Hold::Ending(_) => entry.hold = Hold::Ending(RECREATED.into()),
                // The release that is on its way knows nothing of it.
                Hold::Reported { .. } => entry.hold = Hold::Reported { recreated: true },
            }
        }
    }
}
