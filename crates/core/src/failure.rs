//! Whether messages are in the log, why they failed, and why they wait: a text for people, and what an exception is made of.
//!
//! Stations: outbox → delivery. The engine tells what it knows of a topic or partition; what a flow sees by itself is told in
//! the same words.

use crate::error_names::error_name;

/// Whether messages may be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Written,
    NotWritten,
    Unknown,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::NotWritten => "not_written",
            Self::Unknown => "unknown",
        }
    }

    /// The other way round; anything that is not known to be absent may be there.
    pub fn from_name(name: &str) -> Self {
        match name {
            "written" => Self::Written,
            "not_written" => Self::NotWritten,
            _ => Self::Unknown,
        }
    }
}

/// Why messages failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As `ottla.errors.from_native` takes it.
    pub kind: String,
    pub code: i16,
    pub message: String,
    pub outcome: Outcome,
    /// What an exception behind it is made of.
    pub cause: Option<Cause>,
}

/// The reason of a failure that is an exception of its own, as `ottla.errors.from_native` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub kind: String,
    pub code: i16,
    pub message: String,
}

/// Why messages wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In one line.
    pub text: String,
    /// None where no exception stands behind it.
    pub cause: Option<Cause>,
}

impl From<&str> for Trouble {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self { text, cause: None }
    }
}

impl Trouble {
    /// The last answer about a batch, which goes again; None where there was none (0).
    pub(crate) fn refused(code: i16) -> Option<Self> {
        (code != 0).then(|| Self {
            text: format!("the broker's last answer was {}", error_name(code)),
            cause: Some(Cause {
                kind: "broker".into(),
                code,
                message: String::new(),
            }),
        })
    }
}

impl Failure {
    /// For people: the code by its name, and what is said about it.
    pub fn told(&self) -> String {
        match self.code {
            0 => self.message.clone(),
            code if self.message.is_empty() => error_name(code),
            code => format!("{}: {}", error_name(code), self.message),
        }
    }
}

/// A failure with the trouble that led to it, where one is known, behind its own text.
pub fn because(kind: &str, message: &str, outcome: Outcome, trouble: Option<&Trouble>) -> Failure {
    let message = match trouble {
        Some(trouble) => format!("{message}: {}", trouble.text),
        None => message.into(),
    };
    Failure {
        kind: kind.into(),
        code: 0,
        message,
        outcome,
        cause: trouble.and_then(|trouble| trouble.cause.clone()),
    }
}

pub fn failure(kind: &str, code: i16, message: &str, outcome: Outcome) -> Failure {
    Failure {
        kind: kind.into(),
        code,
        message: message.into(),
        outcome,
        cause: None,
    }
}
