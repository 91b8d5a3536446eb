//! The produce flow: batches of routed partitions to the broker and back, and holds for everything else.
//!
//! Stations: batch → outbox → request → response → delivery. A state machine without I/O: time is passed in, requests come
//! out. While a partition flows nobody is asked. An error code, a lost connection, an expiry or a wish to hold stops it:
//! what is in flight ends first, then one `Held` event tells the whole story, and `release` says how to go on.
//! References: KIP-98, KIP-126, KIP-360, KIP-467; Java: `Sender`, `RecordAccumulator.drain`.

mod answers;
mod check;
mod expiry;
pub(crate) mod gapless;
mod holds;
mod outcome;
pub mod picture;
mod rebuild;
mod requests;
mod sealing;
mod todo;
mod too_large;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::accumulator::{Accumulator, Open, Settings};
use crate::completion::{Completion, Failure};
use crate::flow::{ConnId, Micros};
use crate::produce_stats::NodeStats;
use crate::produce_wire::Answer;
use crate::record::encode::BatchBuilder;
use crate::trouble::Trouble;

pub use requests::{Pick, Plan};
pub use sealing::{SealJob, Sealed};

/// Kafka's sequences go round after this one.
const LAST_SEQUENCE: i64 = i32::MAX as i64;

pub(crate) enum Content {
    /// Not sealed yet: sealing happens outside the lock, when the batch is first sent.
    Open(BatchBuilder),
    /// Not sealed yet, and so large that it is sealed before it may be sent.
    Queued(BatchBuilder),
    /// Sealed ahead; who produces is written into it when it is first sent.
    Ready(Vec<u8>),
    Sealed(Bytes),
    /// Being sealed.
    Away,
}

impl Content {
    /// Bytes in a request: before compression where it is not sealed.
    fn len_bytes(&self) -> usize {
        match self {
            Self::Open(builder) | Self::Queued(builder) => builder.len_bytes(),
            Self::Ready(bytes) => bytes.len(),
            Self::Sealed(bytes) => bytes.len(),
            Self::Away => 0,
        }
    }
}

pub(crate) struct Batch {
    pub id: u64,
    pub content: Content,
    pub completion: Arc<Completion>,
    pub count: u32,
    pub created: Micros,
    /// Its size before compression.
    pub raw: usize,
    pub accounted: usize,
    /// Producer id, epoch and first sequence, from the first time that it was sent.
    pub sequence: Option<(i64, i16, i32)>,
    pub attempts: u32,
    pub sent: bool,
    /// An attempt ended without an answer.
    pub unanswered: bool,
    /// A batch behind it was acknowledged under the same identity. The broker accepts no gap, so this one is in the log.
    pub overtaken: bool,
    /// Its time is up and its messages have their outcome; it stays in line until its answer or the connection's end.
    pub expired: bool,
    /// Its attempt has ended, one way or the other.
    pub answered: bool,
    pub answer: Option<Answer>,
    /// The error code of the last attempt that was answered; 0: none was.
    pub refused: i16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    None,
    To(ConnId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    No,
    /// Nothing more is sent; what is in flight ends.
    Ending(String),
    /// The engine has been told and has not answered.
    Told,
}

/// So long after its last acknowledgement a broker is taken to keep a producer's sequences, at the least.
const PROVEN_FOR: Micros = 60_000_000;

pub(crate) struct Partition {
    pub topic: usize,
    pub number: i32,
    pub open: Option<Open>,
    /// Ready and not in flight, in order.
    pub queue: VecDeque<Batch>,
    /// In flight, in order; after a hold, waiting for the engine's decisions.
    pub flight: VecDeque<Batch>,
    pub route: Route,
    pub hold: Hold,
    pub wanted: bool,
    /// As `accumulator/active.rs` says.
    pub active: bool,
    pub listed: bool,
    identity: Option<(i64, i16)>,
    next_sequence: i32,
    /// When the broker last acknowledged a batch on this route, under this identity.
    acknowledged: Option<Micros>,
    /// The topic was made anew, and the engine has not been told yet.
    recreated: bool,
    /// Size of the last batch: how large the next one's first buffer is.
    pub last_bytes: usize,
    /// What keeps it from being sent, as the engine knows it.
    pub trouble: Option<Trouble>,
    /// Where it was routed to last; -1: nowhere yet.
    pub node: i32,
}

impl Partition {
    pub fn new(topic: usize, number: i32) -> Self {
        Self {
            topic,
            number,
            open: None,
            queue: VecDeque::new(),
            flight: VecDeque::new(),
            route: Route::None,
            hold: Hold::No,
            wanted: false,
            active: false,
            listed: false,
            identity: None,
            next_sequence: 0,
            acknowledged: None,
            recreated: false,
            last_bytes: 0,
            trouble: None,
            node: -1,
        }
    }

    /// Whether the broker is known to keep this producer's sequences here.
    ///
    /// To a broker that keeps none any first sequence is right. If the first of several batches were refused, say by a leader
    /// that is not ready yet, it would accept the second, and the first could never be written. So one goes ahead alone.
    fn is_proven(&self, now: Micros) -> bool {
        self.acknowledged
            .is_some_and(|at| now.saturating_sub(at) < PROVEN_FOR)
    }

