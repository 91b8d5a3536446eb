//! `ottla.seam.fetching`: the events of a fetch flow, and what it counts and knows.

use ottla_core::fetch::flow::{Event, Held, HoldCause, PartitionState, Statistics};
use pyo3::prelude::*;

use super::{connections, leaders, named};

pub fn event(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyAny>> {
    match event {
        Event::Held(held) => self::held(py, held),
        Event::Throttled(conn, throttle_ms) => {
            named!(py, "fetching", FetchThrottled { conn, throttle_ms })
        }
    }
}

fn held(py: Python<'_>, held: Held) -> PyResult<Bound<'_, PyAny>> {
    named!(
        py,
        "fetching",
        FetchHeld {
            topic: &*held.topic,
            partition: held.partition,
            cause: cause(py, held.cause)?,
            code: held.code,
            fetch_offset: held.fetch_offset,
            leader: leaders::hint(py, held.leader, held.node)?,
        }
    )
}

fn cause(py: Python<'_>, cause: HoldCause) -> PyResult<Bound<'_, PyAny>> {
    let word = match cause {
        HoldCause::Asked => "asked",
        HoldCause::Answer => "answer",
        HoldCause::Diverging { epoch, end_offset } => {
            return named!(py, "fetching", Divergence { epoch, end_offset });
        }
        HoldCause::Replica(node_id) => return named!(py, "fetching", Follower { node_id }),
        HoldCause::Lost(cause) => return connections::loss(py, &cause),
    };
    Ok(word.into_pyobject(py)?.into_any())
}

pub fn partition_state(
    py: Python<'_>,
    known: Option<PartitionState>,
) -> PyResult<Bound<'_, PyAny>> {
    let offset = |of: fn(&PartitionState) -> i64| known.as_ref().map_or(-1, of);
    named!(
        py,
        "fetching",
        PartitionState {
            high_watermark: offset(|known| known.high_watermark),
            last_stable_offset: offset(|known| known.last_stable_offset),
            log_start_offset: offset(|known| known.log_start_offset),
            position: offset(|known| known.position),
            buffered_records: known.as_ref().map_or(0, |known| known.buffered_records),
            paused: known.as_ref().is_some_and(|known| known.paused),
            flowing: known.as_ref().is_some_and(|known| known.flowing),
        }
    )
}

pub fn statistics(py: Python<'_>, known: Statistics) -> PyResult<Bound<'_, PyAny>> {
    named!(
        py,
        "fetching",
        FetchStatistics {
            requests: known.counts.requests,
            responses: known.counts.responses,
            fetched_bytes: known.counts.bytes,
            fetched_batches: known.counts.batches,
            handed_records: known.records,
            holds: known.counts.held,
            buffered_bytes: known.buffered_bytes,
            sessions: known.sessions,
            partitions: known.partitions,
        }
    )
}
