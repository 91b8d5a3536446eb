//! `ottla.seam.failures`: why messages wait and why they failed.

use std::sync::Arc;

use ottla_core::failure::{
    Cause, ErrorData, ErrorKind, Failure, Outcome, Reported, Stage, Trouble,
};
use ottla_core::ids::Micros;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::named;

/// Each kind of error and its word in Python.
const KINDS: [(ErrorKind, &str); 10] = [
    (ErrorKind::Broker, "broker"),
    (ErrorKind::Error, "error"),
    (ErrorKind::BufferFull, "buffer_full"),
    (ErrorKind::Closed, "closed"),
    (ErrorKind::Timeout, "timeout"),
    (ErrorKind::ConnectionLost, "connection_lost"),
    (ErrorKind::NoBrokers, "no_brokers"),
    (ErrorKind::Decode, "decode"),
    (ErrorKind::Authentication, "authentication"),
    (ErrorKind::Tls, "tls"),
];

pub fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
}

pub const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Written => "written",
        Outcome::NotWritten => "not_written",
        Outcome::Unknown => "unknown",
    }
}

// ---- to Python ---------------------------------------------------------------------------------------------------------

pub fn failure<'py>(py: Python<'py>, failure: &Failure) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "failures",
        Failure {
            cause: cause(py, &failure.cause)?,
            outcome: outcome_name(failure.outcome),
        }
    )
}

fn cause<'py>(py: Python<'py>, cause: &Cause) -> PyResult<Bound<'py, PyAny>> {
    match cause {
        Cause::GivenUp { error, trouble } => {
            let (error, trouble) = (error_data(py, error)?, some_trouble(py, trouble.as_ref())?);
            named!(py, "failures", GivenUp { error, trouble })
        }
        Cause::TimedOut { stage, trouble } => {
            let (stage, trouble) = (stage_name(*stage), some_trouble(py, trouble.as_ref())?);
            named!(py, "failures", TimedOut { stage, trouble })
        }
        Cause::EarlierFailed(first) => {
            let first = failure(py, first)?;
            named!(py, "failures", EarlierFailed { first })
        }
        Cause::NoSuchPartition {
            partition,
            partitions,
        } => named!(
            py,
            "failures",
            NoSuchPartition {
                partition: *partition,
                partitions: *partitions,
            }
        ),
        Cause::Unreadable { code } => named!(py, "failures", Unreadable { code: *code }),
    }
}

fn some_trouble<'py>(
    py: Python<'py>,
    trouble: Option<&Trouble>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    trouble
        .map(|trouble| self::trouble(py, trouble))
        .transpose()
}

pub fn trouble<'py>(py: Python<'py>, trouble: &Trouble) -> PyResult<Bound<'py, PyAny>> {
    match trouble {
        Trouble::Reported(reported) => {
            let error = reported.error.as_ref();
            let error = error.map(|error| error_data(py, error)).transpose()?;
            let text = &reported.text;
            named!(py, "failures", Reported { text, error })
        }
        Trouble::Refused(code) => named!(py, "failures", Refused { code: *code }),
        Trouble::Silent {
            node,
            address,
            time,
        } => named!(
            py,
            "failures",
            Silent {
                node_id: *node,
                address: &**address,
                for_s: seconds(*time),
            }
        ),
        Trouble::Throttling {
            node,
            address,
            time,
        } => named!(
            py,
            "failures",
            Throttling {
                node_id: *node,
                address: &**address,
                for_s: seconds(*time),
            }
        ),
        Trouble::Backoff => Ok("backoff".into_pyobject(py)?.into_any()),
    }
}

fn error_data<'py>(py: Python<'py>, error: &ErrorData) -> PyResult<Bound<'py, PyAny>> {
    let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind);
    let kind = kind.map_or("error", |(_, name)| name);
    let (code, message) = (error.code, &error.message);
    named!(
        py,
        "failures",
        ErrorData {
            kind,
            code,
            message,
        }
    )
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Metadata => "metadata",
        Stage::Sending => "sending",
        Stage::Answer => "answer",
        Stage::Acknowledgement => "acknowledgement",
    }
}

// ---- from Python -------------------------------------------------------------------------------------------------------

/// `ErrorData`.
#[derive(FromPyObject)]
pub struct GivenError {
    kind: String,
    code: i16,
    message: String,
}

impl GivenError {
    pub fn core(self) -> PyResult<ErrorData> {
        let kind = KINDS.iter().find(|(_, name)| *name == self.kind);
        let (kind, _) = kind.ok_or_else(|| unknown("kind of error", &self.kind))?;
        Ok(ErrorData {
            kind: *kind,
            code: self.code,
            message: self.message,
        })
    }
}

/// `Reported`.
#[derive(FromPyObject)]
pub struct GivenTrouble {
    text: String,
    error: Option<GivenError>,
}

impl GivenTrouble {
    pub fn core(self) -> PyResult<Trouble> {
        let error = self.error.map(GivenError::core).transpose()?;
        let text = self.text;
        Ok(Trouble::Reported(Arc::new(Reported { text, error })))
    }
}

/// The causes of `Failure` that are Python's to give.
#[derive(FromPyObject)]
enum GivenCause<'py> {
    GivenUp { error: GivenError },
    EarlierFailed { first: Bound<'py, PyAny> },
}

/// `Failure`.
#[derive(FromPyObject)]
pub struct GivenFailure<'py> {
    cause: GivenCause<'py>,
    outcome: String,
}

impl GivenFailure<'_> {
    pub fn core(self) -> PyResult<Failure> {
        let outcome = match self.outcome.as_str() {
            "not_written" => Outcome::NotWritten,
            "unknown" => Outcome::Unknown,
            other => return Err(unknown("outcome of a failure", other)),
        };
        Ok(match self.cause {
            GivenCause::GivenUp { error } => Failure::given_up(error.core()?, outcome),
            GivenCause::EarlierFailed { first } => {
                let first: GivenFailure<'_> = first.extract()?;
                first.core()?.behind(outcome)
            }
        })
    }
}

pub fn unknown(what: &str, name: &str) -> PyErr {
    PyValueError::new_err(format!("no such {what}: {name:?}"))
}
