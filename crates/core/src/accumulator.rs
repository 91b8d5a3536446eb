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
mod open;
mod room;
mod stored;
mod topics;
mod weight;

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use crate::completion::Completion;
use crate::flow::Micros;
use crate::partitioner::{Partitioner, Random};
use crate::pool::Pool;
use crate::produce_flow::{Event, Partition};
use crate::record::encode::{HeaderRef, record_size_upper_bound};
use crate::record::header::HEADER_LEN;

use active::Active;
pub use batching::Batching;
pub(crate) use batching::SealsWaiting;
use batching::{SealLine, TopicBatching};
pub use ends::{Counts, failure};
pub(crate) use open::Open;
use stored::Waiting;
pub(crate) use topics::Topic;
pub(crate) use weight::sealed_bytes;
use weight::{DELIVERY_BYTES, beside_record};

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
    /// The largest message, and what a batch of it alone takes.
    pub message_bytes: usize,
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
    /// `setting` is the one that allows no more than `cap`.
    TooLarge {
        bytes: usize,
        cap: usize,
        setting: &'static str,
    },
    NoSuchPartition {
        partitions: usize,
    },
    Closed,
}

pub struct Accumulator {
    pub settings: Settings,
    pub(crate) topics: Vec<Topic>,
    names: HashMap<Arc<str>, usize>,
    pub(crate) parts: Vec<Partition>,
    pub(crate) active: Active,
    /// Memory for what was accepted and is not resolved, or resolved and not read where that was asked for: `weight.rs`.
    pub(crate) used: usize,
    /// Beyond this, less the size of a record, none is accepted. What is left then covers all that it can take beside itself, so
    /// that `used` never exceeds the budget, and a message costs one comparison for it.
    full_at: usize,
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
    open_batches: usize,
    /// A batch was opened since `close_all`.
    opened: bool,
    random: Random,
    closed: bool,
    /// The largest record that is taken: one of which a batch of `message_bytes` can be made, and which has room once all else is
    /// gone. What the request needs beside the batch does not count, as in Java: who sets a limit for messages does not know
    /// how long a client id is.
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
        let per_message = if settings.keeps_outcomes {
            DELIVERY_BYTES
        } else {
            0
        };
        let full_at = settings
            .buffer_bytes
            .saturating_sub(beside_record(per_message));
        Self {
            full_at,
            largest: settings
                .message_bytes
                .saturating_sub(HEADER_LEN)
                .min(full_at),
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
            open_batches: 0,
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
            || (!self.has_room_for(size) && !self.is_paid_for(topic, message, size))
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
                setting: if self.largest == self.full_at {
                    "buffer_memory"
                } else {
                    "max_message_bytes"
                },
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

    #[inline(always)]
    fn append_to(
        &mut self,
        part: usize,
        message: &Message<'_>,
        size: usize,
        now: impl Fn() -> Micros,
        accepted: impl FnOnce(&Arc<Completion>, u32),
    ) {
        let ready = |open: &Open| open.takes(size) && open.builder.is_ready_for(size);
        if !self.parts[part].open.as_ref().is_some_and(ready) {
            self.make_ready(part, size, now);
        }
        let entry = &mut self.parts[part];
        let topic = entry.topic;
        let Some(open) = entry.open.as_mut() else {
            unreachable!("it was opened just now");
        };
        let before = open.builder.len_bytes();
        let index = open.builder.append_ready(
            message.timestamp_ms,
            message.key,
            message.value,
            message.headers,
        );
        self.used += self.per_message;
        open.accounted += self.per_message;
        let len = open.builder.len_bytes();
        accepted(&open.completion, index);
        let full = len >= open.limit;
        self.topics[topic].sticky.appended(part, len - before);
        if full {
            self.close_open(part);
        }
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
        let waiting = self.topics.iter_mut().flat_map(|topic| &mut topic.waiting);
        unresolved.extend(waiting.map(Waiting::flush));
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
}
