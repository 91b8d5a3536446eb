//! `ottla.seam.produce_statistics`: what a produce flow has counted.

use ottla_core::produce::stats::{NodeSnapshot, Snapshot, TopicSnapshot, Traffic};
use pyo3::prelude::*;

use super::latency::{latency, ms};
use super::named;

pub fn statistics<'py>(py: Python<'py>, snapshot: &Snapshot) -> PyResult<Bound<'py, PyAny>> {
    let counts = snapshot.counts;
    let nodes = snapshot.nodes.iter().map(|node| self::node(py, node));
    let topics = snapshot.topics.iter().map(|topic| self::topic(py, topic));
    named!(
        py,
        "produce_statistics",
        ProduceStatistics {
            traffic: traffic(py, &snapshot.traffic)?,
            accepted: counts.accepted,
            delivered: counts.delivered,
            failed: counts.failed,
            unknown: counts.unknown,
            requests: counts.requests,
            buffered_bytes: snapshot.used,
            buffer_bytes: snapshot.cap,
            waiting_senders: snapshot.waiting_senders,
            latency: latency(py, &snapshot.latency)?,
            nodes: nodes.collect::<PyResult<Vec<_>>>()?,
            topics: topics.collect::<PyResult<Vec<_>>>()?,
        }
    )
}

fn traffic<'py>(py: Python<'py>, traffic: &Traffic) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "produce_statistics",
        Traffic {
            batches: traffic.batches,
            records: traffic.records,
            raw_bytes: traffic.raw_bytes,
            sent_bytes: traffic.sent_bytes,
            retries: traffic.retries,
        }
    )
}

fn node<'py>(py: Python<'py>, node: &NodeSnapshot) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "produce_statistics",
        ProduceNode {
            node_id: node.node,
            address: &*node.address,
            traffic: traffic(py, &node.traffic)?,
            requests: node.requests,
            in_flight: node.in_flight,
            throttle_ms: node.throttle_ms,
            throttled_for_ms: ms(node.throttled_for),
            silent_for_ms: ms(node.silent_for),
            latency: latency(py, &node.latency)?,
        }
    )
}

fn topic<'py>(py: Python<'py>, topic: &TopicSnapshot) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "produce_statistics",
        ProduceTopic {
            topic: &*topic.name,
            traffic: traffic(py, &topic.traffic)?,
            delivered: topic.outcomes.delivered,
            failed: topic.outcomes.failed,
            unknown: topic.outcomes.unknown,
            buffered_bytes: topic.buffered_bytes,
            buffered_records: topic.buffered_records,
        }
    )
}
