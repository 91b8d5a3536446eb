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
    /// There is none, and the engine has been asked for one.
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
    /// Nothing more is sent; what is in flight ends.
    Ending(HoldCause),
    /// The engine knows of the hold and has not released it.
    Reported {
        /// The topic was recreated since: the release cannot know of it, and another hold follows.
        recreated: bool,
    },
}

/// Shortest time for which a broker keeps a producer's sequences after it acknowledged a batch.
const PROVEN_FOR: Micros = 60_000_000;

/// The numbers that the batches of a partition get.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// The one that its batches are written under; None before the first of them.
    pub identity: Option<Identity>,
    pub(super) next: i32,
    /// When the broker last acknowledged a batch on the partition's route, under its identity.
    acknowledged: Option<Micros>,
}

impl Numbering {
    /// Numbers the next batch, of so many messages.
    pub fn take(&mut self, identity: Identity, count: u32) -> Sequence {
        let first = self.next;
        self.identity = Some(identity);
        self.next = sequence_after(first, count);
        Sequence { identity, first }
    }

    /// Starts again from 0 under another identity.
    pub fn restart(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.next = 0;
    }

    pub fn acknowledge(&mut self, now: Micros) {
        self.acknowledged = Some(now);
    }

    /// The partition has another route, or its batches another identity.
    pub fn forget_acknowledgement(&mut self) {
        self.acknowledged = None;
    }

    /// Whether the broker is known to keep this producer's sequences here.
    ///
    /// A broker that keeps none accepts any first sequence. If it refused the first of several batches, as a leader does that
    /// is not ready yet, it would accept the second, and the first could never be written. So one batch goes ahead alone.
    pub fn is_proven(&self, now: Micros) -> bool {
        self.acknowledged
            .is_some_and(|at| now.saturating_sub(at) < PROVEN_FOR)
    }
}

pub(crate) struct Partition {
    pub topic: usize,
    pub number: i32,
    pub open: Option<Open>,
    /// Complete and not in flight, in order.
    pub queue: VecDeque<Batch>,
    /// In flight, in order; after a hold, waiting for the engine's decisions.
    pub flight: VecDeque<Batch>,
    pub route: Route,
    pub hold: Hold,
    /// It is in the list of partitions with batches: `produce/append/active.rs`.
    pub active: bool,
    /// It is in the list of a connection: `produce/append/active.rs`.
    pub listed: bool,
    pub numbering: Numbering,
    /// Size of the last batch: how large the next one's first buffer is.
    pub last_bytes: usize,
    /// Why its messages are not sent, as the engine knows it.
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

    /// The batch with this number that is sealed ahead. A piece of a batch that was sent belongs to the next hold, so it may be
    /// among those in flight.
    pub(super) fn being_sealed(&mut self, id: u64) -> Option<&mut Batch> {
        let mut line = self.queue.iter_mut().chain(&mut self.flight);
        line.find(|batch| batch.id == id)
    }
}
