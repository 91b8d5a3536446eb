//! `ottla.seam.fetching`: the events of a fetch flow, its counts and its state.

use ottla_core::fetch::flow::{Event, Held, HoldCause, PartitionState};
use ottla_core::fetch::stats::{NodePicture, PartitionPicture, Picture};
use pyo3::prelude::*;

use super::latency::{latency, ms};
use super::{connections, leaders, named};

pub fn event(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyAny>> {
    match event {
        Event::Held(held) => self::held(py, held),
        Event::Throttled(conn, throttle_ms) => {
            named!(py, "fetching", FetchThrottled { conn, throttle_ms })
        }
        Event::LaneWanted(node_id) => named!(py, "fetching", FetchLaneWanted { node_id }),
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
        HoldCause::Diverging {
            epoch,
            end_offset,
            fetched_epoch,
        } => {
            return named!(
                py,
                "fetching",
                Divergence {
                    epoch,
                    end_offset,
                    fetched_epoch,
                }
            );
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

pub fn statistics<'py>(py: Python<'py>, picture: &Picture) -> PyResult<Bound<'py, PyAny>> {
    let nodes = picture.nodes.iter().map(|node| self::node(py, node));
    let partitions = picture.partitions.iter();
    let partitions = partitions.map(|partition| self::partition(py, partition));
    named!(
        py,
        "fetching",
        FetchStatistics {
            requests: picture.requests,
            responses: picture.responses,
            fetched_bytes: picture.fetched.bytes,
            fetched_batches: picture.fetched.batches,
            handed_records: picture.handed_records,
            holds: picture.holds,
            buffered_bytes: picture.buffered_bytes,
            buffer_bytes: picture.buffer_bytes,
            sessions: picture.sessions,
            latency: latency(py, &picture.latency)?,
            nodes: nodes.collect::<PyResult<Vec<_>>>()?,
            partitions: partitions.collect::<PyResult<Vec<_>>>()?,
        }
    )
}

fn node<'py>(py: Python<'py>, node: &NodePicture) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "fetching",
        FetchNode {
            node_id: node.node,
            address: &*node.address,
            requests: node.requests,
            in_flight: node.in_flight,
            fetched_bytes: node.fetched.bytes,
            fetched_batches: node.fetched.batches,
            throttle_ms: node.throttle_ms,
            throttled_for_ms: ms(node.throttled_for),
            waiting_for_ms: ms(node.waiting_for),
            latency: latency(py, &node.latency)?,
        }
    )
}

fn partition<'py>(py: Python<'py>, part: &PartitionPicture) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "fetching",
        FetchPartition {
            topic: &*part.topic,
            partition: part.partition,
            node_id: part.node,
            position: part.position,
            high_watermark: part.high_watermark,
            last_stable_offset: part.last_stable_offset,
            buffered_records: part.buffered_records,
            buffered_bytes: part.buffered_bytes,
            handed_records: part.handed_records,
            fetched_bytes: part.fetched.bytes,
            fetched_batches: part.fetched.batches,
            paused: part.paused,
        }
    )
}
