//! State of a connection in the produce flow: the partitions routed to it and the requests in flight on it.
//!
//! Station: request; under the producer's lock.

use std::collections::VecDeque;

use crate::ids::Micros;

pub(in crate::produce) struct Request {
    pub token: u64,
    pub sent: Micros,
    pub entries: Vec<Entry>,
}

/// A batch of a request.
pub(in crate::produce) struct Entry {
    pub part: usize,
    pub id: u64,
    /// Topic id of the request: the topic may be recreated before the answer arrives.
    pub topic_id: [u8; 16],
}

pub(in crate::produce) struct Conn {
    pub version: i16,
    /// -1 where it is not known.
    pub node: i32,
    pub parts: Vec<usize>,
    /// Those of them with batches to be sent: `todo.rs`.
    pub todo: Vec<usize>,
    pub requests: VecDeque<Request>,
    pub muted_until: Micros,
}
