//! Which partition a message gets: what the partitioner says, with what the accumulator knows of partitions and queues.
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
    /// The partition: given, or as the partitioner says.
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

    /// The next visit of a topic's messages without a key. The batch that had no room for one more is complete.
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

    /// What waits for a partition; what is in flight does not wait.
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

    /// Whether the partition's batch is open and takes a message of this size.
    #[inline(always)]
    fn open_batch_takes(&self, part: usize, size: usize) -> bool {
        let open = self.parts[part].open.as_ref();
        open.is_some_and(|open| open.takes(size))
    }

    /// Whether the message goes into a buffer that counts already, though nothing else has room.
    ///
    /// Without this, the buffer that took the last room would leave with one message in it, and the next one likewise.
    #[cold]
    pub(super) fn fits_charged_buffer(
        &self,
        topic: usize,
        message: &Message<'_>,
        size: usize,
    ) -> bool {
        if self.memory.per_message() + message.extra > 0 {
            // A delivery that is stored takes room of its own.
            return false;
        }
        let part = self.certain_partition(topic, message, size);
        let open = part.and_then(|part| self.parts[part].open.as_ref());
        open.is_some_and(|open| open.takes(size) && open.builder.has_spare(size))
    }

    /// The message's partition, where it does not depend on a choice that is made only once.
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

    /// What is known of the topic of this index.
    pub fn known(&self, topic: usize) -> Known {
        let entry = &self.topics[topic];
        match entry.wait.refusal() {
            _ if self.closed => Known::Closed,
            _ if !entry.parts.is_empty() => Known::Partitions(entry.destinations.count),
            Some(refusal) => Known::Failed(refusal.clone()),
            None => Known::NotYet,
        }
    }

    /// The same, and has the topic asked for where it is not known.
    pub fn ask_for(&mut self, topic: usize) -> Known {
        let entry = &mut self.topics[topic];
        if entry.parts.is_empty() && !self.closed && entry.wait.ask() {
            self.reports.events.push(Event::Topic(entry.name.clone()));
        }
        self.known(topic)
    }

    // ---- the queue of sends that wait for a topic --------------------------------------------------------------------

    /// Takes the last place in the queue of the topic; the ticket names it.
    pub fn join_topic_queue(&mut self, topic: usize) -> u64 {
        self.topics[topic].wait.join_queue()
    }

    /// Whether no send is in front of this one in the queue of the topic. A closed producer makes none wait for another.
    pub fn is_head_of_topic(&self, topic: usize, ticket: Option<u64>) -> bool {
        self.closed || self.topics[topic].wait.is_head(ticket)
    }

    /// Wakes once when the topic becomes known or fails, and when this place becomes the head.
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

    /// Whether every message is refused from here on.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn topic_name(&self, topic: usize) -> Arc<str> {
        self.topics[topic].name.clone()
    }
}
