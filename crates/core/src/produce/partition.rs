//! A partition of a topic: its batches in order, its route, its hold.
//!
//! Stations: accumulator → outbox; under the producer's lock.

use std::collections::VecDeque;

use crate::failure::Trouble;
use crate::ids::{ConnId, Micros};
use crate::produce::batch::{Batch, Open};

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
    /// As `produce/append/active.rs` says.
    pub active: bool,
    pub listed: bool,
    pub(super) identity: Option<(i64, i16)>,
    pub(super) next_sequence: i32,
    /// When the broker last acknowledged a batch on this route, under this identity.
    pub(super) acknowledged: Option<Micros>,
    /// The topic was made anew, and the engine has not been told yet.
    pub(super) recreated: bool,
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
    pub(super) fn is_proven(&self, now: Micros) -> bool {
        self.acknowledged
            .is_some_and(|at| now.saturating_sub(at) < PROVEN_FOR)
    }

    /// Whether it has batches that are not on their way.
    pub fn has_work(&self) -> bool {
        self.open.is_some() || !self.queue.is_empty()
    }

    /// A batch that is sealed or waits for that. A piece of one that was sent is part of the story of the next hold, and is
    /// sealed among what is in flight as well.
    pub(super) fn in_line(&mut self, id: u64) -> Option<&mut Batch> {
        let mut line = self.queue.iter_mut().chain(&mut self.flight);
        line.find(|batch| batch.id == id)
    }
}
