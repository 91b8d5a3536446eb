//! The fetch flow: positions to the brokers and batches back, and holds for everything else.
//!
//! Stations: request → fetch response → inbox. A state machine without I/O: time is passed in, requests come out. A routed
//! partition flows, and no decision is needed for it; the next request leaves as soon as the answer's batch headers were read. An
//! error code, a lost connection, another leader or a call of `hold` stops that partition alone: one `Held` event gives the cause,
//! and `route` lets it flow again. `plan` chooses partitions and amounts of the next request; `answer` applies a response.
//! References: KIP-74, KIP-219, KIP-227, KIP-392, KIP-951; Java: `AbstractFetch`, `FetchCollector`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::fetch::broker::Broker;
use crate::fetch::inbox::Inbox;
use crate::fetch::lanes::Kind;
use crate::fetch::session::Session;
use crate::fetch::shelf::Job;
use crate::fetch::stats::{Fetched, NodeStats};
use crate::fetch::take::Take;
use crate::fetch::wire::{self, Answer};
use crate::ids::{ConnId, Micros, PartId, TopicId};
use crate::seam::{LostCause, LostKind};

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_ID: i16 = 100;
/// Leader epoch of a record that has none, or of no record.
pub(crate) const NO_EPOCH: i32 = -1;
const READ_COMMITTED: i8 = 1;
/// Id of a topic before its metadata has come.
const UNKNOWN_ID: TopicId = [0; 16];

#[derive(Debug, Clone)]
pub struct Settings {
    pub client_id: String,
    pub rack: String,
    /// 0: read_uncommitted, 1: read_committed.
    pub isolation: i8,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_bytes: i32,
    pub max_wait: Micros,
    pub request_timeout: Micros,
    /// Maximum bytes of fetched batches that wait for the user, over all partitions.
    pub buffer_bytes: usize,
    /// Maximum size of a decompressed batch.
    pub decompressed_bytes: usize,
    pub check_crcs: bool,
}

/// Events for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Held(Held),
    Throttled(ConnId, i32),
    /// A second connection to this node would let its partitions be read without waiting for each other.
    LaneWanted(i32),
}

/// The cause of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldCause {
    /// The engine called `hold`.
    Asked,
    /// An error code, or a newer leader.
    Answer,
    /// The leader's log differs from the records that were fetched; those that wait and are not in it are dropped. `fetched_epoch`
    /// is the leader epoch of the record before the offset to fetch.
    Diverging {
        epoch: i32,
        end_offset: i64,
        fetched_epoch: i32,
    },
    /// The leader named a follower to fetch from.
    Replica(i32),
    /// Its connection ended.
    Lost(LostCause),
}

/// A partition that no longer flows, and the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub topic: Arc<str>,
    pub partition: i32,
    pub cause: HoldCause,
    pub code: i16,
    pub fetch_offset: i64,
    pub leader: Option<(i32, i32)>,
    pub node: Option<(String, i32)>,
}

/// One assigned partition.
#[derive(Debug)]
pub(crate) struct Part {
    pub topic: Arc<str>,
    pub id: TopicId,
    pub number: i32,
    pub route: Option<ConnId>,
    pub leader_epoch: i32,
    /// Counts the positions that were set: an answer to an earlier one is dropped.
    pub seek: u64,
    pub offset: Option<i64>,
    /// Leader epoch of the record before `offset`, which the leader compares with its log (KIP-320); -1: unknown.
    pub fetched_epoch: i32,
    /// Token of the request in flight for its offset.
    pub in_flight: Option<u64>,
    /// Its batches were dropped because nobody took them.
    pub dropped: bool,
    /// The data at its offset cannot be read, so it is not fetched again.
    pub stuck: bool,
    /// Bytes to ask for; more than the setting while a batch does not fit.
    pub fetch_bytes: i32,
    pub marks: Marks,
    pub fetched: Fetched,
    /// Its offset is out of range. The event waits until the user has taken the records fetched before, since a reset follows it.
    pub deferred: Option<Held>,
}

/// Ends of the log by the last answer; -1 before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// The broker has answered since the position or the route was set: these are the ends of the log that is fetched from.
    pub current: bool,
}

impl Marks {
    const UNKNOWN: Self = Self {
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        current: false,
    };

    /// The offset after the last one that a reader of this isolation can get.
    pub fn end(&self, isolation: i8) -> i64 {
        match isolation {
            READ_COMMITTED => self.last_stable_offset,
            _ => self.high_watermark,
        }
    }
}

