//! The produce flow: batches of routed partitions to the broker and back, and holds for everything else.
//!
//! Stations: batch → outbox → request → response → delivery. A state machine without I/O: time is passed in, requests come
//! out. While a partition flows, the engine is not involved. An error code, a lost connection, an expiry or a call of `hold` stops
//! it: the batches in flight end first, then one `Held` event reports all of them, and `release` carries out the decisions.
//! References: KIP-98, KIP-126, KIP-360, KIP-467; Java: `Sender`, `RecordAccumulator.drain`.
//!
//! Invariant: when a topic is recreated (another id for its name), its partitions are held, also in the middle of a hold: batches
//! that may be in the old topic are never sent to the new one (`set_topic`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::ids::{ConnId, Identity};
use crate::produce::append::accumulator::Accumulator;
use crate::produce::batch::{Batch, Content};
use crate::produce::drain::conn::Conn;
use crate::produce::event::Event;
use crate::produce::partition::{Hold, Route};
use crate::produce::settings::Settings;
use crate::produce::stats::NodeStats;

pub struct ProduceFlow {
    pub acc: Accumulator,
    pub(in crate::produce) conns: HashMap<ConnId, Conn>,
    pub(in crate::produce) nodes: BTreeMap<i32, NodeStats>,
    pub(in crate::produce) identity: Option<Identity>,
    pub(super) next_token: u64,
}

impl ProduceFlow {
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            acc: Accumulator::new(settings, seed),
            conns: HashMap::new(),
            nodes: BTreeMap::new(),
            identity: None,
            next_token: 1,
        }
    }

    /// Sets the identity of partitions that have not sent anything yet.
    pub fn set_identity(&mut self, producer_id: i64, epoch: i16) {
        self.identity = Some(Identity { producer_id, epoch });
    }

    /// Adds a connection to this node, which the flow owns from now on.
    pub fn attach(&mut self, conn: ConnId, version: i16, node: i32, address: &str) {
        self.nodes.entry(node).or_default().address = address.into();
        let made = Conn {
            version,
            node,
            parts: Vec::new(),
            todo: Vec::new(),
            requests: VecDeque::new(),
            muted_until: 0,
        };
        self.conns.entry(conn).or_insert(made);
    }

    pub(in crate::produce) fn find(&mut self, topic: &str, number: i32) -> Option<usize> {
        let index = self.acc.topic(topic);
        self.acc.topics[index]
            .parts
            .get(usize::try_from(number).ok()?)
            .copied()
    }

    pub fn route(&mut self, topic: &str, number: i32, conn: ConnId) {
        let Some(part) = self.find(topic, number) else {
            return;
        };
        let entry = &mut self.acc.parts[part];
        if entry.route.conn().is_some() || entry.hold != Hold::No {
            return;
        }
        entry.route = Route::None;
        let Some(known) = self.conns.get_mut(&conn) else {
            // The connection was lost before the route arrived: request another one.
            if self.acc.parts[part].has_work() {
                self.acc.request_route(part);
            }
            return;
        };
        entry.route = Route::To(conn);
        entry.numbering.forget_acknowledgement();
        entry.trouble = None;
        entry.node = known.node;
        known.parts.push(part);
        if entry.has_work() {
            self.acc.mark_active(part);
        }
    }

    /// Releases the memory of a resolved batch, or keeps it charged until its outcomes are read.
    pub(super) fn release_batch(&mut self, batch: Batch) {
        if !batch.completion.charge_until_read(batch.accounted) {
            self.acc.free(batch.accounted);
        }
        self.give_back(batch.content);
    }

    /// Returns the buffer of a batch that was never sent to the pool; that of a sent one returns when its last reference is dropped.
    fn give_back(&self, content: Content) {
        match content {
            Content::Open(builder) | Content::Queued(builder) => {
                self.acc.memory.pool.give(builder.into_buffer());
            }
            Content::Ready(bytes) => self.acc.memory.pool.give(bytes),
            Content::Sealed(_) | Content::BeingSealed => {}
        }
    }

    pub(super) fn place_of(&self, part: usize) -> (Arc<str>, i32) {
        let entry = &self.acc.parts[part];
        (self.acc.topics[entry.topic].name.clone(), entry.number)
    }

    /// Turns the events of single batches on or off.
    pub fn watch(&mut self, watched: bool) {
        self.acc.reports.watched = watched;
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.acc.reports.events)
    }
}
