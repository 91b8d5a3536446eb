//! A produce flow behind its lock; the test acts as I/O thread, engine and broker.

#![allow(dead_code)]

pub mod broker;
pub mod frames;
pub mod world;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use frames::{Reply, Sent};
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::failure::{Cause, ErrorData, ErrorKind, Failure, Outcome, Reported, Trouble};
use ottla_core::ids::{ConnId, Identity, Micros};
use ottla_core::partitioning::partitioner::Partitioner;
use ottla_core::produce::completion::{Completion, Place, State};
use ottla_core::produce::event::{Decision, Event, HeldBatch, HoldCause};
use ottla_core::produce::message::{Message, Refused};
use ottla_core::produce::settings::Settings;
use ottla_core::produce::shared::{Listener, ProduceShared};
use ottla_core::seam::{BadResponse, Bell, Flow, LostCause, LostKind, Wake, WakeIo};
use parking_lot::Mutex;

pub const SECOND: Micros = 1_000_000;
pub const VERSION: i16 = 9;

pub fn settings() -> Settings {
    Settings {
        client_id: "bench".into(),
        acks: -1,
        idempotent: true,
        gapless: false,
        transactional_id: None,
        codec: Codec::None,
        level: None,
        linger: 0,
        batch_bytes: 16 * 1024,
        request_bytes: 1024 * 1024,
        message_bytes: 1024 * 1024,
        buffer_bytes: 32 * 1024 * 1024,
        in_flight: 5,
        request_timeout: 30 * SECOND,
        delivery_timeout: 120 * SECOND,
        partitioner: Partitioner::Default,
        adaptive: true,
        availability_timeout: 0,
        keeps_outcomes: false,
        topics: HashMap::new(),
    }
}

/// Counts the calls that it receives.
#[derive(Default)]
pub struct Counter(pub AtomicUsize);