impl Part {
    /// Whether its broker has records for it, or may have.
    pub fn is_behind(&self, isolation: i8) -> bool {
        let end = self.marks.end(isolation);
        !self.marks.current || self.offset.is_some_and(|offset| offset < end)
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    pub token: u64,
    pub sent: Micros,
    pub kind: Kind,
    /// Maximum size of its answer, except for a first batch that is larger.
    pub reserved: usize,
    /// Every partition of the session with the seek counter and the offset that it is fetched for.
    pub entries: HashMap<PartId, (u64, i64)>,
}

/// A partition whose batch at the position cannot be read, and that waits for the next attempt.
#[derive(Debug)]
pub(crate) struct Retry {
    pub part: PartId,
    pub seek: u64,
    pub attempts: u32,
    /// None: from the next tick on, which knows the time.
    pub due: Option<Micros>,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub node: i32,
    pub version: i16,
    pub session: Session,
    pub flight: Option<Flight>,
    pub muted_until: Micros,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub requests: u64,
    pub responses: u64,
    pub fetched: Fetched,
    pub held: u64,
}

/// State of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// -1 before it has one.
    pub position: i64,
    pub leader_epoch: i32,
    pub buffered_records: usize,
    pub paused: bool,
    pub flowing: bool,
}

pub struct FetchFlow {
    pub(crate) settings: Settings,
    pub inbox: Inbox,
    pub(crate) parts: BTreeMap<PartId, Part>,
    pub(crate) conns: HashMap<ConnId, Conn>,
    /// The nodes that it has connections to.
    pub(crate) brokers: HashMap<i32, Broker>,
    pub(crate) events: Vec<Event>,
    pub(crate) counts: Counts,
    /// Counts by node, over all connections to it.
    pub(crate) nodes: BTreeMap<i32, NodeStats>,
    /// Partitions whose batch at the position cannot be read.
    pub(crate) retries: Vec<Retry>,
    /// Maximum bytes of the answers in flight.
    pub(crate) reserved: usize,
    /// Bytes of each partition that may wait for the user; `plan` divides the buffer.
    pub(crate) share: usize,
    /// A request was not sent because the buffer is full.
    pub(crate) starved: bool,
    /// The I/O thread may have something to send.
    io_wanted: bool,
    next_part: PartId,
    pub(crate) next_token: u64,
}

impl FetchFlow {
    pub fn new(settings: Settings) -> Self {
        let share = settings.buffer_bytes.max(1);
        Self {
            settings,
            inbox: Inbox::default(),
            parts: BTreeMap::new(),
            conns: HashMap::new(),
            brokers: HashMap::new(),
            events: Vec::new(),
            counts: Counts::default(),
            nodes: BTreeMap::new(),
            retries: Vec::new(),
            reserved: 0,
            share,
            starved: false,
            io_wanted: false,
            next_part: 1,
            next_token: 1,
        }
    }

    // ---- tables ----------------------------------------------------------------------------------------------------

    /// Adds a connection to a node. Partitions are fetched over every connection to the node of their route.
    pub fn attach(&mut self, conn: ConnId, version: i16, node: i32, address: &str) {
        self.nodes.entry(node).or_default().address = Arc::from(address);
        let known = self.conns.insert(
            conn,
            Conn {
                node,
                version,
                session: Session::default(),
                flight: None,
                muted_until: 0,
            },
        );
        debug_assert!(known.is_none(), "a connection is attached once");
        self.brokers.entry(node).or_default().add(conn);
        self.io_wanted = true;
    }

    /// Adds a partition, neither positioned nor flowing. For a recreated topic (another id) the partition starts again; an id of all
    /// zeros is replaced.
    pub fn assign(&mut self, topic: &str, id: TopicId, partition: i32) {
        if let Some(part) = self.inbox.id_of(topic, partition) {
            if let Some(known) = self.parts.get_mut(&part)
                && (known.id == id || known.id == UNKNOWN_ID)
            {
                known.id = id;
                return;
            }
            self.forget(part);
        }
        let part = self.next_part;
        self.next_part += 1;
        let topic: Arc<str> = Arc::from(topic);
        self.inbox.add(part, Arc::clone(&topic), partition);
        let made = Part {
            topic,
            id,
            number: partition,
            route: None,
            leader_epoch: -1,
            seek: 0,
            offset: None,
            fetched_epoch: NO_EPOCH,
            in_flight: None,
            dropped: false,
            stuck: false,
            fetch_bytes: self.settings.partition_bytes,
            marks: Marks::UNKNOWN,
            fetched: Fetched::default(),
            deferred: None,
        };
        self.parts.insert(part, made);
    }

