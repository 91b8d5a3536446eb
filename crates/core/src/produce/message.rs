//! A message as the caller gives it, and the answer to it.
//!
//! Station: message.

use crate::record::encode::HeaderRef;

/// One message as the caller gives it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub partition: Option<i32>,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
    /// Bytes of the budget in addition to the record, until its outcome was reported: `DELIVERY_BYTES` of a message with a
    /// callback of its own. 0 for others, and where every message has a delivery (`keeps_outcomes`).
    pub extra: usize,
}

/// What is to be done about accepted messages.
#[derive(Debug, Default, Clone, Copy)]
pub struct Appended {
    /// The I/O thread has to look: something is ready, or the first message of an idle producer begins to linger.
    pub wake: bool,
    /// The engine has to look: an event was queued.
    pub ring: bool,
}

/// Why a message was not accepted; nothing was queued.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    /// `setting` is the one that allows no more than `cap`.
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
