//! One node that partitions are fetched from: its connections, and its partitions in the order of the next request.
//!
//! Station: request.

use crate::ids::{ConnId, PartId};

#[derive(Debug)]
pub(crate) struct Broker {
    pub conns: Vec<ConnId>,
    /// The partitions with a route to it.
    pub parts: Vec<PartId>,
    /// First partition that the next request names; it moves, so that no partition is always the last.
    pub start: usize,
    /// The connection of the last poll.
    pub poller: Option<ConnId>,
    /// Number of consecutive reads that brought nothing, although their partitions are behind.
    pub barren: u32,
    /// Maximum size of a response.
    pub frame: usize,
    /// The engine has the event that a second connection is wanted.
    pub lane_wanted: bool,
}

/// Maximum size of a response, to begin with.
pub(crate) const FRAME: usize = 1 << 20;

impl Default for Broker {
    fn default() -> Self {
        Self {
            conns: Vec::new(),
            parts: Vec::new(),
            start: 0,
            poller: None,
            barren: 0,
            frame: FRAME,
            lane_wanted: false,
        }
    }
}

impl Broker {
    pub fn add(&mut self, conn: ConnId) {
        self.conns.push(conn);
        self.lane_wanted = false;
    }

    pub fn remove(&mut self, conn: ConnId) {
        self.conns.retain(|other| *other != conn);
        self.poller.take_if(|poller| *poller == conn);
        self.lane_wanted = false;
    }
}
