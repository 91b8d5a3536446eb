//! The accumulator: messages become records of open batches, one per partition, in wire format.
//!
//! Stations: message → partition → accumulator. Runs in the caller's thread under the producer's lock; no I/O, no clock.
//! A message for a topic whose metadata is not known yet is kept in order and gets its partition when that comes.
//! References: KIP-480, KIP-794; Java: `RecordAccumulator`, `BuiltInPartitioner`.

mod active;
mod batching;
mod choice;
mod ends;
mod linger;
mod room;
mod weight;

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use crate::completion::{Completion, Failure, Outcome, Place};
use crate::flow::Micros;
use crate::partitioner::{Partitioner, Random, Sticky};
use crate::pool::Pool;
use crate::produce_flow::{Batch, Event, Hold, Partition, Route};
use crate::produce_stats::{Ends, Traffic};
use crate::record::encode::{BatchBuilder, HeaderRef, record_size_upper_bound};
use crate::record::header::HEADER_LEN;
use crate::topic_wait::TopicWait;

use active::Active;
pub use batching::Batching;
pub(crate) use batching::SealsWaiting;
use batching::{SealLine, TopicBatching};
pub use ends::{Counts, failure};
pub(crate) use weight::sealed_bytes;
use weight::{BATCH_BYTES, DELIVERY_BYTES, stored_bytes};

/// The first buffer of a partition; it grows with what is in it. Later ones are as large as the batches before them.
const FIRST_BUFFER: usize = 16 * 1024;
const SMALLEST_BUFFER: usize = 1024;

/// What a producer is set to.
#[derive(Debug, Clone)]
pub struct Settings {
    pub client_id: String,
    pub acks: i16,
    pub idempotent: bool,
    /// Where a record of a partition fails, everything behind it fails as well.
    pub gapless: bool,
    pub transactional_id: Option<String>,
    pub codec: crate::compression::Codec,
    pub level: Option<i32>,
    pub linger: Micros,
    pub batch_bytes: usize,
    pub request_bytes: usize,
    pub buffer_bytes: usize,
    pub in_flight: usize,
    pub request_timeout: Micros,
    pub delivery_timeout: Micros,
    pub partitioner: Partitioner,
    /// Partitions without a key by what waits for them (KIP-794).
    pub adaptive: bool,
    /// A leader that could not be sent to for this long is left out of that choice; 0: none is.
    pub availability_timeout: Micros,
    /// Somebody hears of outcomes one by one: each message has a delivery, which weighs until it was heard of.
    pub keeps_outcomes: bool,
    /// Topics whose batches are made in another way.
    pub topics: HashMap<String, Batching>,
}

/// One message as the caller gives it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub partition: Option<i32>,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
}

/// What is to be done about accepted messages.
#[derive(Debug, Default, Clone, Copy)]
pub struct Appended {
    /// The I/O thread has to look: something is ready, or the first message of an idle producer begins to linger.
    pub wake: bool,
    /// The engine has to look: an event was queued.
    pub ring: bool,
}

/// Why a message was not accepted; nothing was queued.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    TooLarge { bytes: usize, cap: usize },
    NoSuchPartition { partitions: usize },
    Closed,
}

/// A message that waits for its topic's metadata.
struct Stored {
    partition: Option<i32>,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
}

struct Waiting {
    completion: Arc<Completion>,
    messages: Vec<Stored>,
    created: Micros,
    /// `flush` was called meanwhile: no lingering.
    flushed: bool,
}

pub(crate) struct Topic {
    pub name: Arc<str>,
    pub id: [u8; 16],
    /// Ids that it had before it was made anew: who still tells one of them lags behind.
    pub former: Vec<[u8; 16]>,
    /// Indices of its partitions; empty while its metadata is not known.
    pub parts: Vec<usize>,
    /// How many of them there are now: fewer than `parts` where the topic was deleted and made anew with fewer.
    count: usize,
    available: Vec<usize>,
    /// Those of them whose leader is in the client's rack, sorted: messages without a key go there first (KIP-1123).
    near: Vec<usize>,
    /// Somebody waits for what its open batches with a lower number have: `accumulator/linger.rs`.
    hurried: u64,
    pub batching: TopicBatching,
    sticky: Sticky,
    /// How many messages were placed in turn.
    turns: usize,
    waiting: Option<Waiting>,
    /// What keeps its messages from being sent, as the engine knows it: for who asks why they expired.
    pub trouble: Option<String>,
    wait: TopicWait,
    pub(crate) traffic: Traffic,
    pub(crate) ends: Ends,
}

