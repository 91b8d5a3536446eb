//! A partition of a topic: its batches in order, its route, its hold.
//!
//! Stations: accumulator → outbox; under the producer's lock.

use std::collections::VecDeque;

use crate::failure::Trouble;
use crate::ids::{ConnId, Identity, Micros};
use crate::produce::batch::{Batch, Open, Sequence, sequence_after};
use crate::produce::event::HoldCause;

/// The connection to the partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    None,
    /// There is none, and one was requested from the engine.
    Wanted,
    To(ConnId),
}

impl Route {
    pub fn conn(self) -> Option<ConnId> {
        match self {
            Self::To(conn) => Some(conn),
            Self::None | Self::Wanted => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    No,
    /// Nothing more is sent; batches in flight have not ended yet.
    Ending(HoldCause),
    /// The hold was reported to the engine, which has not released it.
    Reported {
        /// The topic was recreated since: the release does not take it into account, and another hold follows.
        recreated: bool,
    },
}

/// Shortest time for which a broker keeps a producer's sequences after it acknowledged a batch.
const PROVEN_FOR: Micros = 60_000_000;

/// Identity and sequences of the batches of a partition.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// Identity that its batches are written under; None before the first batch.
    pub identity: Option<Identity>,
    pub(super) next: i32,
    /// Time at which the broker last acknowledged a batch on the partition's route, under its identity.
    acknowledged: Option<Micros>,
}

impl Numbering {
    /// Returns the sequence of the next batch, which has this number of messages.
    pub fn take(&mut self, identity: Identity, count: u32) -> Sequence {
        let first = self.next;
        self.identity = Some(identity);
        self.next = sequence_after(first, count);
        Sequence { identity, first }
    }

    /// Restarts the sequences from 0 under another identity.
    pub fn restart(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.next = 0;
    }

    pub fn acknowledge(&mut self, now: Micros) {
        self.acknowledged = Some(now);
    }

    /// Forgets the acknowledgement, because the route or the identity changes.
    pub fn forget_acknowledgement(&mut self) {
        self.acknowledged = None;
    }

    /// Whether the broker is known to have this producer's sequences for the partition.
    ///
    /// A broker that has none accepts any first sequence. If it refused the first of several batches, as a leader does that
    /// is not ready yet, it would accept the second, and the first could never be written. So one batch is sent alone first.
    pub fn is_proven(&self, now: Micros) -> bool {
        self.acknowledged
            .is_some_and(|at| now.saturating_sub(at) < PROVEN_FOR)
    }
}

pub(crate) struct Partition {
    pub topic: usize,
    pub number: i32,
    pub open: Option<Open>,
    /// Complete batches that are not in flight, in order.
    pub queue: VecDeque<Batch>,
    /// Batches in flight, in order; during a hold those that wait for the engine's decisions.
    pub flight: VecDeque<Batch>,
    pub route: Route,
    pub hold: Hold,
    /// It is in the list of partitions with batches: `produce/append/active.rs`.
    pub active: bool,
    /// It is in the list of a connection: `produce/append/active.rs`.
    pub listed: bool,
    pub numbering: Numbering,
    /// Size of the last batch, slowly fading; the next one begins with a buffer of this size.
    pub last_bytes: usize,
    /// Obstacle to sending its messages, as reported by the engine.
    pub trouble: Option<Trouble>,
    /// The node that it was last routed to; -1: none yet.
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
            active: false,
            listed: false,
            numbering: Numbering::default(),
            last_bytes: 0,
            trouble: None,
            node: -1,
        }
    }

    /// Whether it has batches that are not in flight.
    pub fn has_work(&self) -> bool {
        self.open.is_some() || !self.queue.is_empty()
    }

    /// Finds the batch with this number, which is sealed ahead. A piece of a batch that was sent may be part of the next hold, so
    /// batches in flight are searched too.
    pub(super) fn being_sealed(&mut self, id: u64) -> Option<&mut Batch> {
        let mut line = self.queue.iter_mut().chain(&mut self.flight);
        line.find(|batch| batch.id == id)
    }
}
