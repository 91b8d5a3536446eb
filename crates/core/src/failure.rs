//! Whether messages are in the log, why they failed, and why they wait: kinds and numbers. The words are Python's
//! (`ottla.observe.failures`).
//!
//! Stations: outbox → delivery. The engine reports what it knows of a topic or partition, the flow adds what it sees itself.

use std::sync::Arc;

use crate::ids::Micros;

/// Whether messages may be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Written,
    NotWritten,
    Unknown,
}

/// The class of an exception that Python gave.
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

/// An exception that Python gave, as data: it comes back with each message that failed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorData {
    pub kind: ErrorKind,
    /// The broker's error code where the kind is `Broker`, else 0.
    pub code: i16,
    pub message: String,
}

/// The engine's reason why a topic or a partition cannot be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    pub text: String,
    /// The exception behind it.
    pub error: Option<ErrorData>,
}

/// Why messages wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    Reported(Arc<Reported>),
    /// The broker's last answer to a batch that is sent again.
    Refused(i16),
    /// The leader owes an answer for so long.
    Silent {
        node: i32,
        address: Arc<str>,
        time: Micros,
    },
    /// The leader is sent nothing for so long.
    Throttling {
        node: i32,
        address: Arc<str>,
        time: Micros,
    },
    /// The partition is held until its backoff has passed.
    Backoff,
}

/// What a message lacked when its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The metadata of its topic.
    Metadata,
    /// A chance to be sent.
    Sending,
    /// An answer.
    Answer,
    /// An answer that is no refusal.
    Acknowledgement,
}

/// Why messages failed.
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
    /// `gapless`: this failure of an earlier message of the partition.
    EarlierFailed(Arc<Failure>),
    /// The topic's metadata came and has only so many partitions.
    NoSuchPartition { partition: i32, partitions: usize },
    /// A batch that was to be split after this error code could not be read.
    Unreadable { code: i16 },
}

/// Why messages failed, and whether they may be in the log all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    pub outcome: Outcome,
}

impl Failure {
    /// The engine's error.
    pub fn given_up(error: ErrorData, outcome: Outcome) -> Self {
        let (error, trouble) = (Arc::new(error), None);
        Self {
            cause: Cause::GivenUp { error, trouble },
            outcome,
        }
    }

    /// A broker's refusal.
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

    /// The failure of messages behind the first one of a partition.
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