/// An open batch.
pub(crate) struct Open {
    /// Of the batch that it becomes.
    pub id: u64,
    builder: BatchBuilder,
    completion: Arc<Completion>,
    pub created: Micros,
    /// What it weighs: the capacity of its buffer, itself, and what its messages weigh beside their records.
    pub accounted: usize,
    /// Bytes at which it is full.
    limit: usize,
}

impl Open {
    /// Whether a message of this size fits.
    #[inline(always)]
    fn takes(&self, size: usize) -> bool {
        self.builder.len_bytes() + size <= self.limit
    }

    pub fn len_bytes(&self) -> usize {
        self.builder.len_bytes()
    }

    pub fn count(&self) -> u32 {
        self.builder.count()
    }
}

pub struct Accumulator {
    pub settings: Settings,
    pub(crate) topics: Vec<Topic>,
    names: HashMap<Arc<str>, usize>,
    pub(crate) parts: Vec<Partition>,
    pub(crate) active: Active,
    /// Bytes accepted and not resolved, or resolved and not read where they were asked for.
    pub(crate) used: usize,
    pub counts: Counts,
    pub(crate) events: Vec<Event>,
    pub(crate) resolved: Vec<Arc<Completion>>,
    pub(crate) pool: Arc<Pool>,
    /// Complete batches that are sealed ahead.
    pub(crate) to_seal: SealLine,
    /// From this size on, whatever the codec; for tests.
    ahead_from: Option<usize>,
    /// What a message weighs beside its record: 0, but for who reads outcomes one by one.
    pub(crate) per_message: usize,
    /// Given to every completion.
    owner: Option<Arc<dyn Any + Send + Sync>>,
    room: room::Room,
    next_batch: u64,
    /// A batch was opened since `close_all`.
    opened: bool,
    random: Random,
    closed: bool,
    /// The largest record that is taken: one of which a batch of `request_bytes` can be made. What the request needs beside the
    /// batch does not count, as in Java: who sets a limit for messages does not know how long a client id is.
    largest: usize,
    /// Somebody listens to events that are told for that only.
    pub(crate) watched: bool,
    /// The I/O thread has been woken and has not looked yet.
    woken: bool,
    /// Something happened that it has to look at.
    attention: bool,
    /// A batch left or was answered since it looked.
    flowing: bool,
    /// No open batch with this number or a higher one was seen to leave: `accumulator/linger.rs`.
    leaving: u64,
    /// When it looks anyway.
    next_look: Option<Micros>,
}

impl Accumulator {
    pub fn new(settings: Settings, seed: u64) -> Self {
        let cap = settings.request_bytes.min(settings.buffer_bytes);
        let per_message = if settings.keeps_outcomes {
            DELIVERY_BYTES
        } else {
            0
        };
        Self {
            largest: cap.saturating_sub(HEADER_LEN),
            pool: Arc::new(Pool::new(settings.buffer_bytes)),
            settings,
            topics: Vec::new(),
            names: HashMap::new(),
            parts: Vec::new(),
            active: Active::default(),
            used: 0,
            counts: Counts::default(),
            events: Vec::new(),
            resolved: Vec::new(),
            to_seal: SealLine::default(),
            ahead_from: None,
            per_message,
            owner: None,
            room: room::Room::default(),
            next_batch: 1,
            opened: false,
            watched: false,
            random: Random::new(seed),
            closed: false,
            woken: false,
            attention: false,
            flowing: false,
            leaving: 0,
            next_look: None,
        }
    }

    pub fn set_owner(&mut self, owner: Arc<dyn Any + Send + Sync>) {
        self.owner = Some(owner);
    }

