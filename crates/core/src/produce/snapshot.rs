//! Snapshot of a producer: its batches, the use of its budget, and the causes that hold it; for statistics, health and errors.
//!
//! Stations: accumulator, outbox. Any thread, under the lock. It is called rarely, so it goes through all state each time and costs
//! the path of a message nothing.

use std::sync::Arc;

use crate::failure::Trouble;
use crate::ids::Micros;
use crate::produce::batch::Batch;
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::partition::{Hold, Partition, Route};
use crate::produce::stats::{Snapshot, Sum, TopicSnapshot, total};

/// Time without an answer after which a node is reported as the cause that messages wait.
const SILENT: Micros = 1_000_000;

/// Event or obstacle that a part of the budget waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderCause {
    /// No trouble is known: its batches are in flight to this node, or will be.
    InFlight(Option<(i32, Arc<str>)>),
    /// The metadata of its topic.
    Metadata,
    /// Its messages have outcomes that were not read, or not reported to callbacks, yet.
    Outcomes,
    Trouble(Trouble),
}

/// A part of the budget and the cause for which it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// None for outcomes.
    pub topic: Option<Arc<str>>,
    /// None where the partition is not chosen yet.
    pub partition: Option<i32>,
    pub bytes: usize,
    /// Leader that it was last routed to, and the address of that.
    pub node: Option<(i32, Arc<str>)>,
    pub cause: HolderCause,
    /// Age of its oldest message.
    pub age: Micros,
}

/// All holders with the same cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub cause: HolderCause,
    pub bytes: usize,
    /// Topics and partitions of the largest holders, at most `MAX_PLACES`.
    pub places: Vec<(Option<Arc<str>>, Option<i32>)>,
    /// Number of further holders.
    pub more: usize,
}

/// The budget at one moment.
#[derive(Debug, Clone)]
pub struct Budget {
    pub used: usize,
    pub cap: usize,
    pub waiting_senders: usize,
    /// Senders wait for free space, or one was refused and its message would not fit now.
    pub full: bool,
    /// Sorted by size, the largest first.
    pub holders: Vec<Holder>,
}

/// Maximum number of places in a share.
const MAX_PLACES: usize = 3;

impl Budget {
    /// The cause that holds most bytes.
    pub fn largest(&self) -> Option<Share> {
        largest(self.holders.iter())
    }

    /// The cause that holds most bytes of messages without an outcome.
    pub fn largest_unresolved(&self) -> Option<Share> {
        largest(self.holders.iter().filter(|holder| holder.topic.is_some()))
    }
}

fn largest<'a>(holders: impl Iterator<Item = &'a Holder>) -> Option<Share> {
    let mut causes: Vec<(usize, Vec<&Holder>)> = Vec::new();
    for holder in holders {
        match causes
            .iter_mut()
            .find(|(_, known)| known.first().is_some_and(|one| one.cause == holder.cause))
        {
            Some((bytes, known)) => {
                *bytes += holder.bytes;
                known.push(holder);
            }
            None => causes.push((holder.bytes, vec![holder])),
        }
    }
    let (bytes, most) = causes.into_iter().max_by_key(|(bytes, _)| *bytes)?;
    let named = most.iter().take(MAX_PLACES);
    Some(Share {
        cause: most.first()?.cause.clone(),
        bytes,
        places: named
            .map(|holder| (holder.topic.clone(), holder.partition))
            .collect(),
        more: most.len().saturating_sub(MAX_PLACES),
    })
}

impl Partition {
    fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.flight.iter().chain(&self.queue)
    }

    fn held_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| open.accounted);
        open + self.batches().map(|batch| batch.accounted).sum::<usize>()
    }

    fn pending_records(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.count());
        let batches = self.batches().filter(|batch| batch.completion.is_pending());
        u64::from(open) + batches.map(|batch| u64::from(batch.count)).sum::<u64>()
    }

    fn oldest(&self) -> Option<Micros> {
        let open = self.open.as_ref().map(|open| open.created);
        self.batches().map(|batch| batch.created).chain(open).min()
    }
}

impl ProduceFlow {
    /// Snapshot of counters and memory, consistent with each other.
    pub fn snapshot(&mut self, now: Micros) -> Snapshot {
        let topics: Vec<TopicSnapshot> = (0..self.acc.topics.len())
            .map(|index| self.topic_snapshot(index))
            .collect();
        let mut sum = Sum::default();
        for (id, stats) in &mut self.nodes {
            let conns = self.conns.values().filter(|conn| conn.node == *id);
            let (in_flight, muted) = conns.fold((0, 0), |(in_flight, muted), conn| {
                let count = in_flight + conn.requests.len();
                (count, conn.muted_until.max(muted))
            });
            sum.node(*id, stats, in_flight, muted, now);
        }
        Snapshot {
            counts: self.acc.counts,
            traffic: total(&topics),
            used: self.acc.memory.used(),
            cap: self.acc.settings.buffer_bytes,
            waiting_senders: self.acc.waiting_senders(),
            latency: sum.latency(),
            nodes: sum.nodes,
            topics,
        }
    }

