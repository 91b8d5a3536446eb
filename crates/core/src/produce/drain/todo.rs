//! Send list of each connection: the partitions routed to it that have batches, the one that waits longest first.
//!
//! Station: batch; under the producer's lock.

use crate::ids::ConnId;
use crate::produce::drain::conn::Conn;
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::partition::Route;

impl ProduceFlow {
    /// Moves newly listed partitions into the lists of their connections. One without a route is listed again when it gets one.
    pub(super) fn sort_listed(&mut self) {
        for part in self.acc.active.take_unsorted() {
            let entry = &mut self.acc.parts[part];
            match entry.route {
                Route::To(conn) if let Some(conn) = self.conns.get_mut(&conn) => {
                    conn.todo.push(part);
                }
                _ => entry.listed = false,
            }
        }
    }

    /// Takes the list of a connection, without partitions that have nothing to send; `put_back` has to follow.
    pub(super) fn take_todo(&mut self, conn: ConnId) -> Vec<usize> {
        self.sort_listed();
        let Some(conn) = self.conns.get_mut(&conn) else {
            return Vec::new();
        };
        let mut todo = std::mem::take(&mut conn.todo);
        todo.retain(|part| {
            let entry = &mut self.acc.parts[*part];
            entry.listed = entry.has_work();
            entry.listed
        });
        todo
    }

    /// Stores the list again. `chosen`: partitions with a batch in the request, in the order of the list. They move to the end, so
    /// that no partition starves where a request does not hold a batch of each.
    pub(super) fn put_back(&mut self, conn: ConnId, mut todo: Vec<usize>, chosen: &[usize]) {
        let mut next = chosen.iter().peekable();
        todo.retain(|part| next.next_if_eq(&part).is_none());
        todo.extend(chosen);
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.todo = todo;
        }
    }

    /// Removes the route of a partition, whose leader has changed or is not known.
    pub(super) fn unroute(&mut self, part: usize) {
        self.sort_listed();
        let entry = &mut self.acc.parts[part];
        entry.listed = false;
        if let Route::To(conn) = std::mem::replace(&mut entry.route, Route::None)
            && let Some(Conn { parts, todo, .. }) = self.conns.get_mut(&conn)
        {
            parts.retain(|other| *other != part);
            todo.retain(|other| *other != part);
        }
    }
}