    /// Forgets a partition and all its fetched batches. Nothing of it is handed over after this.
    pub fn unassign(&mut self, topic: &str, partition: i32) {
        if let Some(part) = self.inbox.id_of(topic, partition) {
            self.forget(part);
        }
    }

    /// Ends the hand-over of a partition that is about to be unassigned; its position stays readable.
    pub fn withhold(&mut self, topic: &str, partition: i32) {
        if let Some(part) = self.inbox.id_of(topic, partition) {
            self.inbox.withhold(part);
            self.wake_io_if_starved();
        }
    }

    fn forget(&mut self, part: PartId) {
        self.unroute(part);
        self.inbox.remove(part);
        self.parts.remove(&part);
        self.wake_io_if_starved();
    }

    /// Starts again at an offset. Batches that were fetched for an earlier position are never handed over.
    pub fn position(&mut self, topic: &str, partition: i32, offset: i64, leader_epoch: i32) {
        let Some(part) = self.inbox.id_of(topic, partition) else {
            return;
        };
        self.inbox.set_position(part, offset, leader_epoch);
        if let Some(entry) = self.parts.get_mut(&part) {
            entry.seek += 1;
            entry.offset = Some(offset);
            entry.fetched_epoch = leader_epoch;
            entry.in_flight = None;
            entry.marks.current = false;
            entry.stuck = false;
            entry.fetch_bytes = self.settings.partition_bytes;
            if let Some(held) = entry.deferred.take() {
                // The new position is the reaction to it; only a route is needed now.
                let cause = HoldCause::Asked;
                let code = 0;
                self.events.push(Event::Held(Held {
                    cause,
                    code,
                    fetch_offset: offset,
                    ..held
                }));
            }
        }
        self.wake_io_for(part);
        self.wake_io_if_starved();
    }

    /// Lets a partition flow over a connection.
    pub fn route(&mut self, topic: &str, partition: i32, conn: ConnId, leader_epoch: i32) {
        let Some(part) = self.inbox.id_of(topic, partition) else {
            return;
        };
        self.unroute(part);
        let Some(entry) = self.parts.get_mut(&part) else {
            return;
        };
        entry.route = Some(conn);
        entry.leader_epoch = leader_epoch;
        entry.marks.current = false;
        entry.deferred = None;
        let unset = entry.id == UNKNOWN_ID;
        let Some(known) = self.conns.get(&conn) else {
            let cause = HoldCause::Lost(LostCause {
                kind: LostKind::Closed,
                message: "the connection was lost before the route came".into(),
            });
            self.hold_now(part, cause, None);
            return;
        };
        if let Some(broker) = self.brokers.get_mut(&known.node) {
            broker.parts.push(part);
        }
        if unset && wire::uses_topic_ids(known.version) {
            self.hold_for_code(part, UNKNOWN_TOPIC_ID);
            return;
        }
        self.wake_io_for(part);
    }

    /// Stops a partition at once. The answer to its request in flight counts no more.
    pub fn hold(&mut self, topic: &str, partition: i32) {
        let Some(part) = self.inbox.id_of(topic, partition) else {
            return;
        };
        let entry = self.parts.get(&part);
        if entry.is_some_and(|entry| entry.route.is_some()) {
            self.hold_now(part, HoldCause::Asked, None);
        }
    }

    /// Fetched batches of the partition wait until `resume`.
    pub fn pause(&mut self, topic: &str, partition: i32) {
        if let Some(part) = self.inbox.id_of(topic, partition) {
            self.inbox.set_paused(part, true);
        }
    }

    pub fn resume(&mut self, topic: &str, partition: i32) {
        if let Some(part) = self.inbox.id_of(topic, partition) {
            self.inbox.set_paused(part, false);
            self.wake_io_for(part);
        }
    }