    /// Whether it has batches that are not on their way.
    pub fn has_work(&self) -> bool {
        self.open.is_some() || !self.queue.is_empty()
    }
}

struct Request {
    token: u64,
    sent: Micros,
    entries: Vec<Entry>,
}

/// A batch of a request.
struct Entry {
    part: usize,
    id: u64,
    /// As it was asked with: the topic may be made anew before the answer comes.
    topic_id: [u8; 16],
}

struct Conn {
    version: i16,
    /// -1 where it is not told.
    node: i32,
    parts: Vec<usize>,
    /// Those of them with something to be sent: `todo.rs`.
    todo: Vec<usize>,
    requests: VecDeque<Request>,
    muted_until: Micros,
}

/// A batch of a held partition as the engine is told.
#[derive(Debug, Clone)]
pub struct HeldBatch {
    pub base_sequence: i32,
    pub records: u32,
    pub bytes: usize,
    pub attempts: u32,
    pub sent: bool,
    pub expired: bool,
    pub unanswered: bool,
    /// Any of its attempts may have written it, the last one included.
    pub may_be_written: bool,
    pub answer: Option<Answer>,
}

/// What the engine is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// Messages wait for a topic's metadata.
    Topic(Arc<str>),
    /// Batches wait and there is no route.
    Wanted(Arc<str>, i32),
    Held {
        topic: Arc<str>,
        partition: i32,
        cause: String,
        batches: Vec<HeldBatch>,
        /// Producer id and epoch that the partition writes under; None: it has sent nothing yet.
        identity: Option<(i64, i16)>,
    },
    Failed {
        topic: Arc<str>,
        partition: i32,
        records: u64,
        failure: Failure,
    },
    Throttled(ConnId, i32),
    /// A batch is in the log. Only where somebody listens, as the two below.
    Acked {
        topic: Arc<str>,
        partition: i32,
        records: u32,
        bytes: usize,
        base_offset: i64,
        attempts: u32,
        created: Micros,
    },
    /// The first sender waits for room.
    Full {
        used: usize,
    },
    /// No sender waits any more.
    Free {
        used: usize,
    },
    /// A message was refused for lack of room, and so many were accepted before. Told again once the engine has found room.
    Lacking {
        accepted: u64,
    },
}

/// What is to become of a held batch.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Again, the same bytes and sequence.
    Retry,
    Fail(Failure),
    /// Only these records fail; the rest is a new batch.
    FailRecords(BTreeMap<u32, String>, i16),
    /// Several batches in its place: the broker takes no batch of this size.
    Split,
    Written(i64),
}

pub struct ProduceFlow {
    pub acc: Accumulator,
    conns: HashMap<ConnId, Conn>,
    nodes: BTreeMap<i32, NodeStats>,
    identity: Option<(i64, i16)>,
    next_token: u64,
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

    /// The identity of partitions that have not sent anything yet.
    pub fn set_identity(&mut self, producer_id: i64, epoch: i16) {
        self.identity = Some((producer_id, epoch));
    }

    pub fn attach(&mut self, conn: ConnId, version: i16) {
        self.attach_node(conn, version, -1, "");
    }

    /// A connection to this node, which the flow owns from now on.
    pub fn attach_node(&mut self, conn: ConnId, version: i16, node: i32, address: &str) {
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

    fn find(&mut self, topic: &str, number: i32) -> Option<usize> {
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
        if entry.route != Route::None || entry.hold != Hold::No {
            return;
        }
        entry.wanted = false;
        let Some(known) = self.conns.get_mut(&conn) else {
            // The connection was lost before the route came: ask for another one.
            if self.acc.parts[part].has_work() {
                self.acc.want_route(part);
            }
            return;
        };
        entry.route = Route::To(conn);
        entry.acknowledged = None;
        entry.trouble = None;
        entry.node = known.node;
        known.parts.push(part);
        if entry.has_work() {
            self.acc.has_batch(part);
        }
    }

    /// Where a script of events begins behind the first acknowledgement of a partition.
    #[doc(hidden)]
    pub fn assume_acknowledged(&mut self, topic: &str, number: i32, now: Micros) {
        if let Some(part) = self.find(topic, number) {
            self.acc.parts[part].acknowledged = Some(now);
        }
    }

    /// Gives back what a batch took that is resolved, or keeps it on the books until its outcomes are read.
    pub(super) fn let_go(&mut self, batch: Batch) {
        if !self.acc.is_weighed(&batch.completion, batch.accounted) {
            self.acc.free(batch.accounted);
        }
        self.give_back(batch.content);
    }

    /// The buffer of a batch that was never sent is used again; that of one that was goes back by itself.
    fn give_back(&self, content: Content) {
        match content {
            Content::Open(builder) | Content::Queued(builder) => {
                self.acc.pool.give(builder.into_buffer());
            }
            Content::Ready(bytes) => self.acc.pool.give(bytes),
            Content::Sealed(_) | Content::Away => {}
        }
    }

    pub(super) fn place_of(&self, part: usize) -> (Arc<str>, i32) {
        let entry = &self.acc.parts[part];
        (self.acc.topics[entry.topic].name.clone(), entry.number)
    }

    /// Whether somebody listens: what happens to each batch is told then.
    pub fn watch(&mut self, watched: bool) {
        self.acc.watched = watched;
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.acc.events)
    }
}

fn sequence_after(first: i32, count: u32) -> i32 {
    ((i64::from(first) + i64::from(count)) % (LAST_SEQUENCE + 1)) as i32
}