    /// A completion that knows whose it is.
    pub(crate) fn completion(&self, topic: Arc<str>, partition: i32) -> Arc<Completion> {
        let completion = Completion::new(topic, partition);
        if let Some(owner) = &self.owner {
            completion.set_owner(owner.clone());
        }
        completion
    }

    // ---- topics ----------------------------------------------------------------------------------------------------

    /// The index of a topic, which stays the same; it may be used for `append` without another look-up.
    pub fn topic(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let name: Arc<str> = Arc::from(name);
        let index = self.topics.len();
        let batching = TopicBatching::new(self.settings.batching(&name));
        self.topics.push(Topic {
            name: name.clone(),
            id: [0; 16],
            former: Vec::new(),
            parts: Vec::new(),
            count: 0,
            available: Vec::new(),
            near: Vec::new(),
            hurried: 0,
            batching,
            sticky: Sticky::default(),
            turns: 0,
            waiting: None,
            trouble: None,
            wait: TopicWait::default(),
            traffic: Traffic::default(),
            ends: Ends::default(),
        });
        self.names.insert(name, index);
        index
    }

    /// The topic's metadata came or changed; partitions never become fewer, and none at all is no metadata.
    ///
    /// `available`: those with a leader. `near`: those of them to be preferred for messages without a key.
    pub fn set_topic(
        &mut self,
        name: &str,
        id: [u8; 16],
        partitions: usize,
        available: &[i32],
        near: &[i32],
    ) {
        let index = self.topic(name);
        for number in self.topics[index].parts.len()..partitions {
            let part = self.parts.len();
            self.parts.push(Partition::new(index, number as i32));
            self.topics[index].parts.push(part);
        }
        let topic = &mut self.topics[index];
        // Of one and the same topic they never become fewer: then the answer is an old one.
        if (topic.id != id && partitions > 0) || partitions > topic.count {
            topic.count = partitions;
        }
        topic.id = id;
        let parts_of = |numbers: &[i32]| -> Vec<usize> {
            let part = |number: &i32| topic.parts.get(usize::try_from(*number).ok()?).copied();
            numbers.iter().filter_map(part).collect()
        };
        (topic.available, topic.near) = (parts_of(available), parts_of(near));
        topic.near.sort_unstable();
        topic.sticky.keep_to(if topic.near.is_empty() {
            &topic.available
        } else {
            &topic.near
        });
        if topic.parts.is_empty() {
            return;
        }
        topic.wait.answered(None);
        if let Some(waiting) = topic.waiting.take() {
            self.place_waiting(index, waiting);
            self.wake_room();
        }
    }

    /// Messages that waited get their partitions, in order. Their time goes on from when the first of them came.
    fn place_waiting(&mut self, topic: usize, waiting: Waiting) {
        let mut places: Vec<Place> = Vec::with_capacity(waiting.messages.len());
        for stored in waiting.messages {
            self.used -= stored.bytes;
            let headers: Vec<HeaderRef<'_>> = stored
                .headers
                .iter()
                .map(|(name, value)| (name.as_slice(), value.as_deref()))
                .collect();
            let message = Message {
                partition: stored.partition,
                timestamp_ms: stored.timestamp_ms,
                key: stored.key.as_deref(),
                value: stored.value.as_deref(),
                headers: &headers,
            };
            let size = record_size_upper_bound(message.key, message.value, message.headers);
            let mut placed = |completion: &Arc<Completion>, index| {
                places.push((completion.clone(), index));
            };
            match self.choose(topic, &message, size, || waiting.created) {
                Ok(part) => self.append_to(part, &message, size, || waiting.created, placed),
                Err(_) => placed(&self.no_such_partition(topic, stored.partition), 0),
            }
        }
        waiting.completion.forward_to(places);
        if waiting.flushed {
            for part in self.topics[topic].parts.clone() {
                self.close_open(part);
            }
        }
    }