    /// Claims batches for a taker. One that finds nothing is remembered: its partitions have precedence in a full buffer.
    pub fn claim(&mut self, limit: usize, only: Option<(&str, i32)>) -> Result<Vec<Job>, Take> {
        let claimed = self.inbox.claim(limit, only);
        if matches!(claimed, Err(Take::Nothing | Take::Moved)) {
            self.inbox.note_hunger(only);
            self.wake_io_if_starved();
            let part = only.and_then(|(topic, partition)| self.inbox.id_of(topic, partition));
            if let Some(part) = part {
                self.wake_io_for(part);
            }
        }
        claimed
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn partition_state(&self, topic: &str, partition: i32) -> Option<PartitionState> {
        let part = self.inbox.id_of(topic, partition)?;
        let entry = self.parts.get(&part)?;
        let shelf = self.inbox.state(part)?;
        Some(PartitionState {
            high_watermark: entry.marks.high_watermark,
            last_stable_offset: entry.marks.last_stable_offset,
            log_start_offset: entry.marks.log_start_offset,
            position: shelf.position.unwrap_or(-1),
            leader_epoch: shelf.leader_epoch,
            buffered_records: shelf.buffered_records,
            paused: shelf.paused,
            flowing: entry.route.is_some(),
        })
    }

    // ---- the I/O thread's attention --------------------------------------------------------------------------------

    /// Whether the I/O thread has to be woken; true once for each reason.
    pub fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.io_wanted)
    }

    pub(crate) fn wake_io(&mut self) {
        self.io_wanted = true;
    }

    /// Wakes the I/O thread if the partition may now be in a request. Where its only connection waits for records of other partitions,
    /// the engine gets an event instead.
    pub(crate) fn wake_io_for(&mut self, part: PartId) {
        let Some(node) = self.node_of(part) else {
            return;
        };
        if !self.is_fetchable(part) {
            return;
        }
        if self.has_free_connection(node) {
            self.io_wanted = true;
        } else if self.is_polling(node) {
            self.want_lane(node);
        }
    }

    /// Buffer space was freed: wakes the I/O thread if a request was not sent for lack of it.
    pub(crate) fn wake_io_if_starved(&mut self) {
        if std::mem::take(&mut self.starved) {
            self.io_wanted = true;
        }
    }

    // ---- the connection's end ---------------------------------------------------------------------------------------

    pub fn on_lost(&mut self, conn: ConnId, cause: &LostCause) {
        let Some(lost) = self.conns.remove(&conn) else {
            return;
        };
        if let Some(flight) = lost.flight {
            self.end_flight(&flight);
        }
        if let Some(broker) = self.brokers.get_mut(&lost.node) {
            broker.remove(conn);
        }
        for part in self.parts_over(lost.node, conn) {
            self.hold_now(part, HoldCause::Lost(cause.clone()), None);
        }
        self.io_wanted = true;
        self.wake_io_if_starved();
    }

    /// The time when the next throttled connection may be used again, or the next batch that could not be read is fetched again.
    pub fn on_tick(&mut self, now: Micros) -> Option<Micros> {
        let retry = self.retry_faults(now);
        let muted = self.conns.values().map(|conn| conn.muted_until);
        muted.filter(|until| *until > now).chain(retry).min()
    }

    // ---- holds -----------------------------------------------------------------------------------------------------

    /// The request is no longer in flight: its partitions can be in another one.
    pub(crate) fn end_flight(&mut self, flight: &Flight) {
        self.reserved -= flight.reserved;
        for part in flight.entries.keys() {
            if let Some(entry) = self.parts.get_mut(part) {
                entry.in_flight.take_if(|token| *token == flight.token);
            }
        }
    }

    pub(crate) fn hold_for_code(&mut self, part: PartId, code: i16) {
        self.stop(part, HoldCause::Answer, code, None);
    }

    pub(crate) fn hold_now(&mut self, part: PartId, cause: HoldCause, answer: Option<Answer>) {
        let code = answer.as_ref().map_or(0, |answer| answer.code);
        self.stop(part, cause, code, answer);
    }

    fn stop(&mut self, part: PartId, cause: HoldCause, code: i16, answer: Option<Answer>) {
        self.unroute(part);
        let Some(entry) = self.parts.get_mut(&part) else {
            return;
        };
        self.counts.held += 1;
        let mut held = Held {
            topic: Arc::clone(&entry.topic),
            partition: entry.number,
            cause,
            code,
            fetch_offset: entry.offset.unwrap_or(-1),
            leader: None,
            node: None,
        };
        if let Some(answer) = answer {
            held.leader = answer.leader;
            held.node = answer.node;
        }
        if held.code == OFFSET_OUT_OF_RANGE && !self.inbox.is_empty(part) {
            entry.deferred = Some(held);
        } else {
            self.events.push(Event::Held(held));
        }
    }

    /// Reports a deferred hold if the user has taken all fetched records.
    pub(crate) fn report_deferred(&mut self, part: PartId) {
        if self.inbox.is_empty(part)
            && let Some(entry) = self.parts.get_mut(&part)
            && let Some(held) = entry.deferred.take()
        {
            self.events.push(Event::Held(held));
        }
    }

    fn unroute(&mut self, part: PartId) {
        let node = self.node_of(part);
        if let Some(broker) = node.and_then(|node| self.brokers.get_mut(&node)) {
            broker.parts.retain(|other| *other != part);
        }
        if let Some(entry) = self.parts.get_mut(&part) {
            entry.route = None;
            entry.in_flight = None;
        }
    }
}
