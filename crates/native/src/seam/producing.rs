//! `ottla.seam.producing`: the events of a produce flow, and the decisions that end a hold.

use std::collections::BTreeMap;
use std::time::Instant;

use ottla_core::ids::Identity;
use ottla_core::produce::batch::Proof;
use ottla_core::produce::event::{Decision, Event, HeldBatch, HoldCause};
use ottla_core::produce::wire::Answer;
use ottla_io::clock;
use pyo3::prelude::*;

use super::failures::{GivenFailure, seconds, unknown};
use super::{connections, failures, leaders, named};
use crate::outcomes::reports::Report;

// ---- to Python ---------------------------------------------------------------------------------------------------------

pub fn event(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyAny>> {
    match event {
        Event::TopicWanted(topic) => named!(py, "producing", TopicWanted { topic: &*topic }),
        Event::RouteWanted(topic, partition) => {
            let topic = &*topic;
            named!(py, "producing", RouteWanted { topic, partition })
        }
        Event::Held {
            topic,
            partition,
            cause,
            batches,
            identity,
        } => {
            let batches = batches.into_iter().map(|batch| held_batch(py, batch));
            let identity = identity.map(|identity| self::identity(py, identity));
            named!(
                py,
                "producing",
                Held {
                    topic: &*topic,
                    partition,
                    cause: hold_cause(py, &cause)?,
                    batches: batches.collect::<PyResult<Vec<_>>>()?,
                    identity: identity.transpose()?,
                }
            )
        }
        Event::MessagesFailed {
            topic,
            partition,
            records,
            failure,
        } => named!(
            py,
            "producing",
            MessagesFailed {
                topic: &*topic,
                partition: (partition >= 0).then_some(partition),
                records,
                failure: failures::failure(py, &failure)?,
            }
        ),
        Event::Throttled(conn, throttle_ms) => {
            named!(py, "producing", Throttled { conn, throttle_ms })
        }
        Event::BatchAcked {
            topic,
            partition,
            records,
            bytes,
            base_offset,
            attempts,
            created,
        } => named!(
            py,
            "producing",
            BatchAcked {
                topic: &*topic,
                partition,
                records,
                size_bytes: bytes,
                base_offset,
                attempts,
                age_s: seconds(clock::now().saturating_sub(created)),
            }
        ),
        Event::BufferFilled { used } => named!(py, "producing", BufferFilled { used_bytes: used }),
        Event::BufferFreed { used } => named!(py, "producing", BufferFreed { used_bytes: used }),
        Event::SpaceLacking { accepted } => named!(py, "producing", SpaceLacking { accepted }),
    }
}

fn held_batch(py: Python<'_>, batch: HeldBatch) -> PyResult<Bound<'_, PyAny>> {
    let answer = batch.answer.map(|answer| self::answer(py, answer));
    named!(
        py,
        "producing",
        HeldBatch {
            records: batch.records,
            size_bytes: batch.bytes,
            attempts: batch.attempts,
            expired: batch.expired,
            proof: match batch.proof {
                Proof::None => "none",
                Proof::Maybe => "maybe",
                Proof::Appended => "appended",
            },
            may_be_written: batch.may_be_written,
            answer: answer.transpose()?,
        }
    )
}

fn answer(py: Python<'_>, answer: Answer) -> PyResult<Bound<'_, PyAny>> {
    let record_errors = answer.record_errors.into_iter();
    let record_errors = record_errors
        .map(|(record, message)| named!(py, "producing", RecordError { record, message }));
    named!(
        py,
        "producing",
        Answer {
            code: answer.code,
            message: answer.error_message,
            record_errors: record_errors.collect::<PyResult<Vec<_>>>()?,
            leader: leaders::hint(py, answer.leader, answer.node)?,
        }
    )
}

fn hold_cause<'py>(py: Python<'py>, cause: &HoldCause) -> PyResult<Bound<'py, PyAny>> {
    let word = match cause {
        HoldCause::Answer => "answer",
        HoldCause::Expired => "expired",
        HoldCause::Asked => "asked",
        HoldCause::Recreated => "recreated",
        HoldCause::Lost(cause) => return connections::loss(py, cause),
    };
    Ok(word.into_pyobject(py)?.into_any())
}

fn identity(py: Python<'_>, identity: Identity) -> PyResult<Bound<'_, PyAny>> {
    let Identity { producer_id, epoch } = identity;
    named!(py, "producing", ProducerIdentity { producer_id, epoch })
}

/// Callbacks and their deliveries.
pub fn callbacks(py: Python<'_>, calls: Vec<(Py<PyAny>, Py<PyAny>)>) -> PyResult<Bound<'_, PyAny>> {
    named!(py, "producing", CallbacksReady { calls })
}

/// The deliveries of a batch for the producer's callbacks, and those with a callback of their own.
pub fn report<'py>(py: Python<'py>, (deliveries, calls): Report) -> PyResult<Bound<'py, PyAny>> {
    named!(py, "producing", OutcomeReport { deliveries, calls })
}

pub fn outcomes_ready(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    named!(py, "producing", OutcomesReady {})
}

/// topic: empty for several.
pub fn send_many_dropped<'py>(
    py: Python<'py>,
    topic: &str,
    calls: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let topic = (!topic.is_empty()).then_some(topic);
    named!(py, "producing", SendManyDropped { topic, calls })
}

pub fn unawaited_due(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    named!(py, "producing", UnawaitedDue {})
}

/// next: Time at which the next one's time runs out.
pub fn unawaited_progress(
    py: Python<'_>,
    next: Option<Instant>,
    needs_functions: bool,
) -> PyResult<Bound<'_, PyAny>> {
    let left = next.map(|next| next.saturating_duration_since(Instant::now()));
    let next_expiry_s = left.map(|left| left.as_secs_f64());
    named!(
        py,
        "producing",
        UnawaitedProgress {
            next_expiry_s,
            needs_functions,
        }
    )
}

// ---- from Python -------------------------------------------------------------------------------------------------------

/// `ProducerIdentity`.
#[derive(FromPyObject)]
pub struct GivenIdentity {
    producer_id: i64,
    epoch: i16,
}

impl From<GivenIdentity> for Identity {
    fn from(given: GivenIdentity) -> Self {
        Self {
            producer_id: given.producer_id,
            epoch: given.epoch,
        }
    }
}

/// `Decision`.
#[derive(FromPyObject)]
pub enum GivenDecision<'py> {
    #[pyo3(transparent)]
    Word(String),
    Fail {
        failure: GivenFailure<'py>,
    },
    FailRecords {
        failures: BTreeMap<u32, GivenFailure<'py>>,
    },
}

impl GivenDecision<'_> {
    pub fn core(self) -> PyResult<Decision> {
        Ok(match self {
            Self::Word(word) => match word.as_str() {
                "retry" => Decision::Retry,
                "split" => Decision::Split,
                "written" => Decision::Written,
                "drop" => Decision::Drop,
                other => return Err(unknown("decision", other)),
            },
            Self::Fail { failure } => Decision::Fail(failure.core()?),
            Self::FailRecords { failures } => Decision::FailRecords(
                failures
                    .into_iter()
                    .map(|(record, failure)| Ok((record, failure.core()?)))
                    .collect::<PyResult<_>>()?,
            ),
        })
    }
}
