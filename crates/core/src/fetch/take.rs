//! The result of a take: runs of records, an error, or the reason why there is none.
//!
//! Station: inbox → record.

use std::any::Any;
use std::sync::Arc;

use crate::error::DecodeError;
use crate::fetch::run::Run;

/// An error of the user's language, opaque here.
pub type ErrorHandle = Arc<dyn Any + Send + Sync>;

/// Reason of a failed take.
#[derive(Debug)]
pub enum TakeError {
    /// An error queued by `fail`; it is raised once.
    Queued {
        topic: Arc<str>,
        partition: i32,
        error: ErrorHandle,
    },
    /// The batch at the position could not be read, twice in a row; raised again only if a later attempt fails too.
    Decode {
        topic: Arc<str>,
        partition: i32,
        offset: i64,
        /// Offset after the batch by its header; `offset` if the header cannot be read.
        next_offset: i64,
        error: Box<DecodeError>,
    },
}

impl TakeError {
    pub(crate) fn is_decode(&self) -> bool {
        matches!(self, Self::Decode { .. })
    }

    pub(crate) fn into_handle(self) -> Option<ErrorHandle> {
        match self {
            Self::Queued { error, .. } => Some(error),
            Self::Decode { .. } => None,
        }
    }
}

/// The end of a take.
#[derive(Debug)]
pub enum Take {
    Runs(Vec<Run>),
    Nothing,
    /// There are no records, and a position has moved past offsets without one: aborted transactions, their markers, compaction.
    Moved,
    Failed(TakeError),
    /// The one wanted partition has ended.
    Ended,
    /// `wakeup` was called.
    Woken,
    Closed,
}
