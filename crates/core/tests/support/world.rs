//! A producer, its I/O thread, its engine and several brokers' connections, driven step by step in any order.
//!
//! The I/O thread has a turn only when it was woken, at the time that it set, or after a response or a loss; the engine only
//! when the bell rang. A lost wake therefore ends in standstill, which `finish` finds.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;

use ottla_core::bytes::compression::codec::Cost;
use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::failure::{Failure, Outcome};
use ottla_core::ids::{ConnId, Identity, Micros};
use ottla_core::produce::append::charges::DELIVERY_BYTES;
use ottla_core::produce::batch::Proof;
use ottla_core::produce::completion::{Place, State};
use ottla_core::produce::event::{Decision, Event, HeldBatch};
use ottla_core::produce::message::Refused;
use ottla_core::produce::settings::Settings;
use ottla_core::record::sealing::SealJob;
use ottla_core::seam::Flow;

use super::broker::{Fault, Log};
use super::frames::{self, Reply, Sent};
use super::{Held, Producer, closed, is_pending, offset_of, settings};

pub const PARTITIONS: usize = 7;
const PRODUCER_ID: i64 = 9;
const MILLISECOND: Micros = 1_000;

struct Conn {
    id: ConnId,
    /// Written by the client, not read by the broker.
    requests: VecDeque<Sent>,
    /// Answered by the broker, not read by the client.
    responses: VecDeque<(Sent, Vec<Reply>, i32)>,
}

enum Todo {
    Topic,
    Route(i32),
    Release(Held),
}

pub struct World {
    producer: Producer,
    logs: Vec<Log>,
    epochs: Vec<i16>,
    conns: Vec<Conn>,
    next_conn: ConnId,
    todo: VecDeque<Todo>,
    /// Batches that other threads are sealing.
    sealing: Vec<SealJob>,
    io_due: bool,
    next_tick: Option<Micros>,
    accepted: Vec<(usize, Place)>,
    /// For each message, the messages of its partition that were pending when it was accepted.
    pending: Vec<Vec<usize>>,
    /// Messages whose outcomes were read, in order.
    read: Vec<usize>,
    /// The next answer throttles.
    throttle: bool,
    /// Id of the topic.
    id: u64,
    /// Number of steps that did any work.
    work: u64,
}

pub fn small() -> Settings {
    Settings {
        linger: 5 * MILLISECOND,
        batch_bytes: 150,
        request_bytes: 400,
        message_bytes: 400,
        buffer_bytes: 512 * 1024,
        delivery_timeout: 3_000 * MILLISECOND,
        ..settings()
    }
}

impl World {
    /// Batches of `ahead_from` bytes and more are sealed ahead.
    pub fn new(settings: Settings, ahead_from: usize) -> Self {
        let producer = Producer::new(settings);
        producer.sealed_by_hand.set(true);
        producer.shared.change(|flow| {
            flow.seal_ahead_from(ahead_from);
            flow.set_identity(PRODUCER_ID, 0);
        });
        Self {
            producer,
            logs: (0..PARTITIONS).map(|_| Log::default()).collect(),
            epochs: vec![0; PARTITIONS],
            conns: Vec::new(),
            next_conn: 1,
            todo: VecDeque::new(),
            sealing: Vec::new(),
            io_due: false,
            next_tick: None,
            accepted: Vec::new(),
            pending: Vec::new(),
            read: Vec::new(),
            throttle: false,
            id: 1,
            work: 0,
        }
    }

    /// One step of a script.
    pub fn step(&mut self, kind: u8, choice: u16) {
        let choice = usize::from(choice);
        match kind % 27 {
            0..=4 => self.send(choice % PARTITIONS),
            5..=7 => self.io(),
            8..=9 => self.engine(choice),
            10..=12 => self.broker(choice),
            13..=15 => self.response(choice),
            16 => self.lose(choice),
            17 => self.producer.hold((choice % PARTITIONS) as i32),
            18 => {
                self.producer.shared.with(|flow| flow.acc.flush());
            }
            23 => self.await_outcome(choice),
            24 => self.recreate_topic(choice),
            25 if choice.is_multiple_of(16) && !self.producer.shared.settings.gapless => {
                self.producer
                    .shared
                    .with(|flow| flow.abort_all(closed(), None));
            }
            25 => self.throttle = true,
            26 => self.reroute(choice),
            19..=20 => self.begin_to_seal(),
            21 => self.seal(choice),
            _ if choice.is_multiple_of(8) => self.settle(),
            _ if choice.is_multiple_of(3) => self.read(),
            _ => self.producer.pass(choice as Micros % 700 * MILLISECOND),
        }
    }

