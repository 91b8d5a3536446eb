//! What a producer holds and who keeps it from getting less: for statistics, health, and the texts of errors.
//!
//! Stations: accumulator, outbox. Any thread, under the lock; asked now and then, so it looks at everything anew and costs the
//! path of a message nothing.

use std::sync::Arc;

use crate::failure::Trouble;
use crate::ids::Micros;
use crate::produce::batch::Batch;
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::partition::{Hold, Partition, Route};
use crate::produce::stats::{Picture, Sum, TopicPicture, total};

/// A node that owes an answer for so long is told as the cause of what waits.
const SILENT: Micros = 1_000_000;

/// A part of the budget and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Empty for outcomes that were not read, or not told.
    pub topic: Arc<str>,
    /// -1 where it is not chosen yet.
    pub partition: i32,
    pub bytes: usize,
    /// The leader that it was last routed to; -1 where it never was.
    pub node: i32,
    pub address: Arc<str>,
    pub cause: String,
    /// Nothing is known to be wrong: it is on its way.
    pub moving: bool,
    /// How old the oldest message of it is.
    pub age: Micros,
}

impl Holder {
    fn place(&self) -> String {
        match self.partition {
            _ if self.topic.is_empty() => "outcomes".into(),
            -1 => self.topic.to_string(),
            partition => format!("{}-{partition}", self.topic),
        }
    }
}

/// The budget at one moment.
#[derive(Debug, Clone)]
pub struct Budget {
    pub used: usize,
    pub cap: usize,
    pub waiting_senders: usize,
    /// Senders wait for room, or one was refused since some last came.
    pub full: bool,
    /// The largest first.
    pub holders: Vec<Holder>,
}

impl Budget {
    /// What keeps outcomes where it is not their readers.
    pub fn set_cause_of_outcomes(&mut self, cause: String) {
        let mut holders = self.holders.iter_mut();
        if let Some(outcomes) = holders.find(|holder| holder.topic.is_empty()) {
            outcomes.cause = cause;
        }
    }

    /// For people: which cause keeps most of it.
    pub fn told(&self) -> String {
        let cap = self.cap;
        match most(self.holders.iter()) {
            Some((bytes, keeps)) => {
                let bytes = size(bytes);
                format!("buffer_memory ({cap} bytes) is full: {bytes} of it wait for {keeps}")
            }
            None => format!("buffer_memory ({cap} bytes) is full"),
        }
    }

    /// For people: what keeps most of the messages that have no outcome; None: there are none.
    pub fn kept(&self) -> Option<String> {
        let unresolved = self.holders.iter().filter(|one| !one.topic.is_empty());
        most(unresolved).map(|(_, keeps)| keeps)
    }
}