    fn topic_snapshot(&self, index: usize) -> TopicSnapshot {
        let topic = &self.acc.topics[index];
        let (mut bytes, mut records) = self.acc.stored(index);
        for part in &topic.parts {
            bytes += self.acc.parts[*part].held_bytes();
            records += self.acc.parts[*part].pending_records();
        }
        TopicSnapshot {
            name: topic.name.clone(),
            traffic: topic.traffic,
            outcomes: topic.outcomes,
            buffered_bytes: bytes,
            buffered_records: records,
        }
    }

    /// The budget and its holders.
    pub fn budget(&self, now: Micros) -> Budget {
        let mut holders: Vec<Holder> = Vec::new();
        for index in 0..self.acc.topics.len() {
            holders.extend(self.stored_holder(index, now));
        }
        for (part, entry) in self.acc.parts.iter().enumerate() {
            if entry.held_bytes() > 0 {
                holders.push(self.holder(part, now));
            }
        }
        let unresolved: usize = holders.iter().map(|holder| holder.bytes).sum();
        if self.acc.memory.used() > unresolved {
            holders.push(Holder {
                topic: None,
                partition: None,
                bytes: self.acc.memory.used() - unresolved,
                node: None,
                cause: HolderCause::Outcomes,
                age: 0,
            });
        }
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
        Budget {
            used: self.acc.memory.used(),
            cap: self.acc.settings.buffer_bytes,
            waiting_senders: self.acc.waiting_senders(),
            full: self.acc.is_full(),
            holders,
        }
    }

    fn stored_holder(&self, index: usize, now: Micros) -> Option<Holder> {
        let (bytes, _) = self.acc.stored(index);
        let topic = &self.acc.topics[index];
        let created = self.acc.stored_since(index)?;
        Some(Holder {
            topic: Some(topic.name.clone()),
            partition: None,
            bytes,
            node: None,
            cause: match &topic.trouble {
                Some(trouble) => HolderCause::Trouble(trouble.clone()),
                None => HolderCause::Metadata,
            },
            age: now.saturating_sub(created),
        })
    }

    fn holder(&self, part: usize, now: Micros) -> Holder {
        let entry = &self.acc.parts[part];
        let node = (entry.node >= 0).then(|| (entry.node, self.address_of(entry.node)));
        let refused = entry.batches().next().map_or(0, |batch| batch.refused);
        let trouble = self.trouble_of(part, refused, now);
        Holder {
            topic: Some(self.acc.topics[entry.topic].name.clone()),
            partition: Some(entry.number),
            bytes: entry.held_bytes(),
            cause: match trouble {
                Some(trouble) => HolderCause::Trouble(trouble),
                None => HolderCause::InFlight(node.clone()),
            },
            node,
            age: entry.oldest().map_or(0, |at| now.saturating_sub(at)),
        }
    }

    fn address_of(&self, node: i32) -> Arc<str> {
        let stats = self.nodes.get(&node);
        stats.map_or_else(|| "".into(), |stats| stats.address.clone())
    }

    /// Obstacle to the messages of a partition; None: none is known.
    ///
    /// refused: Last error code about the batch at the head of its queue, 0 where there was none.
    pub(super) fn trouble_of(&self, part: usize, refused: i16, now: Micros) -> Option<Trouble> {
        let entry = &self.acc.parts[part];
        let resting = || {
            let held = entry.route.conn().is_none() && entry.hold != Hold::No;
            held.then_some(Trouble::Backoff)
        };
        self.known_trouble(part, refused, Some(now))
            .or_else(resting)
    }

    /// Same as `trouble_of`, for messages that are given up.
    ///
    /// now: None where the time is not known, and so neither for how long a node has been silent.
    pub(super) fn known_trouble(
        &self,
        part: usize,
        refused: i16,
        now: Option<Micros>,
    ) -> Option<Trouble> {
        let entry = &self.acc.parts[part];
        let reported = || {
            let topic = &self.acc.topics[entry.topic].trouble;
            entry.trouble.clone().or_else(|| topic.clone())
        };
        let silent = now.and_then(|now| self.silence_of(entry, now));
        let refused = || (refused != 0).then_some(Trouble::Refused(refused));
        let Route::To(id) = entry.route else {
            return reported().or(silent).or_else(refused);
        };
        let throttling = self.conns.get(&id).and_then(|conn| {
            let left = conn.muted_until.checked_sub(now?);
            Some(Trouble::Throttling {
                node: conn.node,
                address: self.address_of(conn.node),
                time: left.filter(|left| *left > 0)?,
            })
        });
        silent.or(throttling).or_else(refused).or_else(reported)
    }

    /// Trouble of a leader that has not answered for `SILENT` or longer, over all its connections.
    fn silence_of(&self, entry: &Partition, now: Micros) -> Option<Trouble> {
        let stats = self.nodes.get(&entry.node)?;
        let time = now.saturating_sub(stats.waiting_since?);
        (time >= SILENT).then(|| Trouble::Silent {
            node: entry.node,
            address: stats.address.clone(),
            time,
        })
    }
}
