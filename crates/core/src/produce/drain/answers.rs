//! Answers of brokers, and connections that are lost with requests in flight.
//!
//! Stations: response → delivery. I/O thread. Java: `Sender.handleProduceResponse`.

use std::collections::VecDeque;

use crate::ids::{ConnId, Micros};
use crate::produce::batch::{Attempt, Batch, Proof};
use crate::produce::drain::conn::Entry;
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::event::{Event, HoldCause};
use crate::produce::partition::{Hold, Route};
use crate::produce::wire::{self, Answer};
use crate::seam::{BadResponse, LostCause};

const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
/// The broker has the batch already: an earlier attempt was appended and its answer lost.
const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;

impl ProduceFlow {
    pub fn on_response(
        &mut self,
        conn: ConnId,
        token: u64,
        frame: &[u8],
        now: Micros,
    ) -> Result<(), BadResponse> {
        let Some(version) = self.conns.get(&conn).map(|conn| conn.version) else {
            return Ok(());
        };
        let response = wire::decode_response(version, frame).map_err(|error| {
            BadResponse(format!("the Produce response cannot be read: {error}"))
        })?;
        let Some(request) = self.take_request(conn, token) else {
            return Err(BadResponse(
                "a Produce response that was not asked for".into(),
            ));
        };
        if let Some(known) = self.conns.get(&conn) {
            let oldest = known.requests.front().map(|request| request.sent);
            let stats = self.nodes.entry(known.node).or_default();
            stats.note_answer(request.sent, oldest, now);
        }
        if response.throttle_time_ms > 0 {
            self.acc
                .reports
                .events
                .push(Event::Throttled(conn, response.throttle_time_ms));
            // The broker enforces its quota itself (KIP-219), so a pause longer than the request timeout gains nothing, and a
            // garbled number would silence the connection for weeks.
            let asked = Micros::from(response.throttle_time_ms.unsigned_abs()) * 1000;
            let muted = asked.min(self.acc.settings.request_timeout);
            if let Some(known) = self.conns.get_mut(&conn) {
                self.nodes.entry(known.node).or_default().throttle_ms += muted / 1000;
                if version >= 6 {
                    known.muted_until = now + muted;
                }
            }
        }
        let mut answers = response.partitions;
        for Entry { part, id, topic_id } in request.entries {
            let entry = &self.acc.parts[part];
            let topic = &self.acc.topics[entry.topic];
            let position = answers.iter().position(|answer| {
                answer.partition == entry.number
                    && (*answer.name == *topic.name
                        || (answer.name.is_empty() && answer.id == topic_id))
            });
            match position {
                Some(position) => {
                    let answer = answers.swap_remove(position).answer;
                    self.apply(part, id, answer, now);
                }
                None => {
                    return Err(BadResponse(format!(
                        "the Produce response leaves out {}-{}",
                        topic.name, entry.number
                    )));
                }
            }
            self.report_if_at_rest(part);
        }
        Ok(())
    }

    /// With acks=0 there is no answer: a request that the socket has taken counts as written.
    pub fn on_taken(&mut self, conn: ConnId, token: u64, now: Micros) {
        let Some(request) = self.take_request(conn, token) else {
            return;
        };
        if let Some(known) = self.conns.get(&conn) {
            let oldest = known.requests.front().map(|request| request.sent);
            self.nodes
                .entry(known.node)
                .or_default()
                .set_waiting_since(oldest);
        }
        for entry in request.entries {
            let answer = Answer {
                base_offset: -1,
                log_append_time: -1,
                ..Answer::default()
            };
            self.apply(entry.part, entry.id, answer, now);
            self.report_if_at_rest(entry.part);
        }
    }

    pub(super) fn apply(&mut self, part: usize, id: u64, answer: Answer, now: Micros) {
        let entry = &mut self.acc.parts[part];
        let Some(position) = entry.flight.iter().position(|batch| batch.id == id) else {
            return;
        };
        // A broker recognizes only the last five batches as duplicates: for an older one that it has, it answers "out of order".
        let known = answer.code == DUPLICATE_SEQUENCE_NUMBER
            || (answer.code == OUT_OF_ORDER_SEQUENCE_NUMBER
                && entry.flight[position].is_appended());
        if answer.code == 0 || known {
            overtake(&mut entry.flight, position);
            entry.numbering.acknowledge(now);
            self.acc.attention.note_flow();
            let entry = &mut self.acc.parts[part];
            if let Some(batch) = entry.flight.remove(position) {
                let base_offset = if answer.code == 0 {
                    answer.base_offset
                } else {
                    -1
                };
                self.written(part, &batch, base_offset, answer.log_append_time);
                self.release_batch(batch);
            }
            return;
        }
        let batch = &mut entry.flight[position];
        batch.refused = answer.code;
        batch.attempt = Attempt::Refused(answer);
        if entry.hold == Hold::No {
            entry.hold = Hold::Ending(HoldCause::Answer);
        }
    }

    /// Resolves a batch that is in the log; messages that have an outcome already keep it.
    pub(super) fn written(
        &mut self,
        part: usize,
        batch: &Batch,
        base_offset: i64,
        append_time: i64,
    ) {
        let count = u64::from(batch.count);
        let first = self
            .acc
            .written(&batch.completion, count, base_offset, append_time);
        if first && self.acc.reports.watched {
            let (topic, partition) = self.place_of(part);
            self.acc.reports.events.push(Event::BatchAcked {
                topic,
                partition,
                records: batch.count,
                bytes: batch.content.len_bytes(),
                base_offset,
                attempts: batch.attempts,
                created: batch.created,
            });
        }
    }

    pub fn on_lost(&mut self, conn: ConnId, cause: &LostCause, now: Micros) {
        self.sort_listed();
        let Some(lost) = self.conns.remove(&conn) else {
            return;
        };
        self.nodes.entry(lost.node).or_default().note_loss(now);
        // With acks=0, a request that is still listed has not been taken by the socket completely, and a broker reads whole requests.
        let may_be_written = self.acc.settings.acks != 0;
        for part in lost.parts {
            let entry = &mut self.acc.parts[part];
            entry.route = Route::None;
            entry.listed = false;
            let open = |batch: &&mut Batch| batch.attempt == Attempt::InFlight;
            for batch in entry.flight.iter_mut().filter(open) {
                batch.attempt = Attempt::Lost;
                if may_be_written {
                    batch.doubt();
                }
            }
            if entry.flight.is_empty() && entry.hold == Hold::No {
                if entry.has_work() {
                    self.acc.request_route(part);
                }
                continue;
            }
            if entry.hold == Hold::No {
                entry.hold = Hold::Ending(HoldCause::Lost(cause.clone()));
            }
            self.report_if_at_rest(part);
        }
    }
}

/// Marks the batches in front of an acknowledged one, under the same identity, as appended, also against their own answers.
fn overtake(flight: &mut VecDeque<Batch>, position: usize) {
    let identity = |batch: &Batch| batch.sequence.map(|sequence| sequence.identity);
    let acknowledged = identity(&flight[position]);
    for batch in flight.range_mut(..position) {
        if acknowledged.is_some() && identity(batch) == acknowledged {
            batch.proof = Proof::Appended;
        }
    }
}