/// The cause that keeps most bytes, with its places, and how many bytes these are.
fn most<'a>(holders: impl Iterator<Item = &'a Holder>) -> Option<(usize, String)> {
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
    let (bytes, most) = causes.iter().max_by_key(|(bytes, _)| *bytes)?;
    let mut places: Vec<String> = most.iter().take(3).map(|one| one.place()).collect();
    if most.len() > places.len() {
        places.push(format!("{} more", most.len() - places.len()));
    }
    let cause = most.first().map_or("", |one| &one.cause);
    Some((*bytes, format!("{} ({cause})", places.join(", "))))
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
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
    /// Everything counted and held, which fits together.
    pub fn picture(&mut self, now: Micros) -> Picture {
        let topics: Vec<TopicPicture> = (0..self.acc.topics.len())
            .map(|index| self.topic_picture(index))
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
        Picture {
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

    fn topic_picture(&self, index: usize) -> TopicPicture {
        let topic = &self.acc.topics[index];
        let (mut bytes, mut records) = self.acc.stored(index);
        for part in &topic.parts {
            bytes += self.acc.parts[*part].held_bytes();
            records += self.acc.parts[*part].pending_records();
        }
        TopicPicture {
            name: topic.name.clone(),
            traffic: topic.traffic,
            ends: topic.ends,
            buffered_bytes: bytes,
            buffered_records: records,
        }
    }

    /// Who holds the budget.
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
                topic: "".into(),
                partition: -1,
                bytes: self.acc.memory.used() - unresolved,
                node: -1,
                address: "".into(),
                cause: "nobody has read them yet".into(),
                moving: false,
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
            topic: topic.name.clone(),
            partition: -1,
            bytes,
            node: -1,
            address: "".into(),
            cause: match &topic.trouble {
                Some(trouble) => trouble.text.clone(),
                None => "the topic's metadata has not come".into(),
            },
            moving: false,
            age: now.saturating_sub(created),
        })
    }

    fn holder(&self, part: usize, now: Micros) -> Holder {
        let entry = &self.acc.parts[part];
        let (node, address) = (entry.node, self.address_of(entry.node));
        let refused = entry.batches().next().map_or(0, |batch| batch.refused);
        let trouble = self.trouble_of(part, refused, now);
        Holder {
            topic: self.acc.topics[entry.topic].name.clone(),
            partition: entry.number,
            bytes: entry.held_bytes(),
            moving: trouble.is_none(),
            cause: match trouble {
                Some(trouble) => trouble.text,
                None if node == -1 => "on their way".into(),
                None => format!("on their way to node {node} at {address}"),
            },
            node,
            address,
            age: entry.oldest().map_or(0, |at| now.saturating_sub(at)),
        }
    }

    fn address_of(&self, node: i32) -> Arc<str> {
        let stats = self.nodes.get(&node);
        stats.map_or_else(|| "".into(), |stats| stats.address.clone())
    }

    /// What keeps a partition's messages from their end; None: nothing that is known.
    ///
    /// refused: The last answer about the batch at the head of the line, 0 where there was none.
    pub(super) fn trouble_of(&self, part: usize, refused: i16, now: Micros) -> Option<Trouble> {
        let entry = &self.acc.parts[part];
        let resting = || {
            let held = entry.route.conn().is_none() && entry.hold != Hold::No;
            held.then(|| "it is held, and goes on after its backoff".into())
        };
        self.known_trouble(part, refused, Some(now))
            .or_else(resting)
    }

    /// As `trouble_of`, of what does not go on.
    ///
    /// now: None where nobody knows the time, and so not for how long a node has been silent.
    pub(super) fn known_trouble(
        &self,
        part: usize,
        refused: i16,
        now: Option<Micros>,
    ) -> Option<Trouble> {
        let entry = &self.acc.parts[part];
        let told = || {
            let topic = &self.acc.topics[entry.topic].trouble;
            entry.trouble.clone().or_else(|| topic.clone())
        };
        let silent = now.and_then(|now| self.silence_of(entry, now).map(Trouble::from));
        let refused = || Trouble::refused(refused);
        let Route::To(id) = entry.route else {
            return told().or(silent).or_else(refused);
        };
        let muted = self.conns.get(&id).and_then(|conn| {
            let left = conn
                .muted_until
                .checked_sub(now?)
                .filter(|left| *left > 0)?;
            let (node, address) = (conn.node, self.address_of(conn.node));
            let left = seconds(left);
            let text =
                format!("node {node} at {address} throttles this producer for another {left:.1} s");
            Some(text.into())
        });
        silent.or(muted).or_else(refused).or_else(told)
    }

    /// How long the partition's leader owes an answer, by its connections up to now.
    fn silence_of(&self, entry: &Partition, now: Micros) -> Option<String> {
        let stats = self.nodes.get(&entry.node)?;
        let silent = now.saturating_sub(stats.waiting_since?);
        let (node, address) = (entry.node, &stats.address);
        (silent >= SILENT).then(|| {
            let passed = seconds(silent);
            format!("node {node} at {address} has not answered for {passed:.1} s")
        })
    }
}
