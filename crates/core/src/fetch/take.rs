//! What a take ends with: runs of records, an error, or a reason why there is nothing.
//!
//! Station: inbox → record.

use std::any::Any;
use std::sync::Arc;

use crate::error::DecodeError;
use crate::fetch::run::Run;

/// An error of the user's language, opaque here.
pub type ErrorHandle = Arc<dyn Any + Send + Sync>;

/// Why a take failed.
#[derive(Debug)]
pub enum TakeError {
    /// What `fail` queued; it is raised once.
    Queued {
        topic: Arc<str>,
        partition: i32,
        error: ErrorHandle,
    },
    /// The batch at the position cannot be read; it is raised until the position is set anew.
    Decode {
        topic: Arc<str>,
        partition: i32,
        offset: i64,
        /// Behind the batch, as its header says; `offset` where there is no header to be read.
        next_offset: i64,
        error: Box<DecodeError>,
    },
}

/// What a take ended with.
#[derive(Debug)]
pub enum Take {
    Runs(Vec<Run>),
    Nothing,
    Failed(TakeError),
    /// The one partition that was asked for has ended.
    Ended,
    /// `wakeup` was called.
    Woken,
    Closed,
}
