//! Message of a caller, and the result of its append.
//!
//! Station: message.

use crate::record::encode::HeaderRef;

/// One message, with fields of the caller.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub partition: Option<i32>,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
    /// Bytes charged in addition to the record until its outcome was reported: `DELIVERY_BYTES` for a message with a callback of its
    /// own. 0 for others, and where every message has a delivery (`keeps_outcomes`).
    pub extra: usize,
}

/// Actions that are due after messages were accepted.
#[derive(Debug, Default, Clone, Copy)]
pub struct Appended {
    /// Wake the I/O thread: a batch is ready, or the first message of an idle producer begins to linger.
    pub wake: bool,
    /// Ring the bell of the engine: an event was queued.
    pub ring: bool,
}

/// Reason for which a message was not accepted; nothing was queued.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    /// `setting`: name of the setting that limits the size to `cap`.
    TooLarge {
        bytes: usize,
        cap: usize,
        setting: &'static str,
    },
    NoSuchPartition {
        partitions: usize,
    },
    Closed,
}
