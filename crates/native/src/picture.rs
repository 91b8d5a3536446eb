//! What a producer has counted and who holds its budget, as Python gets it: dicts that `ottla.observe` makes values of.

use ottla_core::ids::Micros;
use ottla_core::latency::Percentiles;
use ottla_core::produce::picture::Budget;
use ottla_core::produce::stats::{NodePicture, Picture, TopicPicture, Traffic};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

fn ms(micros: Micros) -> f64 {
    micros as f64 / 1e3
}

fn latency<'py>(py: Python<'py>, told: &Percentiles) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    made.set_item("count", told.count)?;
    made.set_item("p50_ms", ms(told.p50))?;
    made.set_item("p95_ms", ms(told.p95))?;
    made.set_item("p99_ms", ms(told.p99))?;
    made.set_item("max_ms", ms(told.max))?;
    Ok(made)
}

fn traffic(made: &Bound<'_, PyDict>, told: &Traffic) -> PyResult<()> {
    made.set_item("batches", told.batches)?;
    made.set_item("batched_records", told.records)?;
    made.set_item("raw_bytes", told.raw_bytes)?;
    made.set_item("sent_bytes", told.sent_bytes)?;
    made.set_item("retries", told.retries)
}

fn node<'py>(py: Python<'py>, told: &NodePicture) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    made.set_item("node_id", told.node)?;
    made.set_item("address", &*told.address)?;
    traffic(&made, &told.traffic)?;
    made.set_item("requests", told.requests)?;
    made.set_item("in_flight", told.in_flight)?;
    made.set_item("throttle_ms", told.throttle_ms)?;
    made.set_item("throttled_for_ms", ms(told.throttled_for))?;
    made.set_item("silent_for_ms", ms(told.silent_for))?;
    made.set_item("latency", latency(py, &told.latency)?)?;
    Ok(made)
}

fn topic<'py>(py: Python<'py>, told: &TopicPicture) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    made.set_item("topic", &*told.name)?;
    traffic(&made, &told.traffic)?;
    made.set_item("delivered", told.ends.delivered)?;
    made.set_item("failed", told.ends.failed)?;
    made.set_item("unknown", told.ends.unknown)?;
    made.set_item("buffered_bytes", told.buffered_bytes)?;
    made.set_item("buffered_records", told.buffered_records)?;
    Ok(made)
}

pub fn statistics<'py>(py: Python<'py>, picture: &Picture) -> PyResult<Bound<'py, PyDict>> {
    let counts = picture.counts;
    let made = PyDict::new(py);
    traffic(&made, &picture.traffic)?;
    made.set_item("accepted", counts.accepted)?;
    made.set_item("delivered", counts.delivered)?;
    made.set_item("failed", counts.failed)?;
    made.set_item("unknown", counts.unknown)?;
    made.set_item("batches", counts.batches)?;
    made.set_item("requests", counts.requests)?;
    made.set_item("retries", counts.retries)?;
    made.set_item("buffered_bytes", picture.used)?;
    made.set_item("buffer_bytes", picture.cap)?;
    made.set_item("waiting_senders", picture.waiting_senders)?;
    made.set_item("latency", latency(py, &picture.latency)?)?;
    let nodes = PyList::empty(py);
    for told in &picture.nodes {
        nodes.append(node(py, told)?)?;
    }
    made.set_item("brokers", nodes)?;
    let topics = PyList::empty(py);
    for told in &picture.topics {
        topics.append(topic(py, told)?)?;
    }
    made.set_item("topics", topics)?;
    Ok(made)
}

pub fn budget<'py>(py: Python<'py>, told: &Budget, most: usize) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    made.set_item("used_bytes", told.used)?;
    made.set_item("capacity_bytes", told.cap)?;
    made.set_item("waiting_senders", told.waiting_senders)?;
    let holders = PyList::empty(py);
    for holder in told.holders.iter().take(most) {
        let one = PyDict::new(py);
        let unread = holder.topic.is_empty();
        let partition = (holder.partition >= 0).then_some(holder.partition);
        one.set_item("topic", (!unread).then_some(&*holder.topic))?;
        one.set_item("partition", partition)?;
        one.set_item("bytes", holder.bytes)?;
        one.set_item("node_id", (holder.node >= 0).then_some(holder.node))?;
        one.set_item("address", (holder.node >= 0).then_some(&*holder.address))?;
        one.set_item("cause", &holder.cause)?;
        one.set_item("moving", holder.moving)?;
        one.set_item("age_s", holder.age as f64 / 1e6)?;
        holders.append(one)?;
    }
    made.set_item("holders", holders)?;
    made.set_item("full", told.full)?;
    made.set_item("told", told.told())?;
    made.set_item("kept", told.kept())?;
    Ok(made)
}