    /// The end of a message whose partition turned out not to exist.
    fn no_such_partition(&mut self, topic: usize, partition: Option<i32>) -> Arc<Completion> {
        let entry = &self.topics[topic];
        let (name, known) = (entry.name.clone(), entry.count);
        let partition = partition.unwrap_or(-1);
        let message = format!("partition {partition} does not exist: the topic has {known}");
        let completion = self.completion(name.clone(), partition);
        let outcome = Outcome::NotWritten;
        self.tell_failed(&name, partition, 1, "topic", 3, &message, outcome);
        self.fail(&completion, 1, failure("topic", 3, &message, outcome));
        completion
    }

    /// Fails what waits for the topic's metadata; returns how many messages.
    pub fn fail_topic(&mut self, name: &str, failed: Failure) -> usize {
        let index = self.topic(name);
        self.topics[index].wait.answered(Some(failed.clone()));
        let Some(waiting) = self.topics[index].waiting.take() else {
            return 0;
        };
        let bytes = waiting.messages.iter().map(|stored| stored.bytes).sum();
        let count = waiting.messages.len();
        self.fail(&waiting.completion, count as u64, failed);
        self.free(bytes);
        count
    }

    /// Fails what has waited too long for metadata; returns when the next would be too late.
    pub(crate) fn expire_waiting(&mut self, now: Micros) -> Option<Micros> {
        let limit = self.settings.delivery_timeout;
        let mut next = None;
        for index in 0..self.topics.len() {
            let Some(waiting) = &self.topics[index].waiting else {
                continue;
            };
            let due = waiting.created.saturating_add(limit);
            if due > now {
                next = Some(next.map_or(due, |other: Micros| other.min(due)));
                continue;
            }
            let name = self.topics[index].name.clone();
            let message = self.with_trouble(
                index,
                "the topic's metadata did not come before delivery_timeout_ms",
            );
            let count = self.fail_topic(
                &name,
                failure("delivery_timeout", 0, &message, Outcome::NotWritten),
            );
            self.tell_failed(
                &name,
                -1,
                count as u64,
                "delivery_timeout",
                0,
                &message,
                Outcome::NotWritten,
            );
        }
        next
    }

    /// What keeps the messages of a topic, or of one partition of it, from being sent; None: nothing that is known.
    pub fn set_trouble(&mut self, name: &str, partition: Option<i32>, trouble: Option<String>) {
        let index = self.topic(name);
        let Some(number) = partition else {
            self.topics[index].trouble = trouble;
            return;
        };
        let number = usize::try_from(number).ok();
        if let Some(part) = number.and_then(|number| self.topics[index].parts.get(number)) {
            self.parts[*part].trouble = trouble;
        }
    }

    /// A failure's text with its cause behind it.
    pub(crate) fn with_trouble(&self, topic: usize, message: &str) -> String {
        match &self.topics[topic].trouble {
            Some(trouble) => format!("{message}: {trouble}"),
            None => message.to_owned(),
        }
    }

    // ---- messages --------------------------------------------------------------------------------------------------

    /// Accepts one message and tells where it is: completion and index. `ticket`: as `wait_for_room` gave it, for who waits in
    /// line. `now` is asked only where a batch is opened.
    #[inline(always)]
    pub fn append(
        &mut self,
        topic: usize,
        message: &Message<'_>,
        ticket: Option<u64>,
        now: impl Fn() -> Micros,
        accepted: impl FnOnce(&Arc<Completion>, u32),
    ) -> Result<Appended, Refused> {
        let size = record_size_upper_bound(message.key, message.value, message.headers);
        let in_turn = match ticket {
            None => self.room.is_empty(),
            ticket => self.room.head() == ticket,
        };
        if self.closed
            || size > self.largest
            || (self.used + size > self.settings.buffer_bytes
                && !self.is_paid_for(topic, message, size))
            || !in_turn
        {
            return Err(self.refusal(size));
        }
        let events = self.events.len();
        if self.topics[topic].parts.is_empty() {
            let (completion, index) = self.store(topic, message, size, now());
            accepted(&completion, index);
        } else {
            let part = self.choose(topic, message, size, &now)?;
            self.append_to(part, message, size, now, accepted);
        }
        self.counts.accepted += 1;
        if ticket.is_some() {
            self.next_in_line();
        }
        let wake = self.wants_io();
        Ok(Appended {
            wake,
            ring: self.events.len() > events,
        })
    }

