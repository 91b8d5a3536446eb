//! Timed work: linger and `delivery_timeout_ms`; and failing all messages at the end.
//!
//! Stations: accumulator, outbox. I/O thread, `abort_all` any. Reference: KIP-91.
//!
//! Invariant: an expired batch stays in flight until its answer arrives or its connection ends. Its deliveries are resolved, but its
//! sequence is still in use, and the partition may not continue past it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::failure::{Cause, ErrorData, ErrorKind, Failure, Outcome, Stage, Trouble};
use crate::ids::Micros;
use crate::produce::batch::Batch;
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::event::HoldCause;
use crate::produce::partition::{Hold, Partition, Route};

impl ProduceFlow {
    /// Expires old batches; returns the time of the next check.
    pub fn on_tick(&mut self, now: Micros) -> Option<Micros> {
        let mut next = self.acc.expire_waiting(now);
        let limit = self.acc.settings.delivery_timeout;
        let mut place = 0;
        while let Some(part) = self.acc.active.at(place) {
            place += 1;
            self.expire(part, now, limit);
            next = earliest(next, self.due(part, now, limit));
        }
        self.acc.forget_idle();
        next = earliest(
            next,
            self.acc.attention.expected(now, self.acc.settings.linger),
        );
        for conn in self.conns.values().filter(|conn| conn.muted_until > now) {
            next = earliest(next, Some(conn.muted_until));
        }
        self.acc.attention.end_turn(next);
        next
    }

    /// Next time at which a partition has to be checked.
    fn due(&mut self, part: usize, now: Micros, limit: Micros) -> Option<Micros> {
        let entry = &self.acc.parts[part];
        let flight = entry.flight.iter().filter(|batch| !batch.is_settled());
        let closed = entry.queue.iter().chain(flight);
        let expires = |created: Micros| created.saturating_add(limit);
        let due = closed.map(|batch| expires(batch.created)).min();
        let Some(open) = &entry.open else {
            return due;
        };
        let lingers = may_go(entry);
        let lingered = self.acc.has_lingered(entry, open, now);
        let at = if lingers && !lingered {
            self.acc.lingers_until(entry, open)
        } else {
            // A batch that has lingered and cannot be sent yet is sent with the next answer, which causes a tick.
            self.acc.ages_at(open.created)
        };
        if lingers && lingered && entry.flight.is_empty() {
            self.acc.attention.note_leaving(open.id);
        }
        earliest(due, Some(at))
    }

    pub(super) fn expire(&mut self, part: usize, now: Micros, limit: Micros) {
        let late = |created: Micros| created.saturating_add(limit) <= now;
        // In the order in which the messages were accepted, which is the order in which their outcomes are reported.
        let stopped = self.expire_flight(part, now, late);
        if self.is_stale(part, now) {
            self.acc.close_to_send(part);
        }
        while self.acc.parts[part]
            .queue
            .front()
            .is_some_and(|batch| late(batch.created))
        {
            let Some(batch) = self.acc.parts[part].queue.pop_front() else {
                break;
            };
            let failed = self.expire_batch(part, &batch, now);
            self.release_batch(batch);
            if let Some(failed) = failed {
                self.fail_behind_expired(part, &failed);
            }
        }
        if stopped && self.acc.parts[part].hold == Hold::No {
            self.begin_hold(part, HoldCause::Expired);
        }
    }

    /// Whether the open batch cannot be sent, and is so old that it accepts no more messages.
    fn is_stale(&self, part: usize, now: Micros) -> bool {
        let entry = &self.acc.parts[part];
        entry.open.as_ref().is_some_and(|open| {
            let lingers = may_go(entry) && !self.acc.has_lingered(entry, open, now);
            !lingers && self.acc.is_aged(open.created, now)
        })
    }

    /// Expires batches in flight. They stay in flight until their answer arrives or the connection ends. Returns whether there was
    /// any.
    fn expire_flight(&mut self, part: usize, now: Micros, late: impl Fn(Micros) -> bool) -> bool {
        let mut flight = std::mem::take(&mut self.acc.parts[part].flight);
        let mut stopped = false;
        let mut first = None;
        for batch in flight
            .iter_mut()
            .filter(|batch| !batch.is_settled() && late(batch.created))
        {
            stopped = true;
            first = first.or(self.expire_batch(part, batch, now));
        }
        self.acc.parts[part].flight = flight;
        if let Some(first) = first {
            self.fail_behind_expired(part, &first);
        }
        stopped
    }

