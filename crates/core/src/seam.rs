//! What the I/O thread drives: the contract between a flow and the thread that owns the sockets.
//!
//! A flow (produce, fetch) is a state machine without I/O. The I/O thread calls it with the time and with what
//! happened; the flow answers with requests to write. Calls for one connection come from the I/O thread alone,
//! one at a time; callers and the engine reach the same flow from other threads through its own lock.

use bytes::Bytes;

use crate::bytes::compression::codec::Cost;
use crate::ids::{ConnId, Micros};
use crate::record::sealing::{SealJob, Sealed};

/// A request that a flow wants on a connection.
#[derive(Debug)]
pub struct OutRequest {
    /// Comes back with the response; chosen by the flow.
    pub token: u64,
    /// The frame without its 4-byte size, in order: header, then whatever follows, batch buffers untouched.
    pub segments: Vec<Bytes>,
    /// When the connection is to be given up because the answer has not come.
    pub deadline: Micros,
    /// False only for a Produce request with acks=0: the broker never answers it.
    pub expects_response: bool,
}

/// Why a connection ended. Every waiter of the connection gets the same cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostCause {
    pub kind: LostKind,
    /// In the words of the system or the protocol, with the request and the time where they matter; it names no address.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostKind {
    /// TCP could not be set up.
    Connect,
    /// The peer closed.
    Eof,
    /// A read or write failed.
    Io,
    /// A request's deadline passed.
    RequestTimeout,
    /// The bytes are not the Kafka protocol or not what was asked for.
    Protocol,
    /// We closed it.
    Closed,
}

impl LostKind {
    /// The name that Python knows it by, in every event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Eof => "eof",
            Self::Io => "io",
            Self::RequestTimeout => "request_timeout",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
        }
    }
}

/// A response that cannot be what the broker meant: the connection is poisoned with this as its cause.
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

    /// The socket has taken the last byte of a request that is never answered. Not called for others.
    fn on_taken(&self, _conn: ConnId, _token: u64, _now: Micros) {}

    /// The connection is gone; nothing of it follows. Called once per attached connection.
    fn on_lost(&self, conn: ConnId, cause: &LostCause, now: Micros);

    /// Does what time asks for (linger, expiry) and says when it wants to be called next.
    fn on_tick(&self, now: Micros) -> Option<Micros>;

    /// How many batches of this cost wait to be sealed ahead. Any thread; no lock.
    fn seals_waiting(&self, _cost: Cost) -> usize {
        0
    }

    /// The next of them. Any thread.
    fn next_seal(&self, _cost: Cost) -> Option<SealJob> {
        None
    }

    /// It is done. Any thread, once for each.
    fn on_sealed(&self, _done: Sealed) {}
}

/// Wakes the I/O thread for one flow: callable from any thread, idempotent until the thread has looked.
pub trait WakeIo: Send + Sync {
    fn wake_io(&self);
}

/// Tells the engine thread that events wait to be drained: callable from any thread, idempotent until drained.
pub trait Bell: Send + Sync {
    fn ring(&self);
}

/// A sleeper that waits for an outcome or for records: a parked thread or an event loop. `token` is its own.
pub trait Wake: Send + Sync {
    fn wake(&self, token: u64);

    /// Many at once, in this order.
    fn wake_all(&self, tokens: &mut dyn Iterator<Item = u64>) {
        for token in tokens {
            self.wake(token);
        }
    }
}