    /// Why a message of this size is not accepted.
    #[cold]
    fn refusal(&self, size: usize) -> Refused {
        if self.closed {
            Refused::Closed
        } else if size > self.largest {
            Refused::TooLarge {
                bytes: size + HEADER_LEN,
                cap: self.largest + HEADER_LEN,
            }
        } else {
            Refused::Full
        }
    }

    /// There is something for the I/O thread to look at.
    pub(crate) fn look(&mut self) {
        self.attention = true;
    }

    /// Whether the I/O thread has to be woken now.
    #[inline]
    pub(crate) fn wants_io(&mut self) -> bool {
        self.attention && !std::mem::replace(&mut self.woken, true)
    }

    /// The I/O thread looks at everything, and again at `next`.
    pub(crate) fn looked(&mut self, next: Option<Micros>) {
        self.woken = false;
        self.attention = false;
        self.next_look = next;
    }

    fn store(&mut self, topic: usize, message: &Message<'_>, bytes: usize, now: Micros) -> Place {
        let bytes = bytes + stored_bytes(message) + self.per_message;
        self.used += bytes;
        let name = self.topics[topic].name.clone();
        if self.topics[topic].waiting.is_none() {
            let completion = self.completion(name.clone(), -1);
            self.events.push(Event::Topic(name.clone()));
            self.topics[topic].waiting = Some(Waiting {
                completion,
                messages: Vec::new(),
                created: now,
                flushed: false,
            });
            let due = now.saturating_add(self.settings.delivery_timeout);
            self.attention |= self.next_look.is_none_or(|look| due < look);
        }
        let Some(waiting) = self.topics[topic].waiting.as_mut() else {
            unreachable!("it was made just now");
        };
        let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
        waiting.messages.push(Stored {
            partition: message.partition,
            timestamp_ms: message.timestamp_ms,
            key: owned(message.key),
            value: owned(message.value),
            headers: message
                .headers
                .iter()
                .map(|(name, value)| (name.to_vec(), owned(*value)))
                .collect(),
            bytes,
        });
        (
            waiting.completion.clone(),
            waiting.messages.len() as u32 - 1,
        )
    }

    #[inline(always)]
    fn append_to(
        &mut self,
        part: usize,
        message: &Message<'_>,
        size: usize,
        now: impl Fn() -> Micros,
        accepted: impl FnOnce(&Arc<Completion>, u32),
    ) {
        let takes = |open: &Open| open.takes(size);
        if !self.parts[part].open.as_ref().is_some_and(takes) {
            self.open_next(part, size, now());
        }
        let entry = &mut self.parts[part];
        let topic = entry.topic;
        let Some(open) = entry.open.as_mut() else {
            unreachable!("it was opened just now");
        };
        let before = open.builder.len_bytes();
        let capacity = open.builder.capacity_bytes();
        let index = open.builder.append(
            message.timestamp_ms,
            message.key,
            message.value,
            message.headers,
        );
        let more = open.builder.capacity_bytes() - capacity + self.per_message;
        self.used += more;
        open.accounted += more;
        let len = open.builder.len_bytes();
        accepted(&open.completion, index);
        let full = len >= open.limit;
        self.topics[topic].sticky.appended(part, len - before);
        if full {
            self.close_open(part);
        }
    }

    /// A batch that takes a record of this size, in place of the one that does not.
    #[cold]
    fn open_next(&mut self, part: usize, size: usize, now: Micros) {
        self.close_open(part);
        self.opened = true;
        let entry = &self.parts[part];
        let topic = &self.topics[entry.topic];
        let (limit, linger) = (topic.batching.limit, topic.batching.set.linger);
        let first = match entry.last_bytes {
            0 => self.first_buffer(),
            _ => SMALLEST_BUFFER,
        };
        let hint = entry.last_bytes.clamp(first, limit.max(first));
        let builder = BatchBuilder::with_buffer(self.pool.take(hint.max(size + HEADER_LEN)));
        let completion = self.completion(topic.name.clone(), entry.number);
        let accounted = builder.capacity_bytes() + BATCH_BYTES;
        self.used += accounted;
        let id = self.batch_id();
        self.parts[part].open = Some(Open {
            id,
            builder,
            completion,
            created: now,
            accounted,
            limit,
        });
        let due = now.saturating_add(linger);
        self.attention |= self.next_look.is_none_or(|look| due < look);
        self.has_batch(part);
        self.want_route(part);
    }