    /// Expires a batch. Returns the failure of its messages; None where they are in the log.
    fn expire_batch(&mut self, part: usize, batch: &Batch, now: Micros) -> Option<Failure> {
        if batch.is_appended() {
            // It is in the log; only the answer with its offset is missing.
            self.written(part, batch, -1, -1);
            return None;
        }
        let outcome = batch.outcome();
        let stage = match batch.refused {
            0 if outcome == Outcome::NotWritten => Stage::Sending,
            0 => Stage::Answer,
            _ => Stage::Acknowledgement,
        };
        let trouble = self.trouble_of(part, batch.refused, now);
        let failed = Failure {
            cause: Cause::TimedOut { stage, trouble },
            outcome,
        };
        self.report_and_fail(part, batch, failed.clone());
        Some(failed)
    }

    /// Fails all unresolved messages, each batch with the outcome that follows from its attempts. Returns the number of messages.
    ///
    /// now: None where the time is not known.
    pub fn abort_all(&mut self, error: ErrorData, now: Option<Micros>) -> u64 {
        let error = Arc::new(error);
        let before = self.acc.undelivered();
        for topic in self.acc.waiting_topics() {
            let index = self.acc.topic(&topic);
            let trouble = self.acc.topics[index].trouble.clone();
            let failed = given_up(&error, Outcome::NotWritten, trouble);
            self.acc.fail_topic(&topic, failed);
        }
        for part in 0..self.acc.parts.len() {
            let failed = |flow: &Self, batch: &Batch| {
                let known = flow.known_trouble(part, batch.refused, now);
                given_up(&error, batch.outcome(), known)
            };
            let mut flight = std::mem::take(&mut self.acc.parts[part].flight);
            for batch in &mut flight {
                let failed = failed(self, batch);
                self.abort(part, batch, failed);
            }
            self.acc.parts[part].flight = flight;
            self.acc.close_open(part);
            for batch in std::mem::take(&mut self.acc.parts[part].queue) {
                let failed = failed(self, &batch);
                self.abort(part, &batch, failed);
                self.release_batch(batch);
            }
        }
        before - self.acc.undelivered()
    }

    /// Fails the messages of a partition that has no route and no hold, each with the outcome that follows from its attempts. The
    /// next message requests a route again. Returns the number of messages.
    pub fn fail_partition(&mut self, topic: &str, number: i32, error: ErrorData) -> u64 {
        let Some(part) = self.find(topic, number) else {
            return 0;
        };
        let entry = &self.acc.parts[part];
        if entry.route.conn().is_some() || entry.hold != Hold::No {
            return 0;
        }
        let error = Arc::new(error);
        let before = self.acc.undelivered();
        self.acc.close_open(part);
        for batch in std::mem::take(&mut self.acc.parts[part].queue) {
            let failed = given_up(&error, batch.outcome(), None);
            self.abort(part, &batch, failed);
            self.release_batch(batch);
        }
        self.acc.parts[part].route = Route::None;
        before - self.acc.undelivered()
    }

    /// Releases all batches, after everything was aborted and the connections have ended: no answer can arrive any more.
    pub fn end(&mut self) {
        for part in 0..self.acc.parts.len() {
            let flight = std::mem::take(&mut self.acc.parts[part].flight);
            let (left, over): (VecDeque<Batch>, VecDeque<Batch>) = flight
                .into_iter()
                .partition(|batch| batch.completion.is_pending());
            self.acc.parts[part].flight = left;
            over.into_iter().for_each(|batch| self.release_batch(batch));
        }
        self.conns.clear();
        for node in self.nodes.values_mut() {
            node.set_waiting_since(None);
        }
    }

    fn abort(&mut self, part: usize, batch: &Batch, failed: Failure) {
        if !batch.completion.is_pending() {
            return; // It expired, and its messages have their outcome.
        }
        if batch.is_appended() {
            self.written(part, batch, -1, -1);
        } else {
            self.report_and_fail(part, batch, failed);
        }
    }
}

/// Whether the partition may send: only then does its open batch linger.
fn may_go(entry: &Partition) -> bool {
    matches!(entry.route, Route::To(_)) && entry.hold == Hold::No
}

/// Failure of messages that are aborted with all others. A refusal by a broker is its own cause.
fn given_up(error: &Arc<ErrorData>, outcome: Outcome, trouble: Option<Trouble>) -> Failure {
    let trouble = trouble.filter(|_| error.kind != ErrorKind::Broker);
    let error = error.clone();
    Failure {
        cause: Cause::GivenUp { error, trouble },
        outcome,
    }
}

fn earliest(one: Option<Micros>, other: Option<Micros>) -> Option<Micros> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
