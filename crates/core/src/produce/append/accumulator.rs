//! The accumulator: messages become records of open batches, one per partition, in wire format.
//!
//! Stations: message → partition → accumulator. Runs in the caller's thread under the producer's lock; no I/O, no clock.
//! A message for a topic whose metadata is not known yet is stored in order and gets its partition when the metadata arrives.
//! References: KIP-480, KIP-794; Java: `RecordAccumulator`, `BuiltInPartitioner`.

use std::any::Any;
use std::sync::Arc;

use crate::ids::Micros;
use crate::partitioning::partitioner::Random;
use crate::produce::append::active::Active;
use crate::produce::append::attention::Attention;
use crate::produce::append::charges::DELIVERY_BYTES;
use crate::produce::append::memory::Memory;
use crate::produce::append::open_batches::OpenBatches;
use crate::produce::append::reports::Reports;
use crate::produce::append::seal_queue::SealQueue;
use crate::produce::append::space_queue::SpaceQueue;
use crate::produce::append::topic::Topics;
use crate::produce::append::waiting::Waiting;
use crate::produce::batch::Open;
use crate::produce::completion::Completion;
use crate::produce::counts::Counts;
use crate::produce::message::{Appended, Message, Refused};
use crate::produce::partition::Partition;
use crate::produce::settings::Settings;
use crate::record::encode::record_size_upper_bound;
use crate::record::header::HEADER_LEN;

pub struct Accumulator {
    pub settings: Settings,
    pub(in crate::produce) topics: Topics,
    /// The partitions of all topics.
    pub(in crate::produce) parts: Vec<Partition>,
    pub(in crate::produce) active: Active,
    pub(in crate::produce) memory: Memory,
    /// Queue of senders that wait for free buffer space.
    pub(super) space: SpaceQueue,
    pub(super) open_batches: OpenBatches,
    /// Complete batches that are sealed ahead.
    pub(in crate::produce) seals: SealQueue,
    pub(in crate::produce) attention: Attention,
    pub(in crate::produce) reports: Reports,
    pub counts: Counts,
    pub(super) random: Random,
    pub(super) closed: bool,
    /// Size of the largest record that is accepted: it fits into a batch of `message_bytes` and into an otherwise empty buffer.
    /// The overhead of a request does not count, as in Java: a limit for messages should not depend on a client id.
    largest: usize,
    /// Producer object that every completion refers to; opaque here.
    owner: Option<Arc<dyn Any + Send + Sync>>,
}

impl Accumulator {
    pub fn new(settings: Settings, seed: u64) -> Self {
        let per_message = if settings.keeps_outcomes {
            DELIVERY_BYTES
        } else {
            0
        };
        let memory = Memory::new(settings.buffer_bytes, per_message);
        Self {
            largest: settings
                .message_bytes
                .saturating_sub(HEADER_LEN)
                .min(memory.full_at()),
            settings,
            topics: Topics::default(),
            parts: Vec::new(),
            active: Active::default(),
            memory,
            space: SpaceQueue::default(),
            open_batches: OpenBatches::default(),
            seals: SealQueue::default(),
            attention: Attention::default(),
            reports: Reports::default(),
            counts: Counts::default(),
            random: Random::new(seed),
            closed: false,
            owner: None,
        }
    }

    pub fn set_owner(&mut self, owner: Arc<dyn Any + Send + Sync>) {
        self.owner = Some(owner);
    }

    /// Creates a completion that refers to the producer object.
    pub(crate) fn completion(&self, topic: Arc<str>, partition: i32) -> Arc<Completion> {
        let completion = Completion::new(topic, partition);
        if let Some(owner) = &self.owner {
            completion.set_owner(owner.clone());
        }
        completion
    }

    // ---- messages --------------------------------------------------------------------------------------------------

    /// Accepts one message and passes its place (completion and index) to `accepted`. `ticket`: returned by `wait_for_space`, for
    /// a sender that waits in the queue. `now` is called only where a batch is opened.
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
            None => self.space.is_empty(),
            ticket => self.space.head() == ticket,
        };
        if self.closed
            || size > self.largest
            || (!self.memory.has_space_for(size + message.extra)
                && !self.fits_charged_buffer(topic, message, size))
            || !in_turn
        {
            return Err(self.refusal(size, message.extra));
        }
        let events = self.reports.events.len();
        if self.topics[topic].parts.is_empty() {
            let (completion, index) = self.store(topic, message, size, now());
            accepted(&completion, index);
        } else {
            self.charge_extra(message);
            match self.choose(topic, message, size, &now) {
                Ok(part) => self.append_to(part, message, size, now, accepted),
                Err(refused) => {
                    self.memory.give_back(message.extra);
                    if message.partition.is_none_or(|number| number < 0) {
                        return Err(refused);
                    }
                    // The partition may have been added: metadata that is younger than this call decides.
                    let (completion, index) = self.store(topic, message, size, now());
                    accepted(&completion, index);
                }
            }
        }
        self.counts.accepted += 1;
        if ticket.is_some() {
            self.advance_queue();
        }
        let wake = self.attention.take_wake();
        Ok(Appended {
            wake,
            ring: self.reports.events.len() > events,
        })
    }

    /// Charges `message.extra`. Idle buffers use the free part of the budget, so some may be dropped for it.
    #[inline(always)]
    pub(super) fn charge_extra(&mut self, message: &Message<'_>) {
        if message.extra > 0 {
            self.memory.take(message.extra);
        }
    }

    /// Reason for which a message of this size is not accepted.
    #[cold]
    fn refusal(&self, size: usize, extra: usize) -> Refused {
        if self.closed {
            Refused::Closed
        } else if size > self.largest || size + extra > self.memory.full_at() {
            Refused::TooLarge {
                bytes: size + HEADER_LEN,
                cap: self.largest.min(self.memory.full_at() - extra) + HEADER_LEN,
                setting: if self.largest + extra >= self.memory.full_at() {
                    "buffer_memory"
                } else {
                    "max_message_bytes"
                },
            }
        } else {
            Refused::Full
        }
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
        // `message.extra` is charged already, so a buffer that grows does not use that part of the budget.
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
        open.accounted += self.memory.take_message() + message.extra;
        let len = open.builder.len_bytes();
        accepted(&open.completion, index);
        let full = len >= open.limit;
        let destinations = &mut self.topics[topic].destinations;
        destinations.sticky.appended(part, len - before);
        if full {
            self.close_open(part);
        }
    }

    /// Returns a number for a batch, higher than all earlier ones.
    pub(crate) fn batch_id(&mut self) -> u64 {
        self.open_batches.next_id += 1;
        self.open_batches.next_id - 1
    }

    // ---- the end ------------------------------------------------------------------------------------------------------

    pub fn stop_accepting(&mut self) {
        self.closed = true;
        self.space.wake_all();
        for topic in self.topics.iter_mut() {
            topic.wait.wake_all();
        }
    }

    /// Makes all messages ready to be sent, and returns the completions that are not resolved.
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

    /// Bytes that are charged against `buffer_bytes`.
    pub fn used_bytes(&self) -> usize {
        self.memory.used()
    }

    /// Bytes of idle buffers, which are in no batch and are not charged.
    pub fn idle_bytes(&self) -> usize {
        self.memory.pool.idle_bytes()
    }

    /// Marks a partition that has a batch to be sent; it may be marked already.
    pub(crate) fn mark_active(&mut self, part: usize) {
        self.active.mark_active(&mut self.parts, part);
    }

    /// Drops partitions without batches from the list of active ones.
    pub(crate) fn forget_idle(&mut self) {
        self.active.forget_idle(&mut self.parts);
    }
}
