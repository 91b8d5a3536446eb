//! Outcomes of messages, causes of their failure, and the trouble for which they wait: kinds and numbers. Python writes the texts
//! (`ottla.observe.failures`).
//!
//! Stations: outbox → delivery. The engine reports the trouble of a topic or partition, the flow adds its own observations.

use std::sync::Arc;

use crate::ids::Micros;

/// Whether messages may be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Written,
    NotWritten,
    Unknown,
}

/// Class of an exception that Python passed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    Broker,
    Error,
    BufferFull,
    Closed,
    Timeout,
    ConnectionLost,
    NoBrokers,
    Decode,
    Authentication,
    Tls,
}

/// An exception that Python passed in, as data: it is returned with each message that failed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorData {
    pub kind: ErrorKind,
    /// The broker's error code where the kind is `Broker`, else 0.
    pub code: i16,
    pub message: String,
}

/// Reason, reported by the engine, for which nothing is sent to a topic or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    pub text: String,
    /// Exception that caused it.
    pub error: Option<ErrorData>,
}

/// Trouble for which messages wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    Reported(Arc<Reported>),
    /// The broker's last answer to a batch that is sent again.
    Refused(i16),
    /// The leader has not answered for this time.
    Silent {
        node: i32,
        address: Arc<str>,
        time: Micros,
    },
    /// Nothing is sent to the leader for this time, because it throttles.
    Throttling {
        node: i32,
        address: Arc<str>,
        time: Micros,
    },
    /// The partition is held until its backoff has passed.
    Backoff,
}

/// Step that a message waited for when it expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The metadata of its topic.
    Metadata,
    /// Its first request.
    Sending,
    /// The answer to its request.
    Answer,
    /// An answer other than the refusals so far.
    Acknowledgement,
}

/// Cause for which messages failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The engine decided it: a broker refused them, or the producer ends.
    GivenUp {
        error: Arc<ErrorData>,
        trouble: Option<Trouble>,
    },
    /// `delivery_timeout` has passed.
    TimedOut {
        stage: Stage,
        trouble: Option<Trouble>,
    },
    /// With `gapless`: an earlier message of the partition failed with this failure.
    EarlierFailed(Arc<Failure>),
    /// The topic has only this number of partitions.
    NoSuchPartition { partition: i32, partitions: usize },
    /// A batch that was to be split after this error code could not be read.
    Unreadable { code: i16 },
}

/// Cause for which messages failed, and whether they may be in the log nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    pub outcome: Outcome,
}

impl Failure {
    /// Failure by an error of the engine.
    pub fn given_up(error: ErrorData, outcome: Outcome) -> Self {
        let (error, trouble) = (Arc::new(error), None);
        Self {
            cause: Cause::GivenUp { error, trouble },
            outcome,
        }
    }

    /// Failure by a broker's refusal.
    pub fn broker(code: i16, message: &str, outcome: Outcome) -> Self {
        let (kind, message) = (ErrorKind::Broker, message.to_owned());
        Self::given_up(
            ErrorData {
                kind,
                code,
                message,
            },
            outcome,
        )
    }

    /// Failure of the messages behind the first failed one of a partition.
    pub fn behind(&self, outcome: Outcome) -> Self {
        let first = match &self.cause {
            Cause::EarlierFailed(first) => first.clone(),
            _ => Arc::new(self.clone()),
        };
        Self {
            cause: Cause::EarlierFailed(first),
            outcome,
        }
    }
}
