//! Chooses the partition of a message: by its partition number, its key, or the load of the partitions.
//!
//! Station: partition. Caller's thread, under the producer's lock. References: KIP-480, KIP-794; Java: `RecordAccumulator`.

use std::sync::Arc;

use crate::ids::Micros;
use crate::partitioning::partitioner::{self, Choice, Load};
use crate::produce::append::accumulator::Accumulator;
use crate::produce::append::topic_wait::Known;
use crate::produce::batch::Open;
use crate::produce::event::Event;
use crate::produce::message::{Message, Refused};
use crate::seam::Wake;

impl Accumulator {
    /// Returns the partition: the given one, or the choice of the partitioner.
    #[inline(always)]
    pub(super) fn choose(
        &mut self,
        topic: usize,
        message: &Message<'_>,
        size: usize,
        now: impl Fn() -> Micros,
    ) -> Result<usize, Refused> {
        let entry = &self.topics[topic];
        let count = entry.destinations.count;
        if let Some(number) = message.partition {
            let part = usize::try_from(number)
                .ok()
                .and_then(|number| entry.parts[..count].get(number));
            return part
                .copied()
                .ok_or(Refused::NoSuchPartition { partitions: count });
        }
        Ok(
            match partitioner::choose(self.settings.partitioner, message.key, count) {
                Choice::Hashed(number) => entry.parts[number],
                Choice::Sticky => self.sticky(topic, size, now),
                Choice::InTurn => self.in_turn(topic),
                Choice::AtRandom => {
                    let choices = entry.choices();
                    choices[self.random.below(choices.len())]
                }
            },
        )
    }

    #[inline(always)]
    fn sticky(&mut self, topic: usize, size: usize, now: impl Fn() -> Micros) -> usize {
        let takes = |part: usize| self.open_batch_takes(part, size);
        let entry = &self.topics[topic];
        match entry
            .destinations
            .sticky
            .stays(size, entry.batching.limit, takes)
        {
            Some(part) => part,
            None => self.next_visit(topic, now()),
        }
    }

    /// Begins the next visit of a topic's messages without a key. The batch that one more message did not fit into is complete.
    #[cold]
    fn next_visit(&mut self, topic: usize, now: Micros) -> usize {
        if let Some(part) = self.topics[topic].destinations.sticky.visited() {
            self.close_open(part);
        }
        let settings = &self.settings;
        let choices = self.topics[topic].choices();
        let part = if settings.adaptive && choices.len() > 1 {
            let loads: Vec<Load> = choices.iter().map(|part| self.load(*part)).collect();
            let timeout = settings.availability_timeout;
            let overdue = (timeout > 0).then(|| now.saturating_sub(timeout));
            choices[partitioner::adaptive(&loads, overdue, &mut self.random)]
        } else {
            let choices = self.topics[topic].preferred();
            choices[self.random.below(choices.len())]
        };
        self.topics[topic].destinations.sticky.visit(part);
        part
    }

    /// Load of a partition: the batches that wait for it, without those in flight.
    fn load(&self, part: usize) -> Load {
        let entry = &self.parts[part];
        let linger = self.topics[entry.topic].batching.set.linger;
        let lingered = |open: &Open| open.created.saturating_add(linger);
        let first = entry
            .queue
            .front()
            .map(|batch| batch.created.saturating_add(linger));
        Load {
            batches: entry.queue.len() + usize::from(entry.open.is_some()),
            leader: entry.route.conn(),
            ready: first.or_else(|| entry.open.as_ref().map(lingered)),
            near: self.topics[entry.topic].destinations.is_near(part),
        }
    }

    fn in_turn(&mut self, topic: usize) -> usize {
        let entry = &mut self.topics[topic];
        let turn = entry.destinations.turns;
        entry.destinations.turns = turn.wrapping_add(1);
        let choices = entry.choices();
        choices[turn % choices.len()]
    }

