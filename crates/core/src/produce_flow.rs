//! The produce flow: batches of routed partitions to the broker and back, and holds for everything else.
//!
//! Stations: batch → outbox → request → response → delivery. A state machine without I/O: time is passed in, requests come
//! out. While a partition flows nobody is asked. An error code, a lost connection, an expiry or a wish to hold stops it:
//! what is in flight ends first, then one `Held` event tells the whole story, and `release` says how to go on.
//! References: KIP-98, KIP-126, KIP-360, KIP-467; Java: `Sender`, `RecordAccumulator.drain`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::accumulator::{Accumulator, Open, Settings, failure};
use crate::completion::{Completion, Failure, Outcome, Place};
use crate::flow::{BadResponse, ConnId, LostCause, Micros, OutRequest};
use crate::pool::Pooled;
use crate::produce_wire::{self, Answer, Head, TopicBatches};
use crate::record::decode::iter_batches;
use crate::record::encode::{BatchBuilder, HeaderRef, ProducerFields, seal, set_producer_fields};
use crate::record::header::HEADER_LEN;

/// Kafka's sequences go round after this one.
const LAST_SEQUENCE: i64 = i32::MAX as i64;
const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;

pub(crate) enum Content {
    /// Not sealed yet: sealing happens outside the lock, when the batch is first sent.
    Open(BatchBuilder),
    Sealed(Bytes),
    /// Being sealed by the I/O thread.
    Away,
}

pub(crate) struct Batch {
    pub id: u64,
    pub content: Content,
    pub completion: Arc<Completion>,
    pub count: u32,
    pub created: Micros,
    pub accounted: usize,
    /// Producer id, epoch and first sequence, from the first time that it was sent.
    pub sequence: Option<(i64, i16, i32)>,
    pub attempts: u32,
    pub sent: bool,
    /// An attempt ended without an answer.
    pub unanswered: bool,
    /// Its time is up and its messages have their outcome; it stays in line until its answer or the connection's end.
    pub expired: bool,
    /// Its attempt has ended, one way or the other.
    pub answered: bool,
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    None,
    To(ConnId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    No,
    /// Nothing more is sent; what is in flight ends.
    Ending(String),
    /// The engine has been told and has not answered.
    Told,
}

pub(crate) struct Partition {
    pub topic: usize,
    pub number: i32,
    pub open: Option<Open>,
    /// Ready and not in flight, in order.
    pub queue: VecDeque<Batch>,
    /// In flight, in order; after a hold, waiting for the engine's decisions.
    pub flight: VecDeque<Batch>,
    pub route: Route,
    pub hold: Hold,
    pub wanted: bool,
    identity: Option<(i64, i16)>,
    next_sequence: i32,
    /// Size of the last batch: how large the next one's first buffer is.
    pub last_bytes: usize,
}

impl Partition {
    pub fn new(topic: usize, number: i32) -> Self {
        Self {
            topic,
            number,
            open: None,
            queue: VecDeque::new(),
            flight: VecDeque::new(),
            route: Route::None,
            hold: Hold::No,
            wanted: false,
            identity: None,
            next_sequence: 0,
            last_bytes: 0,
        }
    }

    fn has_work(&self) -> bool {
        self.open.is_some() || !self.queue.is_empty()
    }
}

struct Request {
    token: u64,
    entries: Vec<(usize, u64)>,
}

struct Conn {
    version: i16,
    parts: Vec<usize>,
    /// Where the next request begins to collect, so that no partition starves.
    start: usize,
    requests: VecDeque<Request>,
    muted_until: Micros,
}

/// A batch of a held partition as the engine is told.
#[derive(Debug, Clone)]
pub struct HeldBatch {
    pub base_sequence: i32,
    pub records: u32,
    pub bytes: usize,
    pub attempts: u32,
    pub sent: bool,
    pub expired: bool,
    pub unanswered: bool,
    pub answer: Option<Answer>,
    pub age: Micros,
}

/// What the engine is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// Messages wait for a topic's metadata.
    Topic(Arc<str>),
    /// Batches wait and there is no route.
    Wanted(Arc<str>, i32),
    Held {
        topic: Arc<str>,
        partition: i32,
        cause: String,
        batches: Vec<HeldBatch>,
    },
    Failed {
        topic: Arc<str>,
        partition: i32,
        records: u64,
        failure: Failure,
    },
    Throttled(ConnId, i32),
}

