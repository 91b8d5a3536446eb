//! Holds: a partition comes to rest, the engine is told the whole story, and its decisions end the hold.
//!
//! Station: outbox. A hold begins on the I/O thread or the engine's; it is released by the engine.

use std::collections::BTreeMap;

use super::{Batch, Decision, Event, HeldBatch, Hold, ProduceFlow, Route};
use crate::flow::{ConnId, Micros};

/// Answers that do not exclude that the batch is in the log: UNKNOWN_SERVER_ERROR, NOT_LEADER_OR_FOLLOWER,
/// REQUEST_TIMED_OUT, NETWORK_EXCEPTION, NOT_ENOUGH_REPLICAS_AFTER_APPEND, KAFKA_STORAGE_ERROR.
const MAYBE_WRITTEN: [i16; 6] = [-1, 6, 7, 13, 20, 56];

impl ProduceFlow {
    pub fn hold(&mut self, topic: &str, number: i32, now: Micros) {
        if let Some(part) = self.find(topic, number)
            && self.acc.parts[part].route != Route::None
            && self.acc.parts[part].hold == Hold::No
        {
            self.begin_hold(part, "asked", now);
        }
    }

    pub(super) fn begin_hold(&mut self, part: usize, cause: &str, now: Micros) {
        self.acc.parts[part].hold = Hold::Ending(cause.into());
        self.tell_if_at_rest(part, now);
    }

    /// Tells the engine about a hold once every batch in flight has ended.
    pub(super) fn tell_if_at_rest(&mut self, part: usize, now: Micros) {
        let entry = &mut self.acc.parts[part];
        let Hold::Ending(cause) = &entry.hold else {
            return;
        };
        if !entry.flight.iter().all(|batch| batch.answered) {
            return;
        }
        let cause = cause.clone();
        entry.hold = Hold::Told;
        if let Route::To(conn) = std::mem::replace(&mut entry.route, Route::None)
            && let Some(conn) = self.conns.get_mut(&conn)
        {
            conn.parts.retain(|other| *other != part);
        }
        let batches = entry
            .flight
            .iter()
            .map(|batch| HeldBatch {
                base_sequence: batch.sequence.map_or(-1, |(_, _, sequence)| sequence),
                records: batch.count,
                bytes: batch.accounted,
                attempts: batch.attempts,
                sent: batch.sent,
                expired: batch.expired,
                unanswered: batch.unanswered,
                answer: batch.answer.clone(),
                age: now.saturating_sub(batch.created),
            })
            .collect();
        let topic = self.acc.topics[entry.topic].name.clone();
        self.acc.events.push(Event::Held {
            topic,
            partition: entry.number,
            cause,
            batches,
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
        if self.acc.parts[part].hold != Hold::Told {
            return;
        }
        let flight = std::mem::take(&mut self.acc.parts[part].flight);
        let mut again: Vec<Batch> = Vec::new();
        let mut decisions = decisions.into_iter();
        for batch in flight {
            let mut decision = decisions.next().unwrap_or(Decision::Retry);
            if batch.overtaken && identity.is_some() && matches!(decision, Decision::Retry) {
                // It is in the log: under another identity it would be there twice.
                decision = Decision::Written(-1);
            }
            if batch.completion.is_pending() {
                self.decide(part, batch, decision, &mut again);
            } else {
                // It expired, or was given up: its messages have their outcome.
                self.forget(batch);
            }
        }
        let entry = &mut self.acc.parts[part];
        for batch in again.into_iter().rev() {
            entry.queue.push_front(batch);
        }
        if let Some((producer_id, epoch, sequence)) = identity {
            entry.identity = Some((producer_id, epoch));
            entry.next_sequence = sequence;
            for batch in &mut entry.queue {
                batch.sequence = None;
            }
        }
        entry.hold = Hold::No;
        entry.wanted = false;
        entry.acknowledged = None;
        match conn {
            Some(conn) => self.route(topic, number, conn),
            None if self.acc.parts[part].has_work() => self.acc.want_route(part),
            None => {}
        }
    }

    pub(super) fn decide(
        &mut self,
        part: usize,
        mut batch: Batch,
        decision: Decision,
        again: &mut Vec<Batch>,
    ) {
        let count = u64::from(batch.count);
        match decision {
            Decision::Retry => {
                let code = batch.answer.as_ref().map(|answer| answer.code);
                // A later refusal proves nothing of this attempt.
                batch.unanswered |= code.is_some_and(|code| MAYBE_WRITTEN.contains(&code));
                batch.answered = false;
                batch.answer = None;
                again.push(batch);
            }
            Decision::Written(base_offset) => {
                self.acc.written(&batch.completion, count, base_offset, -1);
                self.let_go(batch);
            }
            Decision::Fail(failed) => {
                let (topic, number) = self.place_of(part);
                self.acc.tell_failed(
                    &topic,
                    number,
                    count,
                    &failed.kind,
                    failed.code,
                    &failed.message,
                    failed.outcome,
                );
                self.acc.fail(&batch.completion, count, failed);
                self.let_go(batch);
            }
            Decision::FailRecords(failed, code) => {
                self.rebuild(part, batch, &failed, code, usize::MAX, again)
            }
            Decision::Split => {
                let half = (batch.count as usize).div_ceil(2);
                self.rebuild(part, batch, &BTreeMap::new(), 0, half, again);
            }
        }
    }
}