    /// Whether the partition has an open batch and a message of this size fits into it.
    #[inline(always)]
    fn open_batch_takes(&self, part: usize, size: usize) -> bool {
        let open = self.parts[part].open.as_ref();
        open.is_some_and(|open| open.takes(size))
    }

    /// Whether the message fits into an open batch whose buffer is charged already, though the budget has no space left.
    ///
    /// Otherwise the buffer that took the last free space would be sent with one message in it, and so would the next one.
    #[cold]
    pub(super) fn fits_charged_buffer(
        &self,
        topic: usize,
        message: &Message<'_>,
        size: usize,
    ) -> bool {
        if self.memory.per_message() + message.extra > 0 {
            // A stored delivery is charged in addition.
            return false;
        }
        let part = self.certain_partition(topic, message, size);
        let open = part.and_then(|part| self.parts[part].open.as_ref());
        open.is_some_and(|open| open.takes(size) && open.builder.has_spare(size))
    }

    /// The message's partition, unless it depends on a choice that may be made only once per message.
    fn certain_partition(&self, topic: usize, message: &Message<'_>, size: usize) -> Option<usize> {
        let entry = &self.topics[topic];
        let count = entry.destinations.count;
        if count == 0 {
            return None;
        }
        if let Some(number) = message.partition {
            let number = usize::try_from(number).ok()?;
            return entry.parts[..count].get(number).copied();
        }
        match partitioner::choose(self.settings.partitioner, message.key, count) {
            Choice::Hashed(number) => entry.parts.get(number).copied(),
            Choice::Sticky => {
                let takes = |part: usize| self.open_batch_takes(part, size);
                entry
                    .destinations
                    .sticky
                    .stays(size, entry.batching.limit, takes)
            }
            Choice::InTurn | Choice::AtRandom => None,
        }
    }

    // ---- sends that wait for a topic --------------------------------------------------------------------------------

    /// Current knowledge about the topic with this index.
    pub fn known(&self, topic: usize) -> Known {
        let entry = &self.topics[topic];
        match entry.wait.refusal() {
            _ if self.closed => Known::Closed,
            _ if !entry.parts.is_empty() => Known::Partitions(entry.destinations.count),
            Some(refusal) => Known::Failed(refusal.clone()),
            None => Known::NotYet,
        }
    }

    /// Same as `known`; requests the metadata of a topic that is not known.
    pub fn ask_for(&mut self, topic: usize) -> Known {
        let entry = &mut self.topics[topic];
        if entry.parts.is_empty() && !self.closed && entry.wait.ask() {
            self.reports
                .events
                .push(Event::TopicWanted(entry.name.clone()));
        }
        self.known(topic)
    }

    // ---- the queue of sends that wait for a topic --------------------------------------------------------------------

    /// Joins the topic's queue at its end; the returned ticket identifies the place.
    pub fn join_topic_queue(&mut self, topic: usize) -> u64 {
        self.topics[topic].wait.join_queue()
    }

    /// Whether no send is in front of this one in the topic's queue. True for every send once the producer is closed.
    pub fn is_head_of_topic(&self, topic: usize, ticket: Option<u64>) -> bool {
        self.closed || self.topics[topic].wait.is_head(ticket)
    }

    /// Registers a wake, called once: when the topic becomes known or fails, or when this place becomes the head.
    pub fn sleep_in_topic_queue(
        &mut self,
        topic: usize,
        ticket: u64,
        wake: Arc<dyn Wake>,
        token: u64,
    ) {
        self.topics[topic].wait.sleep_in_queue(ticket, wake, token);
    }

    pub fn leave_topic_queue(&mut self, topic: usize, ticket: u64) {
        self.topics[topic].wait.leave_queue(ticket);
    }

    /// Whether the producer is closed, so that every message is refused.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn topic_name(&self, topic: usize) -> Arc<str> {
        self.topics[topic].name.clone()
    }
}