impl Counter {
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Bell for Counter {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl WakeIo for Counter {
    fn wake_io(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Counter {
    fn wake(&self, _token: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub struct Resolved(pub Mutex<Vec<Arc<Completion>>>);

impl Listener for Resolved {
    fn resolved(&self, completions: Vec<Arc<Completion>>) {
        self.0.lock().extend(completions);
    }

    fn wake(&self) {}
}

pub struct Producer {
    pub shared: ProduceShared,
    pub now: Cell<Micros>,
    pub bell: Arc<Counter>,
    pub waker: Arc<Counter>,
    pub resolved: Arc<Resolved>,
    correlation: Cell<i32>,
    /// The test itself seals the batches that are sealed ahead.
    pub sealed_by_hand: Cell<bool>,
}

/// A held partition as reported to the engine.
pub struct Held {
    pub topic: String,
    pub partition: i32,
    pub cause: HoldCause,
    pub batches: Vec<HeldBatch>,
}

impl Held {
    /// (records, code of the answer) of each batch.
    pub fn summary(&self) -> Vec<(u32, Option<i16>)> {
        self.batches
            .iter()
            .map(|batch| {
                let code = batch.answer.as_ref().map(|answer| answer.code);
                (batch.records, code)
            })
            .collect()
    }
}

impl Producer {
    pub fn new(settings: Settings) -> Self {
        let bell = Arc::new(Counter::default());
        let waker = Arc::new(Counter::default());
        let resolved = Arc::new(Resolved::default());
        let shared = ProduceShared::new(settings, 7, bell.clone());
        shared.set_waker(waker.clone());
        shared.set_listener(resolved.clone());
        Self {
            shared,
            now: Cell::new(SECOND),
            bell,
            waker,
            resolved,
            correlation: Cell::new(0),
            sealed_by_hand: Cell::new(false),
        }
    }

    /// Ready to send: identity (9, 0), topic "t" with its partitions routed to connection 1, which has acknowledged before.
    pub fn flowing(settings: Settings, partitions: usize) -> Self {
        let producer = Self::beginning(settings, partitions);
        for number in 0..partitions {
            producer.assume_acknowledged(number as i32);
        }
        producer
    }

    pub fn assume_acknowledged(&self, partition: i32) {
        let now = self.now.get();
        self.shared
            .with(|flow| flow.assume_acknowledged("t", partition, now));
    }

    /// Same as `flowing`, before the first acknowledgement.
    pub fn beginning(settings: Settings, partitions: usize) -> Self {
        let producer = Self::new(settings);
        producer.shared.change(|flow| flow.set_identity(9, 0));
        producer.attach(1);
        producer.topic("t", partitions);
        for number in 0..partitions {
            producer.route("t", number as i32, 1);
        }
        producer
    }

    pub fn pass(&self, time: Micros) {
        self.now.set(self.now.get() + time);
    }

    pub fn topic(&self, name: &str, partitions: usize) {
        self.topic_with_id(name, topic_id(name), partitions);
    }

    pub fn topic_with_id(&self, name: &str, id: [u8; 16], partitions: usize) {
        let numbers: Vec<i32> = (0..partitions as i32).collect();
        self.shared
            .change(|flow| flow.set_topic(name, id, partitions, &numbers, &[]));
    }

    pub fn attach(&self, conn: ConnId) {
        self.shared
            .change(|flow| flow.attach(conn, VERSION, conn as i32, "broker:9092"));
    }

    pub fn route(&self, topic: &str, partition: i32, conn: ConnId) {
        self.shared
            .change(|flow| flow.route(topic, partition, conn));
    }

    pub fn try_send(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: &[u8],
        ticket: Option<u64>,
    ) -> Result<Place, Refused> {
        self.try_send_with(topic, partition, (key, value), ticket, 0)
    }

    /// Same as `try_send`, with bytes charged in addition to the record.
    pub fn try_send_with(
        &self,
        topic: &str,
        partition: Option<i32>,
        (key, value): (Option<&[u8]>, &[u8]),
        ticket: Option<u64>,
        extra: usize,
    ) -> Result<Place, Refused> {
        let index = self.shared.with(|flow| flow.acc.topic(topic));
        let message = Message {
            partition,
            timestamp_ms: 1_700_000_000_000,
            key,
            value: Some(value),
            headers: &[],
            extra,
        };
        let now = self.now.get();
        let mut place = None;
        self.shared.append(
            index,
            &message,
            ticket,
            || now,
            |completion, index| place = Some((completion.clone(), index)),
        )?;
        Ok(place.expect("an accepted message has a place"))
    }

    pub fn send(&self, partition: i32, value: &str) -> Place {
        self.try_send("t", Some(partition), None, value.as_bytes(), None)
            .expect("there is space")
    }

    /// Sends messages and closes their batch.
    pub fn batch(&self, partition: i32, values: &[&str]) -> Vec<Place> {
        let places = values
            .iter()
            .map(|value| self.send(partition, value))
            .collect();
        self.shared.with(|flow| flow.acc.flush());
        places
    }

    pub fn tick(&self) -> Option<Micros> {
        self.shared.on_tick(self.now.get())
    }

    pub fn next(&self, conn: ConnId) -> Option<Sent> {
        if !self.sealed_by_hand.get() {
            self.shared.seal_here();
        }
        self.correlation.set(self.correlation.get() + 1);
        let out = self
            .shared
            .next_request(conn, self.correlation.get(), self.now.get())?;
        Some(frames::read_request(out))
    }

    pub fn requests(&self, conn: ConnId) -> Vec<Sent> {
        std::iter::from_fn(|| self.next(conn)).collect()
    }

    pub fn respond(&self, conn: ConnId, sent: &Sent, replies: &[Reply]) -> Result<(), BadResponse> {
        let frame = frames::response(sent.version, sent, replies, 0);
        self.respond_raw(conn, sent, frame)
    }

    pub fn respond_raw(&self, conn: ConnId, sent: &Sent, frame: Bytes) -> Result<(), BadResponse> {
        self.shared
            .on_response(conn, sent.token, frame, self.now.get())
    }

    /// Acknowledges every batch of the request, from this offset on.
    pub fn ack(&self, conn: ConnId, sent: &Sent, offset: i64) {
        let replies: Vec<Reply> = sent.batches.iter().map(|_| Reply::ok(offset)).collect();
        self.respond(conn, sent, &replies)
            .expect("the response is right");
    }

    /// Reports that the socket has taken all of a request that is never answered.
    pub fn take(&self, conn: ConnId, sent: &Sent) {
        self.shared.on_taken(conn, sent.token, self.now.get());
    }

    pub fn refuse(&self, conn: ConnId, sent: &Sent, code: i16) {
        let replies: Vec<Reply> = sent.batches.iter().map(|_| Reply::error(code)).collect();
        self.respond(conn, sent, &replies)
            .expect("the response is right");
    }

    pub fn lose(&self, conn: ConnId) {
        let cause = LostCause {
            kind: LostKind::Eof,
            message: "the broker closed".into(),
        };
        self.shared.on_lost(conn, &cause, self.now.get());
    }

    pub fn hold(&self, partition: i32) {
        self.shared.change(|flow| flow.hold("t", partition));
    }

    pub fn events(&self) -> Vec<Event> {
        self.shared.take_events()
    }

    pub fn held(&self) -> Vec<Held> {
        self.events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Held {
                    topic,
                    partition,
                    cause,
                    batches,
                    ..
                } => Some(Held {
                    topic: topic.to_string(),
                    partition,
                    cause,
                    batches,
                }),
                _ => None,
            })
            .collect()
    }

    pub fn one_hold(&self) -> Held {
        let mut held = self.held();
        assert_eq!(held.len(), 1, "holds");
        held.remove(0)
    }

    pub fn release(&self, partition: i32, decisions: Vec<Decision>) {
        self.release_to(partition, decisions, Some(1), None);
        self.assume_acknowledged(partition);
    }

    /// Ends a hold, and gives the partition its next route.
    pub fn release_to(
        &self,
        partition: i32,
        decisions: Vec<Decision>,
        conn: Option<ConnId>,
        identity: Option<(i64, i16)>,
    ) {
        let identity = identity.map(|(producer_id, epoch)| Identity { producer_id, epoch });
        self.shared
            .release("t", partition, decisions, None, identity)
            .expect("decisions that fit");
        if let Some(conn) = conn {
            self.route("t", partition, conn);
        }
    }

    pub fn used(&self) -> usize {
        self.shared.with(|flow| flow.acc.used_bytes())
    }

    /// Nothing is left: every byte is free and every message is counted.
    pub fn assert_done(&self) {
        assert_eq!(self.used(), 0, "charged bytes");
        let counts = self.shared.with(|flow| flow.acc.counts);
        assert_eq!(
            counts.accepted,
            counts.delivered + counts.failed + counts.unknown,
            "{counts:?}"
        );
    }
}

/// The offset of a message that was written.
pub fn offset_of(place: &Place) -> Option<i64> {
    let (completion, index) = place.0.place(place.1);
    match completion.state() {
        State::Written { base_offset, .. } => Some(base_offset + i64::from(index)),
        _ => None,
    }
}

/// Failure of a message: the cause in a word, the broker's code, the outcome.
pub fn failure_of(place: &Place) -> Option<(&'static str, i16, Outcome)> {
    let failed = failed(place)?;
    let (kind, code) = match failed.cause {
        Cause::GivenUp { error, .. } => (kind(error.kind), error.code),
        Cause::TimedOut { .. } => ("delivery_timeout", 0),
        Cause::EarlierFailed(_) => ("gapless", 0),
        Cause::NoSuchPartition { .. } => ("topic", 3),
        Cause::Unreadable { code } => ("unreadable", code),
    };
    Some((kind, code, failed.outcome))
}

/// The whole failure of a message.
pub fn failed(place: &Place) -> Option<Failure> {
    match place.0.place(place.1).0.state() {
        State::Failed(failed) => Some(failed),
        _ => None,
    }
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Broker => "broker",
        ErrorKind::Closed => "closed",
        other => panic!("no test gives {other:?}"),
    }
}

/// The engine's reason without an exception.
pub fn trouble(text: &str) -> Trouble {
    Trouble::Reported(Arc::new(Reported {
        text: text.into(),
        error: None,
    }))
}

/// Error of a producer that is closed.
pub fn closed() -> ErrorData {
    ErrorData {
        kind: ErrorKind::Closed,
        code: 0,
        message: "closed".into(),
    }
}

pub fn is_pending(place: &Place) -> bool {
    matches!(place.0.place(place.1).0.state(), State::Pending)
}

pub fn topic_id(name: &str) -> [u8; 16] {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    id
}