/// What is to become of a held batch.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Again, the same bytes and sequence.
    Retry,
    Fail(Failure),
    /// Only these records fail; the rest is a new batch.
    FailRecords(BTreeMap<u32, String>, i16),
    /// Two batches of half the records each.
    Split,
    Written(i64),
}

/// A batch on its way into a request: what is not sealed is sealed without the lock.
pub struct Pick {
    part: usize,
    id: u64,
    topic: Arc<str>,
    topic_id: [u8; 16],
    number: i32,
    content: Content,
    producer: ProducerFields,
    restamp: bool,
}

/// A request whose batches are chosen.
pub struct Plan {
    conn: ConnId,
    version: i16,
    token: u64,
    picks: Vec<Pick>,
}

pub struct ProduceFlow {
    pub acc: Accumulator,
    conns: HashMap<ConnId, Conn>,
    identity: Option<(i64, i16)>,
    next_token: u64,
}

impl ProduceFlow {
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            acc: Accumulator::new(settings, seed),
            conns: HashMap::new(),
            identity: None,
            next_token: 1,
        }
    }

    // ---- tables ----------------------------------------------------------------------------------------------------

    /// The identity of partitions that have not sent anything yet.
    pub fn set_identity(&mut self, producer_id: i64, epoch: i16) {
        self.identity = Some((producer_id, epoch));
    }

    pub fn attach(&mut self, conn: ConnId, version: i16) {
        let made = Conn {
            version,
            parts: Vec::new(),
            start: 0,
            requests: VecDeque::new(),
            muted_until: 0,
        };
        self.conns.insert(conn, made);
    }

    fn find(&mut self, topic: &str, number: i32) -> Option<usize> {
        let index = self.acc.topic(topic);
        self.acc.topics[index]
            .parts
            .get(usize::try_from(number).ok()?)
            .copied()
    }

    pub fn route(&mut self, topic: &str, number: i32, conn: ConnId) {
        let Some(part) = self.find(topic, number) else {
            return;
        };
        let entry = &mut self.acc.parts[part];
        if entry.route != Route::None || entry.hold != Hold::No {
            return;
        }
        entry.wanted = false;
        let Some(known) = self.conns.get_mut(&conn) else {
            // The connection was lost before the route came: ask for another one.
            if self.acc.parts[part].has_work() {
                self.acc.want_route(part);
            }
            return;
        };
        entry.route = Route::To(conn);
        known.parts.push(part);
    }

    pub fn hold(&mut self, topic: &str, number: i32, now: Micros) {
        if let Some(part) = self.find(topic, number)
            && self.acc.parts[part].route != Route::None
            && self.acc.parts[part].hold == Hold::No
        {
            self.begin_hold(part, "asked", now);
        }
    }

    // ---- requests --------------------------------------------------------------------------------------------------

    /// Chooses the batches of the next request on a connection.
    pub fn plan(&mut self, conn: ConnId, now: Micros) -> Option<Plan> {
        let known = self.conns.get(&conn)?;
        if known.requests.len() >= self.acc.settings.in_flight || known.muted_until > now {
            return None;
        }
        let (count, start, version) = (known.parts.len(), known.start, known.version);
        let mut picks = Vec::new();
        let mut bytes = 0;
        for step in 0..count {
            let part = self.conns.get(&conn)?.parts[(start + step) % count];
            if let Some(size) = self.ready(part, now) {
                if !picks.is_empty() && bytes + size > self.acc.settings.request_bytes {
                    continue;
                }
                bytes += size;
                picks.extend(self.pick(part));
            }
        }
        if picks.is_empty() {
            return None;
        }
        let token = self.next_token;
        self.next_token += 1;
        self.acc.counts.requests += 1;
        let known = self.conns.get_mut(&conn)?;
        known.start = (start + 1) % count.max(1);
        let entries = picks.iter().map(|pick| (pick.part, pick.id)).collect();
        known.requests.push_back(Request { token, entries });
        Some(Plan {
            conn,
            version,
            token,
            picks,
        })
    }

    /// The size of the partition's next batch, if it may be sent now.
    fn ready(&mut self, part: usize, now: Micros) -> Option<usize> {
        let settings = &self.acc.settings;
        let entry = &self.acc.parts[part];
        if entry.hold != Hold::No || entry.flight.len() >= settings.in_flight {
            return None;
        }
        if settings.idempotent && entry.identity.is_none() && self.identity.is_none() {
            return None;
        }
        if entry.queue.is_empty() {
            let open = entry.open.as_ref()?;
            if open.created.saturating_add(settings.linger) > now {
                return None;
            }
            self.acc.close_to_send(part);
        }
        Some(self.acc.parts[part].queue.front()?.accounted)
    }

    fn pick(&mut self, part: usize) -> Option<Pick> {
        let idempotent = self.acc.settings.idempotent;
        let transactional = self.acc.settings.transactional_id.is_some();
        let base = self.identity;
        let entry = &mut self.acc.parts[part];
        let mut batch = entry.queue.pop_front()?;
        let mut restamp = false;
        if idempotent && batch.sequence.is_none() {
            let (producer_id, epoch) = *entry.identity.get_or_insert(base?);
            batch.sequence = Some((producer_id, epoch, entry.next_sequence));
            entry.next_sequence = sequence_after(entry.next_sequence, batch.count);
            restamp = true;
        }
        let (producer_id, epoch, base_sequence) = batch.sequence.unwrap_or((-1, -1, -1));
        if batch.attempts > 0 {
            self.acc.counts.retries += 1;
        } else {
            self.acc.counts.batches += 1;
        }
        batch.attempts += 1;
        batch.sent = true;
        batch.answered = false;
        batch.answer = None;
        let content = match &mut batch.content {
            Content::Sealed(bytes) => Content::Sealed(bytes.clone()),
            other => std::mem::replace(other, Content::Away),
        };
        let topic = &self.acc.topics[entry.topic];
        let pick = Pick {
            part,
            id: batch.id,
            topic: topic.name.clone(),
            topic_id: topic.id,
            number: entry.number,
            content,
            producer: ProducerFields {
                producer_id,
                epoch,
                base_sequence,
                transactional,
            },
            restamp,
        };
        entry.flight.push_back(batch);
        Some(pick)
    }

    /// Takes the sealed bytes back and makes the request; called right after `Plan::seal`, by the same thread.
    pub fn finish(&mut self, plan: Plan, correlation_id: i32, now: Micros) -> OutRequest {
        let settings = self.acc.settings.clone();
        let mut topics: Vec<TopicBatches<'_>> = Vec::new();
        let mut accounting = 0isize;
        for pick in &plan.picks {
            let Content::Sealed(bytes) = &pick.content else {
                continue;
            };
            let flight = &mut self.acc.parts[pick.part].flight;
            if let Some(batch) = flight.iter_mut().find(|batch| batch.id == pick.id) {
                batch.content = Content::Sealed(bytes.clone());
                accounting += bytes.len() as isize - batch.accounted as isize;
                batch.accounted = bytes.len();
            }
            match topics.iter_mut().find(|topic| *topic.name == *pick.topic) {
                Some(topic) => topic.batches.push((pick.number, bytes.clone())),
                None => topics.push(TopicBatches {
                    name: &pick.topic,
                    id: pick.topic_id,
                    batches: vec![(pick.number, bytes.clone())],
                }),
            }
        }
        self.acc.used = self.acc.used.saturating_add_signed(accounting);
        let head = Head {
            version: plan.version,
            correlation_id,
            client_id: &settings.client_id,
            transactional_id: settings.transactional_id.as_deref(),
            acks: settings.acks,
            timeout_ms: (settings.request_timeout / 1000) as i32,
        };
        let segments = produce_wire::encode_request(head, &topics);
        let out = OutRequest {
            token: plan.token,
            segments,
            deadline: now.saturating_add(settings.request_timeout),
            expects_response: settings.acks != 0,
        };
        if settings.acks == 0 {
            self.hand_over(plan.conn, plan.token);
        }
        out
    }

    /// With acks=0 the socket's taking is all that is ever known.
    fn hand_over(&mut self, conn: ConnId, token: u64) {
        let Some(request) = self.take_request(conn, token) else {
            return;
        };
        for (part, id) in request.entries {
            let answer = Answer {
                base_offset: -1,
                log_append_time: -1,
                ..Answer::default()
            };
            self.apply(part, id, answer);
        }
    }

    fn take_request(&mut self, conn: ConnId, token: u64) -> Option<Request> {
        let requests = &mut self.conns.get_mut(&conn)?.requests;
        let position = requests.iter().position(|request| request.token == token)?;
        requests.remove(position)
    }

    // ---- answers ---------------------------------------------------------------------------------------------------

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
        let response = produce_wire::decode_response(version, frame).map_err(|error| {
            BadResponse(format!("the Produce response cannot be read: {error}"))
        })?;
        let Some(request) = self.take_request(conn, token) else {
            return Err(BadResponse(
                "a Produce response that was not asked for".into(),
            ));
        };
        if response.throttle_time_ms > 0 {
            self.acc
                .events
                .push(Event::Throttled(conn, response.throttle_time_ms));
            if version >= 6
                && let Some(known) = self.conns.get_mut(&conn)
            {
                known.muted_until = now + response.throttle_time_ms as Micros * 1000;
            }
        }
        let mut answers = response.partitions;
        for (part, id) in request.entries {
            let entry = &self.acc.parts[part];
            let topic = &self.acc.topics[entry.topic];
            let position = answers.iter().position(|answer| {
                answer.partition == entry.number
                    && (*answer.name == *topic.name
                        || (answer.name.is_empty() && answer.id == topic.id))
            });
            match position {
                Some(position) => {
                    let answer = answers.swap_remove(position).answer;
                    self.apply(part, id, answer);
                }
                None => {
                    return Err(BadResponse(format!(
                        "the Produce response leaves out {}-{}",
                        topic.name, entry.number
                    )));
                }
            }
            self.tell_if_at_rest(part, now);
        }
        Ok(())
    }

    fn apply(&mut self, part: usize, id: u64, answer: Answer) {
        let entry = &mut self.acc.parts[part];
        let Some(position) = entry.flight.iter().position(|batch| batch.id == id) else {
            return;
        };
        if answer.code == 0 || answer.code == DUPLICATE_SEQUENCE_NUMBER {
            if let Some(batch) = entry.flight.remove(position) {
                let base_offset = if answer.code == 0 {
                    answer.base_offset
                } else {
                    -1
                };
                self.acc.written(
                    &batch.completion,
                    u64::from(batch.count),
                    base_offset,
                    answer.log_append_time,
                );
                self.let_go(batch);
            }
            return;
        }
        let batch = &mut entry.flight[position];
        batch.answered = true;
        batch.answer = Some(answer);
        if entry.hold == Hold::No {
            entry.hold = Hold::Ending("answer".into());
        }
    }

    /// Gives back what a resolved batch took, or keeps it on the books until its outcomes are read.
    fn let_go(&mut self, batch: Batch) {
        if batch.completion.weigh(batch.accounted) {
            return;
        }
        self.acc.free(batch.accounted);
    }

    pub fn on_lost(&mut self, conn: ConnId, cause: &LostCause, now: Micros) {
        let Some(lost) = self.conns.remove(&conn) else {
            return;
        };
        let told = format!("lost:{}:{}", kind_name(cause), cause.message);
        for part in lost.parts {
            let entry = &mut self.acc.parts[part];
            entry.route = Route::None;
            for batch in entry.flight.iter_mut().filter(|batch| !batch.answered) {
                batch.answered = true;
                batch.unanswered = true;
            }
            if entry.flight.is_empty() && entry.hold == Hold::No {
                if entry.has_work() {
                    self.acc.want_route(part);
                }
                continue;
            }
            if entry.hold == Hold::No {
                entry.hold = Hold::Ending(told.clone());
            }
            self.tell_if_at_rest(part, now);
        }
    }

    // ---- holds -----------------------------------------------------------------------------------------------------

    fn begin_hold(&mut self, part: usize, cause: &str, now: Micros) {
        self.acc.parts[part].hold = Hold::Ending(cause.into());
        self.tell_if_at_rest(part, now);
    }

    /// Tells the engine about a hold once every batch in flight has ended.
    fn tell_if_at_rest(&mut self, part: usize, now: Micros) {
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
            let decision = decisions.next().unwrap_or(Decision::Retry);
            if batch.completion.is_pending() {
                self.decide(part, batch, decision, &mut again);
            } else {
                // It expired, or was given up: its messages have their outcome.
                self.let_go(batch);
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
        match conn {
            Some(conn) => self.route(topic, number, conn),
            None if self.acc.parts[part].has_work() => self.acc.want_route(part),
            None => {}
        }
    }

    fn decide(
        &mut self,
        part: usize,
        mut batch: Batch,
        decision: Decision,
        again: &mut Vec<Batch>,
    ) {
        let count = u64::from(batch.count);
        match decision {
            Decision::Retry => {
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

    fn place_of(&self, part: usize) -> (Arc<str>, i32) {
        let entry = &self.acc.parts[part];
        (self.acc.topics[entry.topic].name.clone(), entry.number)
    }

    /// New batches out of a sealed one: without the records that failed, at most `most` records in each.
    fn rebuild(
        &mut self,
        part: usize,
        batch: Batch,
        failed: &BTreeMap<u32, String>,
        code: i16,
        most: usize,
        again: &mut Vec<Batch>,
    ) {
        let Content::Sealed(bytes) = &batch.content else {
            again.push(batch);
            return;
        };
        let opened = iter_batches(bytes).next().and_then(Result::ok);
        let Some(decoded) = opened.and_then(|raw| raw.decode(usize::MAX).ok()) else {
            let message = "a batch could not be taken apart";
            let outcome = if batch.unanswered {
                Outcome::Unknown
            } else {
                Outcome::NotWritten
            };
            self.acc.fail(
                &batch.completion,
                u64::from(batch.count),
                failure("broker", code, message, outcome),
            );
            self.let_go(batch);
            return;
        };
        let (topic, number) = self.place_of(part);
        let mut places: Vec<Place> = Vec::new();
        let mut current: Option<(BatchBuilder, Arc<Completion>)> = None;
        let mut made: Vec<(BatchBuilder, Arc<Completion>)> = Vec::new();
        for index in 0..decoded.len() {
            if let Some(message) = failed.get(&(index as u32)) {
                let completion = self.acc.completion(topic.clone(), number);
                let outcome = if batch.unanswered {
                    Outcome::Unknown
                } else {
                    Outcome::NotWritten
                };
                self.acc
                    .fail(&completion, 1, failure("broker", code, message, outcome));
                places.push((completion, 0));
                continue;
            }
            if current
                .as_ref()
                .is_some_and(|(builder, _)| builder.count() as usize >= most)
            {
                made.extend(current.take());
            }
            let (builder, completion) = current.get_or_insert_with(|| {
                let buffer = self.acc.pool.take(bytes.len().max(HEADER_LEN));
                (
                    BatchBuilder::with_buffer(buffer),
                    self.acc.completion(topic.clone(), number),
                )
            });
            let Some(record) = decoded.record(index) else {
                continue;
            };
            let headers = decoded.headers(index).unwrap_or_default();
            let headers: Vec<HeaderRef<'_>> = headers
                .iter()
                .map(|header| (header.name.as_bytes(), header.value))
                .collect();
            let at = builder.append(record.timestamp_ms, record.key, record.value, &headers);
            places.push((completion.clone(), at));
        }
        made.extend(current);
        let mut sequence = batch.sequence;
        for (builder, completion) in made {
            let count = builder.count();
            let accounted = builder.capacity_bytes();
            self.acc.used += accounted;
            let mine = sequence.filter(|_| failed.is_empty());
            if let Some((_, _, first)) = &mut sequence {
                *first = sequence_after(*first, count);
            }
            again.push(Batch {
                id: self.acc.batch_id(),
                content: Content::Open(builder),
                completion,
                count,
                created: batch.created,
                accounted,
                sequence: mine,
                attempts: batch.attempts,
                sent: batch.sent,
                unanswered: batch.unanswered,
                expired: false,
                answered: false,
                answer: None,
            });
        }
        batch.completion.forward_to(places);
        self.acc.free(batch.accounted);
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// Expires what is too old; returns when to look again.
    pub fn on_tick(&mut self, now: Micros) -> Option<Micros> {
        let mut next = self.acc.expire_waiting(now);
        let settings = (self.acc.settings.linger, self.acc.settings.delivery_timeout);
        for part in 0..self.acc.parts.len() {
            self.expire(part, now, settings.1);
            let entry = &self.acc.parts[part];
            let dues = entry
                .queue
                .iter()
                .chain(&entry.flight)
                .filter(|batch| !batch.expired);
            let mut due = dues
                .map(|batch| batch.created.saturating_add(settings.1))
                .min();
            if let Some(open) = &entry.open {
                let lingers = matches!(entry.route, Route::To(_)) && entry.hold == Hold::No;
                let wait = if lingers { settings.0 } else { settings.1 };
                let at = open.created.saturating_add(wait);
                // A lingered batch that cannot go yet goes with the next answer, which ticks by itself.
                let at = if at <= now {
                    open.created.saturating_add(settings.1)
                } else {
                    at
                };
                due = Some(due.map_or(at, |due| due.min(at)));
            }
            next = match (next, due) {
                (Some(next), Some(due)) => Some(next.min(due)),
                (next, due) => next.or(due),
            };
        }
        for conn in self.conns.values().filter(|conn| conn.muted_until > now) {
            next = Some(next.map_or(conn.muted_until, |next| next.min(conn.muted_until)));
        }
        self.acc.looked(next);
        next
    }

    fn expire(&mut self, part: usize, now: Micros, limit: Micros) {
        let late = |created: Micros| created.saturating_add(limit) <= now;
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
                return;
            };
            self.expire_batch(part, &batch);
            self.let_go(batch);
        }
        let mut flight = std::mem::take(&mut self.acc.parts[part].flight);
        let mut stopped = false;
        for batch in flight
            .iter_mut()
            .filter(|batch| !batch.expired && late(batch.created))
        {
            batch.expired = true;
            stopped = true;
            self.expire_batch(part, batch);
        }
        let entry = &mut self.acc.parts[part];
        entry.flight = flight;
        if stopped && entry.hold == Hold::No {
            self.begin_hold(part, "expired", now);
        }
    }

    fn expire_batch(&mut self, part: usize, batch: &Batch) {
        let (topic, number) = self.place_of(part);
        let (outcome, message) = if batch.sent {
            (
                Outcome::Unknown,
                "no answer came before delivery_timeout_ms",
            )
        } else {
            (
                Outcome::NotWritten,
                "it could not be sent before delivery_timeout_ms",
            )
        };
        let count = u64::from(batch.count);
        self.acc.tell_failed(
            &topic,
            number,
            count,
            "delivery_timeout",
            0,
            message,
            outcome,
        );
        self.acc.fail(
            &batch.completion,
            count,
            failure("delivery_timeout", 0, message, outcome),
        );
    }

    /// Fails everything that is not resolved: not_written where it never left, else unknown. Returns how many messages.
    pub fn abort_all(&mut self, kind: &str, code: i16, message: &str) -> u64 {
        let before = self.acc.undelivered();
        for topic in self.acc.waiting_topics() {
            self.acc
                .fail_topic(&topic, failure(kind, code, message, Outcome::NotWritten));
        }
        for part in 0..self.acc.parts.len() {
            self.acc.close_open(part);
            let queue = std::mem::take(&mut self.acc.parts[part].queue);
            for batch in queue {
                let outcome = if batch.sent {
                    Outcome::Unknown
                } else {
                    Outcome::NotWritten
                };
                self.acc.fail(
                    &batch.completion,
                    u64::from(batch.count),
                    failure(kind, code, message, outcome),
                );
                self.let_go(batch);
            }
            let flight = std::mem::take(&mut self.acc.parts[part].flight);
            for batch in &flight {
                let failed = failure(kind, code, message, Outcome::Unknown);
                self.acc
                    .fail(&batch.completion, u64::from(batch.count), failed);
            }
            self.acc.parts[part].flight = flight;
        }
        before - self.acc.undelivered()
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.acc.events)
    }
}

impl Plan {
    /// Seals what is not sealed yet: compression and checksums, without any lock.
    pub fn seal(&mut self, settings: &Settings, pool: &Arc<crate::pool::Pool>) {
        for pick in &mut self.picks {
            pick.content = match std::mem::replace(&mut pick.content, Content::Away) {
                Content::Open(builder) => {
                    Content::Sealed(sealed(builder, settings, pick.producer, pool))
                }
                Content::Sealed(bytes) if pick.restamp => {
                    Content::Sealed(restamped(&bytes, pick.producer, pool))
                }
                other => other,
            };
        }
    }
}

fn sealed(
    builder: BatchBuilder,
    settings: &Settings,
    producer: ProducerFields,
    pool: &Arc<crate::pool::Pool>,
) -> Bytes {
    match seal(builder, settings.codec, settings.level, producer) {
        Ok(batch) => {
            if let Some(spare) = batch.spare {
                pool.give(spare);
            }
            Bytes::from_owner(Pooled {
                buffer: batch.bytes,
                pool: pool.clone(),
            })
        }
        // A batch that cannot be sealed goes out empty and the broker refuses it: no message is lost silently.
        Err(_) => Bytes::new(),
    }
}

fn restamped(bytes: &Bytes, producer: ProducerFields, pool: &Arc<crate::pool::Pool>) -> Bytes {
    let mut buffer = pool.take(bytes.len());
    buffer.clear();
    buffer.extend_from_slice(bytes);
    match set_producer_fields(
        &mut buffer,
        producer.producer_id,
        producer.epoch,
        producer.base_sequence,
    ) {
        Ok(()) => Bytes::from_owner(Pooled {
            buffer,
            pool: pool.clone(),
        }),
        Err(_) => bytes.clone(),
    }
}

fn sequence_after(first: i32, count: u32) -> i32 {
    ((i64::from(first) + i64::from(count)) % (LAST_SEQUENCE + 1)) as i32
}

fn kind_name(cause: &LostCause) -> &'static str {
    use crate::flow::LostKind;
    match cause.kind {
        LostKind::Connect => "connect",
        LostKind::Eof => "eof",
        LostKind::Io => "io",
        LostKind::RequestTimeout => "request_timeout",
        LostKind::Protocol => "protocol",
        LostKind::Closed => "closed",
    }
}
