//! The connections of a flow by node, and the state of each.
//!
//! Station: request.

use crate::fetch::flow::{Event, FetchFlow};
use crate::fetch::lanes::{Kind, Other};
use crate::ids::{ConnId, Micros, PartId};

impl FetchFlow {
    pub(crate) fn node_of(&self, part: PartId) -> Option<i32> {
        let route = self.parts.get(&part)?.route?;
        self.conns.get(&route).map(|conn| conn.node)
    }

    /// The partitions whose route is this connection.
    pub(crate) fn parts_over(&self, node: i32, conn: ConnId) -> Vec<PartId> {
        let broker = self.brokers.get(&node);
        let parts = broker.into_iter().flat_map(|broker| &broker.parts);
        let over = |part: &&PartId| {
            let entry = self.parts.get(part);
            entry.is_some_and(|entry| entry.route == Some(conn))
        };
        parts.filter(over).copied().collect()
    }

    fn kinds(&self, node: i32) -> impl Iterator<Item = Option<Kind>> {
        let broker = self.brokers.get(&node);
        let conns = broker.into_iter().flat_map(|broker| &broker.conns);
        let conns = conns.filter_map(|conn| self.conns.get(conn));
        conns.map(|conn| conn.flight.as_ref().map(|flight| flight.kind))
    }

    pub(crate) fn has_free_connection(&self, node: i32) -> bool {
        self.kinds(node).any(|kind| kind.is_none())
    }

    /// Whether a request of the node waits there for records.
    pub(crate) fn is_polling(&self, node: i32) -> bool {
        let waits = |kind| matches!(kind, Some(Kind::Poll | Kind::Glance));
        self.kinds(node).any(waits)
    }

    /// Reports once that the node needs a second connection, unless it has one.
    pub(crate) fn want_lane(&mut self, node: i32) {
        if let Some(broker) = self.brokers.get_mut(&node)
            && broker.conns.len() == 1
            && !broker.lane_wanted
        {
            broker.lane_wanted = true;
            self.events.push(Event::LaneWanted(node));
        }
    }

    /// The state of the node's connection that is not `conn`.
    pub(crate) fn other_than(&self, conn: ConnId, node: i32, now: Micros) -> Other {
        let Some(broker) = self.brokers.get(&node) else {
            return Other::Missing;
        };
        let others = broker.conns.iter().filter(|other| **other != conn);
        let mut state = Other::Missing;
        for other in others {
            let Some(known) = self.conns.get(other) else {
                continue;
            };
            match &known.flight {
                Some(flight) => return Other::InFlight(flight.kind),
                None if known.muted_until > now => {}
                None => {
                    let polled = broker.poller == Some(*other);
                    state = Other::Free { polled };
                }
            }
        }
        state
    }
}