    /// Of many partitions with little in each, the first buffers alone must not fill the budget.
    fn first_buffer(&self) -> usize {
        let share = self.settings.buffer_bytes / 4 / self.parts.len().max(1);
        share.clamp(SMALLEST_BUFFER, FIRST_BUFFER)
    }

    /// Tells once that batches wait for a route.
    pub(crate) fn want_route(&mut self, part: usize) {
        let entry = &mut self.parts[part];
        if matches!(entry.route, Route::None) && entry.hold == Hold::No && !entry.wanted {
            entry.wanted = true;
            let topic = self.topics[entry.topic].name.clone();
            self.events.push(Event::Wanted(topic, entry.number));
        }
    }

    /// As `close_open`, by the I/O thread itself, which needs no wake for what it is sending right now.
    pub(crate) fn close_to_send(&mut self, part: usize) {
        let attention = self.attention;
        self.close_open(part);
        self.attention = attention;
    }

    /// The open batch takes no more: it is ready to be sent.
    pub(crate) fn close_open(&mut self, part: usize) {
        let Some(open) = self.parts[part].open.take() else {
            return;
        };
        let id = open.id;
        self.attention = true;
        let count = open.builder.count();
        let bytes = open.builder.len_bytes();
        let content = self.complete(part, id, open.builder);
        let entry = &mut self.parts[part];
        // A small batch now and then, lingered out, does not make the next large one grow from the beginning.
        let faded = entry.last_bytes - entry.last_bytes / 8;
        entry.last_bytes = bytes.max(faded);
        entry.queue.push_back(Batch {
            id,
            count,
            content,
            raw: bytes,
            completion: open.completion,
            created: open.created,
            accounted: open.accounted,
            sequence: None,
            attempts: 0,
            sent: false,
            unanswered: false,
            overtaken: false,
            expired: false,
            answered: false,
            answer: None,
            refused: 0,
        });
    }

    /// Batches of this size and more are sealed ahead, whatever their codec: for scripts with small ones.
    #[doc(hidden)]
    pub fn seal_ahead_from(&mut self, bytes: usize) {
        self.ahead_from = Some(bytes);
    }

    /// A number for a batch, higher than all before.
    pub(crate) fn batch_id(&mut self) -> u64 {
        self.next_batch += 1;
        self.next_batch - 1
    }

    // ---- ends ------------------------------------------------------------------------------------------------------

    pub fn stop_accepting(&mut self) {
        self.closed = true;
        self.room.wake_all();
        for topic in &mut self.topics {
            topic.wait.wake_all();
        }
    }

    /// Makes everything ready to be sent, and returns the completions of all that is not resolved.
    pub fn flush(&mut self) -> Vec<Arc<Completion>> {
        self.close_all();
        let mut unresolved: Vec<Arc<Completion>> = Vec::new();
        for waiting in self
            .topics
            .iter_mut()
            .filter_map(|topic| topic.waiting.as_mut())
        {
            waiting.flushed = true;
            unresolved.push(waiting.completion.clone());
        }
        for part in self.active.iter() {
            let part = &self.parts[part];
            unresolved.extend(
                part.flight
                    .iter()
                    .chain(&part.queue)
                    .map(|batch| batch.completion.clone()),
            );
        }
        unresolved.retain(|completion| completion.is_pending());
        unresolved
    }

    /// What counts against `buffer_bytes` now.
    pub fn used_bytes(&self) -> usize {
        self.used
    }

    /// The topics that wait for metadata.
    pub(crate) fn waiting_topics(&self) -> Vec<Arc<str>> {
        self.topics
            .iter()
            .filter(|topic| topic.waiting.is_some())
            .map(|topic| topic.name.clone())
            .collect()
    }
}
