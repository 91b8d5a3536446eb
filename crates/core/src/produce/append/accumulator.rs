//! The accumulator: messages become records of open batches, one per partition, in wire format.
//!
//! Stations: message → partition → accumulator. Runs in the caller's thread under the producer's lock; no I/O, no clock.
//! A message for a topic whose metadata is not known yet is kept in order and gets its partition when that comes.
//! References: KIP-480, KIP-794; Java: `RecordAccumulator`, `BuiltInPartitioner`.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use crate::bytes::pool::Pool;
use crate::ids::Micros;
use crate::partitioning::partitioner::Random;
use crate::produce::append::active::Active;
use crate::produce::append::room_queue::Room;
use crate::produce::append::seal_queue::SealLine;
use crate::produce::append::topic::Topic;
use crate::produce::append::waiting::Waiting;
use crate::produce::append::weight::{DELIVERY_BYTES, beside_record};
use crate::produce::batch::Open;
use crate::produce::completion::Completion;
use crate::produce::counts::Counts;
use crate::produce::event::Event;
use crate::produce::message::{Appended, Message, Refused};
use crate::produce::partition::Partition;
use crate::produce::settings::Settings;
use crate::record::encode::record_size_upper_bound;
use crate::record::header::HEADER_LEN;

pub struct Accumulator {
    pub settings: Settings,
    pub(crate) topics: Vec<Topic>,
    pub(super) names: HashMap<Arc<str>, usize>,
    pub(crate) parts: Vec<Partition>,
    pub(crate) active: Active,
    /// Memory for what was accepted and is not resolved, or resolved and not read where that was asked for: `weight.rs`.
    pub(crate) used: usize,
    /// Beyond this, less the size of a record, none is accepted. What is left then covers all that it can take beside itself, so
    /// that `used` never exceeds the budget, and a message costs one comparison for it.
    pub(super) full_at: usize,
    pub counts: Counts,
    pub(crate) events: Vec<Event>,
    pub(crate) resolved: Vec<Arc<Completion>>,
    pub(crate) pool: Arc<Pool>,
    /// Complete batches that are sealed ahead.
    pub(crate) to_seal: SealLine,
    /// From this size on, whatever the codec; for tests.
    pub(super) ahead_from: Option<usize>,
    /// What a message weighs beside its record: 0, but for who reads outcomes one by one.
    pub(crate) per_message: usize,
    /// Given to every completion.
    owner: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) room: Room,
    pub(super) next_batch: u64,
    pub(super) open_batches: usize,
    /// A batch was opened since `close_all`.
    pub(super) opened: bool,
    pub(super) random: Random,
    pub(super) closed: bool,
    /// The largest record that is taken: one of which a batch of `message_bytes` can be made, and which has room once all else is
    /// gone. What the request needs beside the batch does not count, as in Java: who sets a limit for messages does not know
    /// how long a client id is.
    largest: usize,
    /// Somebody listens to events that are told for that only.
    pub(crate) watched: bool,
    /// The I/O thread has been woken and has not looked yet.
    woken: bool,
    /// Something happened that it has to look at.
    pub(super) attention: bool,
    /// A batch left or was answered since it looked.
    pub(super) flowing: bool,
    /// No open batch with this number or a higher one was seen to leave: `produce/append/linger.rs`.
    pub(super) leaving: u64,
    /// When it looks anyway.
    pub(super) next_look: Option<Micros>,
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
            room: Room::default(),
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
            || (!self.has_room_for(size + message.extra) && !self.is_paid_for(topic, message, size))
            || !in_turn
        {
            return Err(self.refusal(size, message.extra));
        }
        let events = self.events.len();
        if self.topics[topic].parts.is_empty() {
            let (completion, index) = self.store(topic, message, size, now());
            accepted(&completion, index);
        } else {
            self.take_extra(message);
            match self.choose(topic, message, size, &now) {
                Ok(part) => self.append_to(part, message, size, now, accepted),
                Err(refused) => {
                    self.used -= message.extra;
                    return Err(refused);
                }
            }
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

    /// Idle buffers lie in the rest of the budget, so they may have to go.
    #[inline(always)]
    pub(super) fn take_extra(&mut self, message: &Message<'_>) {
        if message.extra > 0 {
            self.take(message.extra);
        }
    }

    /// Why a message of this size is not accepted.
    #[cold]
    fn refusal(&self, size: usize, extra: usize) -> Refused {
        if self.closed {
            Refused::Closed
        } else if size > self.largest || size + extra > self.full_at {
            Refused::TooLarge {
                bytes: size + HEADER_LEN,
                cap: self.largest.min(self.full_at - extra) + HEADER_LEN,
                setting: if self.largest + extra >= self.full_at {
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
    pub(super) fn append_to(
        &mut self,
        part: usize,
        message: &Message<'_>,
        size: usize,
        now: impl Fn() -> Micros,
        accepted: impl FnOnce(&Arc<Completion>, u32),
    ) {
        // `message.extra` is in `used` already: a buffer that grows leaves it room.
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
        open.accounted += self.per_message + message.extra;
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

    /// A partition has a batch to be sent, which it may have had before.
    pub(crate) fn has_batch(&mut self, part: usize) {
        self.active.has_batch(&mut self.parts, part);
    }

    /// Those whose batches are all gone are not looked at any more.
    pub(crate) fn forget_idle(&mut self) {
        self.active.forget_idle(&mut self.parts);
    }
}