    /// Checks that no batch is forgotten: the lists are right, and the I/O thread does not sleep past work that is due.
    pub fn inspect(&self) {
        let now = self.producer.now.get();
        let is_awake = self.producer.waker.0.load(Ordering::Relaxed) > 0
            || self.io_due
            || self.next_tick.is_some_and(|next| next <= now);
        self.producer.shared.with(|flow| {
            flow.check_lists();
            if !is_awake {
                flow.check_sleep(now, self.next_tick);
            }
        });
    }

    /// Gives the topic another id.
    fn recreate_topic(&mut self, choice: usize) {
        if choice.is_multiple_of(3) {
            self.id += 1;
            self.send_metadata();
        }
    }

    fn send_metadata(&self) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.id.to_be_bytes());
        self.producer.topic_with_id("t", id, PARTITIONS);
    }

    /// Sets a route at any time, also where none was requested.
    fn reroute(&mut self, choice: usize) {
        let conn = self.connection(choice / 8);
        self.producer.route("t", (choice % PARTITIONS) as i32, conn);
    }

    /// Whether the outcome of the message is reported: of every message with `keeps_outcomes`, else of those with a callback.
    fn is_reported(&self, message: usize) -> bool {
        self.producer.shared.settings.keeps_outcomes || message.is_multiple_of(3)
    }

    fn send(&mut self, partition: usize) {
        let message = self.accepted.len();
        let value = value_of(message);
        let number = Some(partition as i32);
        let keeps = self.producer.shared.settings.keeps_outcomes;
        let extra = if self.is_reported(message) && !keeps {
            DELIVERY_BYTES
        } else {
            0
        };
        let fields = (None, value.as_bytes());
        match self
            .producer
            .try_send_with("t", number, fields, None, extra)
        {
            Ok(place) => {
                if self.is_reported(message) {
                    place.0.attach(place.1, message, extra > 0);
                }
                let before = self.accepted.iter().enumerate();
                let pending = before
                    .filter(|(_, (other, place))| *other == partition && is_pending(place))
                    .map(|(number, _)| number)
                    .collect();
                self.pending.push(pending);
                self.accepted.push((partition, place));
            }
            Err(refused) => assert_eq!(refused, Refused::Full),
        }
    }

    /// Waits for a message, as a caller does.
    fn await_outcome(&self, choice: usize) {
        if let Some(at) = choice.checked_rem(self.accepted.len()) {
            let (_, place) = &self.accepted[at];
            self.producer.shared.end_linger(&place.0.place(place.1).0);
        }
    }

    /// A turn of the I/O thread, if it has anything to do.
    fn io(&mut self) {
        let now = self.producer.now.get();
        let woken = self.producer.waker.take() > 0;
        if !woken && !self.io_due && self.next_tick.is_none_or(|next| next > now) {
            return;
        }
        self.work += 1;
        self.io_due = false;
        self.next_tick = self.producer.tick();
        assert!(self.next_tick.is_none_or(|next| next > now), "it spins");
        for conn in &mut self.conns {
            let sent = self.producer.requests(conn.id);
            for request in &sent {
                let parts: HashSet<i32> = request
                    .batches
                    .iter()
                    .map(|batch| batch.partition)
                    .collect();
                assert_eq!(
                    parts.len(),
                    request.batches.len(),
                    "a partition twice in a request"
                );
            }
            conn.requests.extend(sent);
        }
    }

    fn begin_to_seal(&mut self) {
        let next = |cost| self.producer.shared.next_seal(cost);
        self.sealing
            .extend(next(Cost::Low).or_else(|| next(Cost::High)));
    }

    /// Seals a batch, as a sealer thread does.
    fn seal(&mut self, choice: usize) {
        if let Some(at) = choice.checked_rem(self.sealing.len()) {
            let job = self.sealing.remove(at);
            self.producer
                .shared
                .on_sealed(job.run(&mut Compressor::default()));
            self.work += 1;
        }
    }

    fn engine(&mut self, choice: usize) {
        if self.producer.bell.take() > 0 {
            for event in self.producer.events() {
                self.todo.extend(todo(event));
            }
        }
        if self.todo.is_empty() {
            return;
        }
        self.work += 1;
        let chosen = choice % self.todo.len();
        match self.todo.remove(chosen) {
            Some(Todo::Topic) => self.send_metadata(),
            Some(Todo::Route(partition)) => {
                let conn = self.connection(choice);
                self.producer.route("t", partition, conn);
            }
            Some(Todo::Release(held)) => self.release(&held, choice),
            None => {}
        }
    }

    /// Reads the outcomes of resolved messages, as a user of `successes()` and `errors()` does.
    fn read(&mut self) {
        let resolved = std::mem::take(&mut *self.producer.resolved.0.lock());
        for completion in resolved {
            let bytes = completion.take_charge();
            let attached = completion.take_attached();
            self.read.extend(attached.iter().map(|each| each.handle));
            self.producer
                .shared
                .with(|flow| flow.acc.outcomes_read(bytes));
        }
    }

    /// A connection to a leader: an existing one or a new one.
    fn connection(&mut self, choice: usize) -> ConnId {
        if let Some(conn) = self.conns.get(choice % 5) {
            return conn.id;
        }
        let id = self.next_conn;
        self.next_conn += 1;
        self.conns.push(Conn {
            id,
            requests: VecDeque::new(),
            responses: VecDeque::new(),
        });
        self.producer.attach(id);
        id
    }

    fn broker(&mut self, choice: usize) {
        let Some(at) = choice.checked_rem(self.conns.len()) else {
            return;
        };
        let Some(sent) = self.conns[at].requests.pop_front() else {
            return;
        };
        let replies = self.append(&sent, choice / 2);
        let throttle = if choice.is_multiple_of(31) || std::mem::take(&mut self.throttle) {
            20
        } else {
            0
        };
        self.conns[at]
            .responses
            .push_back((sent, replies, throttle));
    }

    fn append(&mut self, sent: &Sent, choice: usize) -> Vec<Reply> {
        let batches = sent.batches.iter().enumerate();
        batches
            .map(|(index, batch)| {
                let fault = fault((choice >> index) % 24);
                self.logs[batch.partition as usize].append(batch, fault)
            })
            .collect()
    }

    fn response(&mut self, choice: usize) {
        let Some(at) = choice.checked_rem(self.conns.len()) else {
            return;
        };
        let conn = &mut self.conns[at];
        if let Some((sent, replies, throttle)) = conn.responses.pop_front() {
            let frame = frames::response(sent.version, &sent, &replies, throttle);
            self.producer
                .respond_raw(conn.id, &sent, frame)
                .expect("the response is right");
            self.io_due = true;
            self.work += 1;
        }
    }

    /// The connection ends; some of the written requests still arrive.
    fn lose(&mut self, choice: usize) {
        let Some(at) = choice.checked_rem(self.conns.len()) else {
            return;
        };
        let conn = self.conns.remove(at);
        let arrived = choice / 2 % (conn.requests.len() + 1);
        for sent in conn.requests.iter().take(arrived) {
            self.append(sent, choice / 16);
        }
        self.producer.lose(conn.id);
        self.io_due = true;
    }

    // ---- decisions -------------------------------------------------------------------------------------------------

    /// Decides as `ottla.producer.verdict` does.
    fn release(&mut self, held: &Held, choice: usize) {
        let mut bump = false;
        let mut doubtful = false;
        let mut decisions = Vec::new();
        for (position, batch) in held.batches.iter().enumerate() {
            let head = position == 0 || bump;
            let verdict = if doubtful && batch.may_be_written {
                // The failed batch may be in the log, so this one may be there behind it.
                Verdict::restart(refused(batch))
            } else {
                decide(batch, head, choice >> position)
            };
            bump |= verdict.restart;
            doubtful |= matches!(&verdict.decision, Decision::Fail(failed) if failed.outcome == Outcome::Unknown);
            decisions.push(verdict.decision);
        }
        let mut first: Option<Failure> = None;
        for (batch, decision) in held.batches.iter().zip(&mut decisions) {
            settle(
                batch,
                decision,
                bump,
                &mut first,
                self.producer.shared.settings.gapless,
            );
        }
        let partition = held.partition as usize;
        let identity = bump.then(|| {
            self.epochs[partition] += 1;
            Identity {
                producer_id: PRODUCER_ID,
                epoch: self.epochs[partition],
            }
        });
        let shared = &self.producer.shared;
        shared
            .release("t", held.partition, decisions, first.as_ref(), identity)
            .expect("decisions that fit");
        if !choice.is_multiple_of(3) {
            let conn = self.connection(choice);
            self.producer.route("t", held.partition, conn);
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// Ends everything, and checks that the log and the outcomes agree.
    pub fn finish(mut self) {
        self.settle();
        self.check();
    }

    /// Continues without faults until nothing is left.
    fn settle(&mut self) {
        for _ in 0..5_000 {
            self.read();
            if self.producer.used() == 0 {
                self.io();
                return;
            }
            let before = self.work;
            self.engine(1);
            self.io();
            self.begin_to_seal();
            self.seal(0);
            for conn in 0..self.conns.len() {
                while let Some(sent) = self.conns[conn].requests.pop_front() {
                    let replies = self.append(&sent, usize::MAX & !0x7fff);
                    self.conns[conn].responses.push_back((sent, replies, 0));
                }
                while !self.conns[conn].responses.is_empty() {
                    self.response(conn);
                }
            }
            self.inspect();
            if self.work == before {
                self.wait();
            }
        }
        panic!("it does not end");
    }

    /// Advances the time when nothing can be done now: batches linger or are throttled, so the I/O thread has set a time.
    fn wait(&self) {
        let now = self.producer.now.get();
        let next = self
            .next_tick
            .filter(|next| *next <= now + 50 * MILLISECOND);
        let Some(next) = next else {
            panic!(
                "standstill: {} bytes wait and no thread has a turn",
                self.producer.used()
            );
        };
        self.producer.now.set(next.max(now));
    }

    fn check(&mut self) {
        self.producer.assert_done();
        self.read.sort_unstable();
        let reported = (0..self.accepted.len()).filter(|message| self.is_reported(*message));
        assert!(
            self.read.iter().copied().eq(reported),
            "each outcome once: {:?}",
            self.read
        );
        for log in &self.logs {
            let unique: HashSet<&String> = log.values.iter().collect();
            assert_eq!(
                unique.len(),
                log.values.len(),
                "twice in the log: {:?}",
                log.values
            );
            assert!(log.values.is_sorted(), "out of order: {:?}", log.values);
        }
        let (mut delivered, mut failed, mut unknown) = (0, 0, 0);
        for (number, (partition, place)) in self.accepted.iter().enumerate() {
            let value = value_of(number);
            let found = self.logs[*partition]
                .values
                .iter()
                .position(|other| *other == value);
            match place.0.place(place.1).0.state() {
                State::Pending => panic!("message {number} has no outcome"),
                State::Written { base_offset, .. } => {
                    delivered += 1;
                    let found = found.unwrap_or_else(|| panic!("{number} is not in the log"));
                    if base_offset >= 0 {
                        assert_eq!(offset_of(place), Some(found as i64));
                    }
                }
                State::Failed(failed_with) if failed_with.outcome == Outcome::NotWritten => {
                    failed += 1;
                    assert_eq!(found, None, "{number} is in the log");
                }
                State::Failed(_) => unknown += 1,
            }
        }
        if self.producer.shared.settings.gapless {
            self.check_gaps();
        }
        let counts = self.producer.shared.with(|flow| flow.acc.counts);
        assert_eq!(
            (counts.delivered, counts.failed, counts.unknown),
            (delivered, failed, unknown)
        );
    }
}

impl World {
    /// Checks that no message is in the log without the earlier ones that were pending when it was accepted.
    fn check_gaps(&self) {
        let there = |number: usize| {
            let log = &self.logs[self.accepted[number].0];
            log.values.contains(&value_of(number))
        };
        for (number, pending) in self.pending.iter().enumerate() {
            if there(number) {
                for before in pending {
                    assert!(there(*before), "{number} is in the log without {before}");
                }
            }
        }
    }
}

/// A decision, and whether sequences restart behind it.
struct Verdict {
    decision: Decision,
    restart: bool,
}

impl Verdict {
    fn of(decision: Decision) -> Self {
        Self {
            decision,
            restart: false,
        }
    }

    fn restart(decision: Decision) -> Self {
        Self {
            decision,
            restart: true,
        }
    }
}

/// Decides about a batch.
fn decide(batch: &HeldBatch, head: bool, choice: usize) -> Verdict {
    let again = Verdict::of(Decision::Retry);
    let Some(answer) = &batch.answer else {
        return again;
    };
    match answer.code {
        // The leader of the model returns this code before it appends.
        6 if head && batch.attempts == 1 && choice.is_multiple_of(5) => Verdict::restart(
            Decision::Fail(Failure::broker(6, "refused", Outcome::NotWritten)),
        ),
        6 if batch.attempts == 1 && choice % 5 == 1 && batch.records > 1 => {
            Verdict::of(Decision::Split)
        }
        _ if !head => again,
        45 | 47 if batch.proof == Proof::None => Verdict::restart(Decision::Retry),
        45 | 47 => Verdict::restart(refused(batch)),
        10 => Verdict::of(Decision::Split),
        87 if !answer.record_errors.is_empty() && !batch.may_be_written => {
            let failed = Failure::broker(87, "bad", Outcome::NotWritten);
            let indices = answer.record_errors.iter().map(|(index, _)| *index as u32);
            let records = indices.map(|index| (index, failed.clone()));
            Verdict::restart(Decision::FailRecords(records.collect()))
        }
        87 => Verdict::restart(refused(batch)),
        _ => again,
    }
}

fn outcome(batch: &HeldBatch) -> Outcome {
    if batch.may_be_written {
        Outcome::Unknown
    } else {
        Outcome::NotWritten
    }
}

/// Completes a decision: a batch in the log is written, and with `gapless` everything behind a failure fails.
fn settle(
    batch: &HeldBatch,
    decision: &mut Decision,
    bump: bool,
    first: &mut Option<Failure>,
    gapless: bool,
) {
    if batch.expired {
        *decision = Decision::Drop;
        return;
    }
    if let Some(first) = first {
        *decision = Decision::Fail(first.behind(outcome(batch)));
    }
    let fails = matches!(decision, Decision::Fail(_) | Decision::FailRecords(_));
    if batch.proof == Proof::Appended && (fails || bump && matches!(decision, Decision::Retry)) {
        *decision = Decision::Written;
    }
    if !gapless {
        return;
    }
    match decision {
        Decision::Fail(failed) => {
            first.get_or_insert_with(|| failed.clone());
        }
        Decision::FailRecords(failed) => {
            let (&from, why) = failed.first_key_value().expect("a record that failed");
            let why = why.clone();
            for index in from..batch.records {
                let behind = || why.behind(outcome(batch));
                failed.entry(index).or_insert_with(behind);
            }
            *first = Some(why);
        }
        _ => {}
    }
}

fn refused(batch: &HeldBatch) -> Decision {
    let code = batch.answer.as_ref().map_or(0, |answer| answer.code);
    let outcome = outcome(batch);
    Decision::Fail(Failure::broker(code, "refused", outcome))
}

fn todo(event: Event) -> Option<Todo> {
    match event {
        Event::TopicWanted(_) => Some(Todo::Topic),
        Event::RouteWanted(_, partition) => Some(Todo::Route(partition)),
        Event::Held {
            topic,
            partition,
            cause,
            batches,
            ..
        } => Some(Todo::Release(Held {
            topic: topic.to_string(),
            partition,
            cause,
            batches,
        })),
        Event::MessagesFailed { .. }
        | Event::Throttled(..)
        | Event::BatchAcked { .. }
        | Event::BufferFilled { .. }
        | Event::BufferFreed { .. }
        | Event::SpaceLacking { .. } => None,
    }
}

fn fault(choice: usize) -> Fault {
    match choice {
        1 => Fault::NotLeader,
        2 => Fault::TimedOut,
        3 => Fault::TooLarge,
        4 => Fault::InvalidRecord,
        5 => Fault::Invalid,
        6..=10 => Fault::DuplicateCode,
        _ => Fault::None,
    }
}

/// Sorted as the numbers are. Some compress well and some not at all, so that no estimate is right for long.
fn value_of(number: usize) -> String {
    let mut mixed = number as u64;
    let noise = (0..if number / 40 % 3 == 1 { 24 } else { 0 }).map(|_| {
        mixed = mixed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(7);
        char::from(b'A' + (mixed >> 59) as u8 % 26)
    });
    format!("{number:06}{}", noise.collect::<String>())
}
