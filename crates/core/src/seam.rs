//! The contract between a flow and the I/O thread, which owns the sockets.
//!
//! A flow (produce, fetch) is a state machine without I/O. The I/O thread calls it with the time and with events; the flow returns
//! requests to write. Calls for one connection come from the I/O thread alone, one at a time; callers and the engine reach the same
//! flow from other threads through its own lock.

use bytes::Bytes;

use crate::bytes::compression::codec::Cost;
use crate::ids::{ConnId, Micros};
use crate::record::sealing::{SealJob, Sealed};

/// A request that a flow wants on a connection.
#[derive(Debug)]
pub struct OutRequest {
    /// Chosen by the flow; returned with the response.
    pub token: u64,
    /// The frame without its 4-byte size, in order: the header, then the rest, with the buffers of batches untouched.
    pub segments: Vec<Bytes>,
    /// Time at which the connection is closed if no answer has come.
    pub deadline: Micros,
    /// False only for a Produce request with acks=0: the broker never answers it.
    pub expects_response: bool,
    /// Bytes that the answer is expected to have at most: its buffer has this size at once, where its length is no more. A longer
    /// answer gets memory as its bytes arrive.
    pub answer_bytes: usize,
}

/// Cause of a connection's end. Every waiter of the connection gets the same cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostCause {
    pub kind: LostKind,
    /// Text of the system or of the protocol error, with request and time where they matter; without an address.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostKind {
    /// TCP could not connect.
    Connect,
    /// The peer closed.
    Eof,
    /// A read or write failed.
    Io,
    /// TLS could not be set up, or its records are not valid.
    Tls,
    /// A request's deadline passed.
    RequestTimeout,
    /// The bytes are not the Kafka protocol or not the answer to the request.
    Protocol,
    /// The client closed it.
    Closed,
}

impl LostKind {
    /// Name in Python, in every event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Eof => "eof",
            Self::Io => "io",
            Self::Tls => "tls",
            Self::RequestTimeout => "request_timeout",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
        }
    }
}

/// A response that violates the protocol: the connection is closed with this cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadResponse(pub String);

/// A state machine that the I/O thread drives.
pub trait Flow: Send + Sync {
    /// The next request for `conn`, or None when there is nothing to send on it now. Called until None.
    fn next_request(&self, conn: ConnId, correlation_id: i32, now: Micros) -> Option<OutRequest>;

    /// The answer to the request with `token`, without size and correlation id (the response header's tags, if
    /// any, are still in front). Answers of one connection come in the order of its requests.
    fn on_response(
        &self,
        conn: ConnId,
        token: u64,
        frame: Bytes,
        now: Micros,
    ) -> Result<(), BadResponse>;

    /// The socket has taken the last byte of a request that is never answered. Not called for other requests.
    fn on_taken(&self, _conn: ConnId, _token: u64, _now: Micros) {}

    /// The connection has ended; no more calls for it follow. Called once per attached connection.
    fn on_lost(&self, conn: ConnId, cause: &LostCause, now: Micros);

    /// Does the work that is due (linger, expiry); returns the time of the next call.
    fn on_tick(&self, now: Micros) -> Option<Micros>;

    /// Number of batches of this cost that wait to be sealed ahead. Any thread; no lock.
    fn seals_waiting(&self, _cost: Cost) -> usize {
        0
    }

    /// Takes the next of them. Any thread.
    fn next_seal(&self, _cost: Cost) -> Option<SealJob> {
        None
    }

    /// Returns a sealed batch. Any thread, once for each job.
    fn on_sealed(&self, _done: Sealed) {}
}

/// Wakes the I/O thread for one flow: callable from any thread, idempotent until the thread's next turn.
pub trait WakeIo: Send + Sync {
    fn wake_io(&self);
}

/// Wakes the engine thread to drain events: callable from any thread, idempotent until they are drained.
pub trait Bell: Send + Sync {
    fn ring(&self);
}

/// A sleeper that waits for an outcome or for records: a parked thread or an event loop, which finds the task by the token.
pub trait Wake: Send + Sync {
    fn wake(&self, token: u64);

    /// Wakes many, in this order.
    fn wake_all(&self, tokens: &mut dyn Iterator<Item = u64>) {
        for token in tokens {
            self.wake(token);
        }
    }
}
