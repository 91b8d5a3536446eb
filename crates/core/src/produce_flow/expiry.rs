//! What time asks for: linger and `delivery_timeout_ms`; and the end of everything.
//!
//! Stations: accumulator, outbox. I/O thread, `abort_all` any. Reference: KIP-91.

use super::{Batch, Hold, ProduceFlow, Route};
use crate::accumulator::failure;
use crate::completion::{Failure, Outcome};
use crate::flow::Micros;

impl ProduceFlow {
    /// Expires what is too old; returns when to look again.
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
        next = earliest(next, self.acc.expected(now));
        for conn in self.conns.values().filter(|conn| conn.muted_until > now) {
            next = earliest(next, Some(conn.muted_until));
        }
        self.acc.looked(next);
        next
    }

    /// When time asks for something of a partition.
    fn due(&mut self, part: usize, now: Micros, limit: Micros) -> Option<Micros> {
        let entry = &self.acc.parts[part];
        let closed = entry.queue.iter().chain(&entry.flight);
        let expires = |created: Micros| created.saturating_add(limit);
        let closed = closed.filter(|batch| !batch.expired);
        let due = closed.map(|batch| expires(batch.created)).min();
        let Some(open) = &entry.open else {
            return due;
        };
        let lingers = matches!(entry.route, Route::To(_)) && entry.hold == Hold::No;
        let lingered = self.acc.has_lingered(entry, open, now);
        let at = if lingers && !lingered {
            self.acc.lingers_until(entry, open)
        } else {
            // One that has lingered and cannot go yet goes with the next answer, which ticks by itself.
            expires(open.created)
        };
        if lingers && lingered && entry.flight.is_empty() {
            self.acc.leaves(open.id);
        }
        earliest(due, Some(at))
    }

    pub(super) fn expire(&mut self, part: usize, now: Micros, limit: Micros) {
        let late = |created: Micros| created.saturating_add(limit) <= now;
        // In the order in which they were accepted, which is the order in which their outcomes are told.
        let stopped = self.expire_flight(part, now, late);
        if self.acc.parts[part]
            .open
            .as_ref()
            .is_some_and(|open| late(open.created))
        {
            self.acc.close_open(part);
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
            self.let_go(batch);
            if let Some(failed) = failed {
                self.fail_behind(part, &failed);
            }
        }
        if stopped && self.acc.parts[part].hold == Hold::No {
            self.begin_hold(part, "expired");
        }
    }

    /// What is late in flight has its outcome, and stays in line until its answer or the connection's end. Returns whether
    /// there was any.
    fn expire_flight(&mut self, part: usize, now: Micros, late: impl Fn(Micros) -> bool) -> bool {
        let mut flight = std::mem::take(&mut self.acc.parts[part].flight);
        let mut stopped = false;
        let mut first = None;
        for batch in flight
            .iter_mut()
            .filter(|batch| !batch.expired && late(batch.created))
        {
            batch.expired = true;
            stopped = true;
            first = first.or(self.expire_batch(part, batch, now));
        }
        self.acc.parts[part].flight = flight;
        if let Some(first) = first {
            self.fail_behind(part, &first);
        }
        stopped
    }

    /// The end of a batch whose time is up. Returns the failure that its messages have; None where they are in the log.
    fn expire_batch(&mut self, part: usize, batch: &Batch, now: Micros) -> Option<Failure> {
        if batch.overtaken {
            // It is in the log, only the answer that says where never came.
            self.written(part, batch, -1, -1);
            return None;
        }
        let outcome = batch.outcome();
        let mut message: String = match outcome {
            Outcome::NotWritten if batch.refused != 0 => {
                let code = batch.refused;
                format!("the broker refused it with error code {code} until delivery_timeout_ms")
            }
            Outcome::NotWritten => "it could not be sent before delivery_timeout_ms".into(),
            _ => "no answer came before delivery_timeout_ms".into(),
        };
        if let Some(trouble) = self.trouble_of(part, now) {
            message = format!("{message}: {trouble}");
        }
        let failed = failure("delivery_timeout", 0, &message, outcome);
        self.tell_and_fail(part, batch, failed.clone());
        Some(failed)
    }

    /// Fails everything that is not resolved, each batch with the outcome that its attempts leave. Returns how many messages.
    pub fn abort_all(&mut self, kind: &str, code: i16, message: &str) -> u64 {
        let before = self.acc.undelivered();
        for topic in self.acc.waiting_topics() {
            let index = self.acc.topic(&topic);
            let message = self.acc.with_trouble(index, message);
            self.acc
                .fail_topic(&topic, failure(kind, code, &message, Outcome::NotWritten));
        }
        for part in 0..self.acc.parts.len() {
            let entry = &self.acc.parts[part];
            let message = &match &entry.trouble {
                Some(trouble) => format!("{message}: {trouble}"),
                None => self.acc.with_trouble(entry.topic, message),
            };
            let mut flight = std::mem::take(&mut self.acc.parts[part].flight);
            for batch in &mut flight {
                // It stays in line, as what expired does, and its time is not looked at again.
                batch.expired = true;
                self.abort(batch, kind, code, message);
            }
            self.acc.parts[part].flight = flight;
            self.acc.close_open(part);
            for batch in std::mem::take(&mut self.acc.parts[part].queue) {
                self.abort(&batch, kind, code, message);
                self.let_go(batch);
            }
        }
        before - self.acc.undelivered()
    }

    fn abort(&mut self, batch: &Batch, kind: &str, code: i16, message: &str) {
        let count = u64::from(batch.count);
        if batch.overtaken {
            self.acc.written(&batch.completion, count, -1, -1);
            return;
        }
        let failed = failure(kind, code, message, batch.outcome());
        self.acc.fail(&batch.completion, count, failed);
    }
}

fn earliest(one: Option<Micros>, other: Option<Micros>) -> Option<Micros> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
